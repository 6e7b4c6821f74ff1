"""The preprocessing of the original VM-UNet, for nnU-Net: what `VMUNetPlannerPaper` names in its plans.

Of https://github.com/JCruan519/VM-UNet: `myNormalize` and `myResize` in utils.py, and datasets/dataset.py.
"""

from __future__ import annotations

import numpy as np
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

from .files.volumes import without_zeros

__all__ = ["PaperPreprocessor"]  # what nnU-Net's search finds

CT_WINDOW = (-125.0, 275.0)  # Hounsfield units that the original's Synapse is clipped to, and scaled to [0, 1]
CT, AS_STORED = "CTNormalization", "NoNormalization"  # nnU-Net's schemes, as the plans name them
STRETCHED = 255.0  # the highest value of a stretched image
SEPARATE = 999.0  # nnU-Net's spacing between images that have nothing to do with each other


class PaperPreprocessor(DefaultPreprocessor):
    """Every slice, whole, becomes as large as the plans' patch; values come to the range that the original trains on.

    Photographs are stretched to 0..255 by their own minimum and maximum over all channels, so that their colour cast
    stays. CT is clipped to CT_WINDOW and scaled to [0, 1]. Channels called noNorm, as TransUNet's form of Synapse has
    them, stay as they are.
    """

    def run_case_npy(
        self,
        data: np.ndarray,
        seg: np.ndarray | None,
        properties: dict,
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        dataset_json: dict | str,
    ) -> tuple[np.ndarray, np.ndarray, dict]:
        """nnU-Net's hook: data (c, slices, h, w) and seg (1, slices, h, w) to the same with h and w of the patch.

        The spacing in `properties` becomes the one at which that is so. Files are written with what their reader noted
        beside it, so lengths in millimetres are not lost.
        """
        in_plane = plans_manager.transpose_forward[1:]
        spacing = [SEPARATE] * 3
        for axis, side, unit in zip(
            in_plane, configuration_manager.patch_size, configuration_manager.spacing, strict=True
        ):
            spacing[axis] = unit * side / data.shape[1 + axis]
        properties["spacing"] = spacing
        whole = without_zeros(data.astype(np.float32))
        return super().run_case_npy(whole, seg, properties, plans_manager, configuration_manager, dataset_json)

    def _normalize(
        self,
        data: np.ndarray,
        seg: np.ndarray,
        configuration_manager: ConfigurationManager,
        foreground_intensity_properties_per_channel: dict,
    ) -> np.ndarray:
        """nnU-Net's hook: (c, slices, h, w) float32, changed in place."""
        schemes = configuration_manager.normalization_schemes
        photograph = [channel for channel, scheme in enumerate(schemes) if scheme not in (CT, AS_STORED)]
        for channel, scheme in enumerate(schemes):
            if scheme == CT:
                data[channel] = in_window(data[channel])
        if photograph:
            data[photograph] = stretched(data[photograph])
        return data


def stretched(image: np.ndarray) -> np.ndarray:
    """From the image's own minimum and maximum to 0..255, over all its channels; an image of one value becomes 0."""
    low, high = image.min(), image.max()
    return (image - low) * (STRETCHED / (high - low)) if high > low else np.zeros_like(image)


def in_window(volume: np.ndarray) -> np.ndarray:
    """Hounsfield units, clipped to CT_WINDOW and scaled to [0, 1]."""
    low, high = CT_WINDOW
    return (volume.clip(low, high) - low) / (high - low)
