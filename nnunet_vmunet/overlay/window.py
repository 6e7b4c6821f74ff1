"""Intensities to grey values."""

from __future__ import annotations

import numpy as np

# Level 40, width 400: what abdominal organs are looked at with.
SOFT_TISSUE_HU = (-160.0, 240.0)

# Air has -1000 HU, and every CT shows some; intensities of MR do not come near that.
LOWEST_OF_NO_CT = -500

PERCENTILES = (0.5, 99.5)
_SAMPLES = 1_000_000  # that percentiles are taken of: more tell no more

Window = tuple[float, float]


def window_of(intensities: np.ndarray, is_ct: bool = False) -> Window:
    """The intensities drawn black and white: a soft tissue window for CT, percentiles for everything else.

    is_ct: known from the dataset.json; otherwise a CT is what goes below -500, as air does in Hounsfield units.
    """
    if is_ct or intensities.min() < LOWEST_OF_NO_CT:
        return SOFT_TISSUE_HU
    sample = intensities.ravel(order="K")[:: intensities.size // _SAMPLES + 1]
    low, high = np.percentile(sample[np.isfinite(sample)], PERCENTILES) if np.isfinite(sample).any() else (0, 1)
    return float(low), float(high)


def grey_values(intensities: np.ndarray, window: Window) -> np.ndarray:
    """The same shape as uint8: 0 at the window's low end and below, 255 at its high end and above."""
    low, high = window
    fraction = (intensities.astype(np.float32) - low) / (high - low if high > low else 1)
    return (255 * np.nan_to_num(fraction, nan=0).clip(0, 1) + 0.5).astype(np.uint8)
