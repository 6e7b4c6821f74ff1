"""nnU-Net's resampling of images, but an axis that shrinks is averaged.

nnU-Net's own interpolates between the nearest pixels, however many lie between those that it needs: a photograph of
many pixels is then sampled, and its noise stays. The converters average photographs when they shrink them, so what the
network learnt from is smoother than what nnU-Net would show it. `docs/how-it-works.md` has what that costs.
"""

from __future__ import annotations

import numpy as np
import torch
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape

__all__ = ["resample_averaging"]  # what nnU-Net's search finds


def resample_averaging(
    data: np.ndarray | torch.Tensor, new_shape, current_spacing, new_spacing, **kwargs
) -> np.ndarray:
    """(c, slices, h, w) to (c, *new_shape). For the plans' `resampling_fn_data`.

    Rows and columns that become fewer are averaged over the area of each new pixel, then nnU-Net's function does the
    rest: it enlarges, and takes the keyword arguments.
    """
    data = np.asarray(data)
    for axis in (-2, -1):
        if new_shape[axis] < data.shape[axis]:
            data = _averaged(data, int(new_shape[axis]), axis)
    return resample_data_or_seg_to_shape(data, new_shape, current_spacing, new_spacing, **kwargs)


def _averaged(data: np.ndarray, pixels: int, axis: int) -> np.ndarray:
    """The same data with so many pixels along an axis, as float32."""
    old = data.shape[axis]
    edges = np.arange(pixels + 1) * (old / pixels)  # of the new pixels, in old ones
    first, end = edges[:-1, None], edges[1:, None]
    covered = np.minimum(end, np.arange(old) + 1) - np.maximum(first, np.arange(old))
    weights = (covered.clip(0) * (pixels / old)).astype(np.float32)  # (new, old)
    return np.moveaxis(np.moveaxis(data.astype(np.float32, copy=False), axis, -1) @ weights.T, -1, axis)
