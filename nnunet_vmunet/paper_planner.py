"""nnU-Net's experiment planning for the paper's protocol: `nnUNetv2_plan_and_preprocess … -pl VMUNetPlannerPaper`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner

from .errors import InputError
from .planner import PaperGeometryPlanner
from .plans import PAPER_PLANS, PAPER_SIDE_OF_PICTURES, PAPER_SIDE_OF_VOLUMES
from .requirement import PAPER_PREPROCESSOR, refuse_missing_parts

__all__ = ["VMUNetPlannerPaper"]  # what nnU-Net's search finds


class VMUNetPlannerPaper(PaperGeometryPlanner):
    """256×256 for pictures and 224×224 for slices of volumes, 32 to a batch, prepared as the original prepares them.

    Unlike with `VMUNetPlanner224` and `VMUNetPlanner256` every slice comes to this size, whole, whatever its spacing
    and extent: `PaperPreprocessor` does it.
    """

    default_plans_name = PAPER_PLANS
    # nnU-Net's own, cubic and without smoothing: the original does not smooth either.
    determine_resampling = ExperimentPlanner.determine_resampling

    def __init__(
        self,
        dataset_name_or_id: str | int,
        gpu_memory_target_in_gb: float = 8,
        preprocessor_name: str = "DefaultPreprocessor",
        plans_name: str | None = None,
        overwrite_target_spacing: Sequence[float] | None = None,
        suppress_transpose: bool = False,
    ) -> None:
        if preprocessor_name not in ("DefaultPreprocessor", PAPER_PREPROCESSOR):
            raise InputError(f"{type(self).__name__} plans for {PAPER_PREPROCESSOR}: leave out -preprocessor_name")
        super().__init__(
            dataset_name_or_id,
            gpu_memory_target_in_gb,
            PAPER_PREPROCESSOR,
            plans_name,
            overwrite_target_spacing,
            suppress_transpose,
        )

    @cached_property
    def side(self) -> int:  # type: ignore[override]
        """Pixels of a slice's sides."""
        slices = [shape[0] for shape, _ in self._images(self.determine_transpose()[0])]
        return PAPER_SIDE_OF_VOLUMES if np.median(slices) > 1 else PAPER_SIDE_OF_PICTURES

    def plan_experiment(self) -> dict:
        """Write the plans where nnU-Net looks for them, and return them.

        Raises:
            InputError: as `VMUNetPlanner`, or nnU-Net does not find the preprocessor.
        """
        named = {"2d": {"preprocessor_name": PAPER_PREPROCESSOR}}
        refuse_missing_parts({"dataset_name": self.dataset_name, "configurations": named})
        return super().plan_experiment()

    def target_spacing(self, transpose_forward: Sequence[int]) -> np.ndarray:
        """1 along rows and columns, of which every slice has `side`."""
        spacing = super().target_spacing(transpose_forward)
        return np.array([spacing[0], 1.0, 1.0])

    def determine_normalization_scheme_and_whether_mask_is_used_for_norm(self) -> tuple[list[str], list[bool]]:
        """nnU-Net's schemes by the channels' names, which `PaperPreprocessor` reads; nothing is outside of an image."""
        schemes, masked = super().determine_normalization_scheme_and_whether_mask_is_used_for_norm()
        return schemes, [False] * len(masked)

    def _median_shape(self, spacing: np.ndarray, transpose_forward: Sequence[int]) -> np.ndarray:
        slices = np.median([shape[0] for shape, _ in self._images(transpose_forward)])
        return np.array([slices, self.side, self.side])
