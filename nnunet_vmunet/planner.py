"""nnU-Net's experiment planning for our networks: `nnUNetv2_plan_and_preprocess -d ID -c 2d -pl VMUNetPlanner`.

`VMUNetPlanner` follows nnU-Net's rules: spacing and patch from the dataset's median, batch from the GPU's memory.
Those at the end do so for a network beside VM-UNet. `VMUNetPlanner224` and `VMUNetPlanner256` are the paper's geometry:
slices resized to S×S, 32 to a batch.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.paths import nnUNet_preprocessed
from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from .dataset_json import FILE_NAME, READERS, DatasetJson, parse_dataset_json
from .errors import InputError
from .image_io import refuse_other_channels
from .memory_model import TrainingMemory, training_memory
from .plans import PAPER_BATCH, PAPERS, architecture_of, build_network
from .requirement import refuse_missing_parts, refuse_other_reader
from .resampling import resample_averaging

__all__ = [  # what nnU-Net's search finds
    "VMUNetPlanner",
    "VMUNetPlanner224",
    "VMUNetPlanner256",
    "VMUNetPlannerMambaUNet",
    "VMUNetPlannerS",
    "VMUNetPlannerSwinUMambaD",
    "VMUNetPlannerT",
    "VMUNetPlannerVMamba2",
]

DIVISOR = 32  # of the patch: VM-UNet pads other sizes up to it
GB = 10**9  # bytes; a card sold as so many GB has 7 % more, which CUDA's context and allocator take


class VMUNetPlanner(ExperimentPlanner):
    """Plans with configuration 2d only, for volumes too, which are taken slice by slice.

    Args: as nnU-Net's planner.
        gpu_memory_target_in_gb: what a training step may take, in float32 (see `memory_model`).
        plans_name: of the plans file and of the preprocessed data; each class has its own.
        overwrite_target_spacing: (slice axis, rows, columns) of the images as stored, in mm.
    """

    default_plans_name = "nnUNetVMUNetPlans"
    network_name = PAPERS  # of plans.NETWORKS

    def __init__(
        self,
        dataset_name_or_id: str | int,
        gpu_memory_target_in_gb: float = 8,
        preprocessor_name: str = "DefaultPreprocessor",
        plans_name: str | None = None,
        overwrite_target_spacing: Sequence[float] | None = None,
        suppress_transpose: bool = False,
    ) -> None:
        super().__init__(
            dataset_name_or_id,
            gpu_memory_target_in_gb,
            preprocessor_name,
            plans_name or self.default_plans_name,
            overwrite_target_spacing,
            suppress_transpose,
        )

    def plan_experiment(self) -> dict:
        """Write the plans where nnU-Net looks for them, and return them.

        Raises:
            InputError: not even the smallest patches fit into the memory target, the dataset.json is not what nnU-Net
                trains, or the images are not what their reader gives.
        """
        self.description.refuse_untrainable()
        reader = self._checked_reader()
        transpose_forward, transpose_backward = self.determine_transpose()
        spacing = self.target_spacing(transpose_forward)
        median_shape = self._median_shape(spacing, transpose_forward)
        configuration = self.get_plans_for_configuration(
            spacing[1:],
            median_shape[1:],
            self.generate_data_identifier("2d"),
            float(np.prod(median_shape) * self.dataset_json["numTraining"]),
            {},
        )
        fingerprint = self.dataset_fingerprint
        self.plans = {
            "dataset_name": self.dataset_name,
            "plans_name": self.plans_identifier,
            "original_median_spacing_after_transp": np.median(fingerprint["spacings"], 0)[transpose_forward].tolist(),
            "original_median_shape_after_transp": [
                round(n) for n in np.median(fingerprint["shapes_after_crop"], 0)[transpose_forward]
            ],
            "image_reader_writer": reader.__name__,
            "transpose_forward": transpose_forward,
            "transpose_backward": transpose_backward,
            "configurations": {"2d": configuration},
            "experiment_planner_used": type(self).__name__,
            "label_manager": LabelManager.__name__,
            "foreground_intensity_properties_per_channel": fingerprint["foreground_intensity_properties_per_channel"],
        }
        refuse_missing_parts(self.plans)
        print(self._summary(configuration))
        preprocessed = Path(nnUNet_preprocessed, self.dataset_name)
        shutil.copy(Path(self.raw_dataset_folder, "dataset.json"), preprocessed / "dataset.json")
        self.save_plans(self.plans)
        return self.plans

    def get_plans_for_configuration(
        self, spacing, median_shape, data_identifier: str, approximate_n_voxels_dataset: float, _cache: dict
    ) -> dict:
        """nnU-Net's hook, for 2D: spacing (mm) and median shape (pixels) are of (rows, columns)."""
        patch_size, batch_size = self.patch_and_batch_size(median_shape, approximate_n_voxels_dataset)
        schemes, masked = self.determine_normalization_scheme_and_whether_mask_is_used_for_norm()
        data, data_kwargs, seg, seg_kwargs = self.determine_resampling()
        probabilities, probabilities_kwargs = self.determine_segmentation_softmax_export_fn()
        return {
            "data_identifier": data_identifier,
            "preprocessor_name": self.preprocessor_name,
            "batch_size": batch_size,
            "patch_size": patch_size,
            "median_image_size_in_voxels": list(median_shape),
            "spacing": list(spacing),
            "normalization_schemes": schemes,
            "use_mask_for_norm": masked,
            "resampling_fn_data": data.__name__,
            "resampling_fn_data_kwargs": data_kwargs,
            "resampling_fn_seg": seg.__name__,
            "resampling_fn_seg_kwargs": seg_kwargs,
            "resampling_fn_probabilities": probabilities.__name__,
            "resampling_fn_probabilities_kwargs": probabilities_kwargs,
            "architecture": self.architecture(),
            "batch_dice": True,
        }

    def determine_resampling(self, *args, **kwargs) -> tuple:
        """nnU-Net's hook: its own functions and their keywords, but photographs that shrink are averaged."""
        data, *others = super().determine_resampling(*args, **kwargs)
        averaged = self.determine_reader_writer().__name__ in READERS.values()
        return (resample_averaging if averaged else data), *others

    def architecture(self) -> dict:
        """The plans' entry `architecture`: the network to train, and the one whose memory is counted."""
        return architecture_of(self.network_name)

    def target_spacing(self, transpose_forward: Sequence[int]) -> np.ndarray:
        """The spacing in mm, (slice axis, rows, columns) after transposing; in 2D only rows and columns use it."""
        return self.determine_fullres_target_spacing()[transpose_forward]

    def patch_and_batch_size(self, median_shape: Sequence[float], pixels: float) -> tuple[list[int], int]:
        """The median slice, or as much of it as fits into the memory twice; then as many as fit.

        Args:
            median_shape: (height, width) in pixels.
            pixels: of the whole training set. A batch has at most `max_dataset_covered` of them, as in nnU-Net.

        Raises:
            InputError: not even the smallest patches fit.
        """
        available = self.UNet_vram_target_GB * GB
        patch_size = [DIVISOR * max(1, math.ceil(n / DIVISOR)) for n in median_shape]
        while self.memory.peak(self.UNet_min_batch_size, patch_size) > available:
            reducible = [axis for axis in (0, 1) if patch_size[axis] > DIVISOR]
            if not reducible:
                needed = math.ceil(10 * self.memory.peak(self.UNet_min_batch_size, patch_size) / GB) / 10
                raise InputError(
                    f"-gpu_memory_target {self.UNet_vram_target_GB:g} is too small for VM-UNet: {self.dataset_name} "
                    f"needs {needed} GB for {self.UNet_min_batch_size} patches of {DIVISOR}x{DIVISOR}"
                )
            patch_size[max(reducible, key=lambda axis: patch_size[axis] / median_shape[axis])] -= DIVISOR
        fitting = self.memory.largest_batch(patch_size, available)
        covering = round(pixels * self.max_dataset_covered / np.prod(patch_size))
        return patch_size, max(min(fitting, covering), self.UNet_min_batch_size)

    @cached_property
    def memory(self) -> TrainingMemory:
        """The memory that a training of the planned network takes, with this dataset's channels and classes."""
        channels, heads = len(self.description.channels), self.description.num_outputs
        return training_memory(build_network(self.architecture(), channels, heads), heads)

    @cached_property
    def description(self) -> DatasetJson:
        """What the raw dataset's dataset.json says."""
        return parse_dataset_json(self.dataset_json, Path(self.raw_dataset_folder, FILE_NAME))

    def _checked_reader(self) -> type:
        """The class that reads the images, if it is the one that the dataset asks for and gives its channels."""
        reader = self.determine_reader_writer()
        refuse_other_reader(self.description, reader.__name__)
        first = next(iter(self.dataset.values()))
        refuse_other_channels(reader, self.description, len(first["images"]))
        return reader

    def _median_shape(self, spacing: np.ndarray, transpose_forward: Sequence[int]) -> np.ndarray:
        """The median shape of the training images at this spacing, both transposed."""
        return np.median([compute_new_shape(shape, own, spacing) for shape, own in self._images(transpose_forward)], 0)

    def _images(self, transpose_forward: Sequence[int]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Shape in voxels and spacing in mm of each training image, transposed."""
        shapes, spacings = (
            np.array(self.dataset_fingerprint[key])[:, transpose_forward] for key in ("shapes_after_crop", "spacings")
        )
        return list(zip(shapes, spacings, strict=True))

    def _summary(self, configuration: dict) -> str:
        patch_size, batch_size = configuration["patch_size"], configuration["batch_size"]
        needed = self.memory.peak(batch_size, patch_size) / GB
        summary = (
            f"2d: {batch_size} patches of {_by(patch_size)} per batch at spacing {_by(configuration['spacing'])}; "
            f"a training step takes about {needed:.1f} GB in float32, less with autocast"
        )
        if needed > self.UNet_vram_target_GB:
            summary += f" (more than the target of {self.UNet_vram_target_GB:g} GB, because the batch is the paper's)"
        return summary


class PaperGeometryPlanner(VMUNetPlanner):
    """The median slice becomes `side`×`side` pixels, each axis for itself, and 32 of them are a batch.

    Sections 4.1 and 4.2 of the paper. Volumes keep their slices: only rows and columns are resampled.
    """

    side: int

    def target_spacing(self, transpose_forward: Sequence[int]) -> np.ndarray:
        """The spacing in mm that gives the median slice `side` rows and columns.

        Raises:
            InputError: -overwrite_target_spacing is given too.
        """
        if self.overwrite_target_spacing is not None:
            raise InputError(
                f"{type(self).__name__} sets the spacing itself: leave out -overwrite_target_spacing, or plan with "
                "-pl VMUNetPlanner"
            )
        spacing = super().target_spacing(transpose_forward)
        extent = np.median([shape * own for shape, own in self._images(transpose_forward)], 0)  # mm
        return np.array([spacing[0], *(extent[1:] / self.side)])

    def patch_and_batch_size(self, median_shape: Sequence[float], pixels: float) -> tuple[list[int], int]:
        """The paper's, whatever the memory."""
        return [self.side, self.side], PAPER_BATCH


class VMUNetPlanner224(PaperGeometryPlanner):
    """224×224, the paper's size for Synapse."""

    default_plans_name = "nnUNetVMUNetPlans224"
    side = 224


class VMUNetPlanner256(PaperGeometryPlanner):
    """256×256, the paper's size for ISIC."""

    default_plans_name = "nnUNetVMUNetPlans256"
    side = 256


class VMUNetPlannerT(VMUNetPlanner):
    """For `nnUNetTrainerVMUNet_T`, which keeps more in memory."""

    default_plans_name = "nnUNetVMUNetPlansT"
    network_name = "vmunet-t"


class VMUNetPlannerS(VMUNetPlanner):
    """For `nnUNetTrainerVMUNet_S`, which keeps most in memory."""

    default_plans_name = "nnUNetVMUNetPlansS"
    network_name = "vmunet-s"


class VMUNetPlannerVMamba2(VMUNetPlanner):
    """For `nnUNetTrainerVMUNet_VMamba2`."""

    default_plans_name = "nnUNetVMUNetPlansVMamba2"
    network_name = "vmamba2-unet"


class VMUNetPlannerSwinUMambaD(VMUNetPlanner):
    """For `nnUNetTrainerVMUNet_SwinUMambaD` and its `_paper`."""

    default_plans_name = "nnUNetVMUNetPlansSwinUMambaD"
    network_name = "swin-umamba-d"


class VMUNetPlannerMambaUNet(VMUNetPlanner):
    """For `nnUNetTrainerVMUNet_MambaUNet`."""

    default_plans_name = "nnUNetVMUNetPlansMambaUNet"
    network_name = "mamba-unet"


def _by(numbers: Sequence[float]) -> str:
    return "x".join(f"{number:.4g}" for number in numbers)
