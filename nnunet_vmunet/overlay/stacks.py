"""What is drawn of a case: slices of the image, in grey values, and of the label images. A photograph is one slice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import InputError, size_text
from ..evaluation.label_images import Coding
from ..files.photographs import opened, read_photograph
from ..files.volumes import read_grid, read_volume, refuse_other_grid
from .cases import Case
from .upright import Plane, view_of

# Masks may have been made from a photograph that was scaled, so the last pixel may be rounded away.
_EQUAL_SHAPE = 0.01

# Level 40, width 400: what abdominal organs are looked at with.
SOFT_TISSUE_HU = (-160.0, 240.0)

# Air has -1000 HU, and every CT shows some; intensities of MR do not come near that.
LOWEST_OF_NO_CT = -500

PERCENTILES = (0.5, 99.5)
_SAMPLES = 1_000_000  # that percentiles are taken of: more tell no more

Window = tuple[float, float]


@dataclass(frozen=True)
class Stack:
    image: np.ndarray  # (n, rows, columns) intensities, or (n, rows, columns, 3) uint8
    prediction: np.ndarray  # (n, rows, columns) uint8; of a photograph possibly smaller or larger than the image
    reference: np.ndarray | None  # like the prediction
    pixel_size: tuple[float, float]  # of the image: rows, columns, in any unit
    plane: Plane | None = None
    window: Window | None = None  # of the intensities; None where the image is in colours
    ignore_label: int | None = None  # in the reference: what it says nothing about

    def pixels(self, index: int) -> np.ndarray:
        """(rows, columns, 3) uint8: slice `index` of the image."""
        if self.window is None:
            return self.image[index]
        return np.repeat(grey_values(self.image[index], self.window)[..., None], 3, axis=-1)

    def ignored(self, index: int) -> np.ndarray | None:
        """(rows, columns) bool: what the reference ignores in slice `index`; None where that is nothing."""
        if self.reference is None or self.ignore_label is None:
            return None
        ignored = self.reference[index] == self.ignore_label
        return ignored if ignored.any() else None


def read_stack(case: Case, coding: Coding, window: Window | None = None, is_ct: bool = False) -> Stack:
    """Raises InputError where label images do not fit the image, or hold values that are no labels."""
    prediction = coding.prediction(case.prediction)
    reference = coding.reference(case.reference) if case.reference else None
    stack = (_volume if case.is_volume else _photograph)(case, prediction, reference, window, is_ct)
    return replace(stack, ignore_label=coding.ignore_label)


def _volume(case: Case, prediction, reference, window: Window | None, is_ct: bool) -> Stack:
    image = case.channels[0]
    grid = read_grid(image, may_be_flat=True)
    for mask in filter(None, (case.prediction, case.reference)):
        refuse_other_grid(mask, image, "give the images that were predicted as -i", may_be_flat=True)
    view, intensities = view_of(grid), read_volume(image, may_be_flat=True).T
    return Stack(
        view.slices(intensities),
        view.slices(prediction),
        None if reference is None else view.slices(reference),
        view.pixel_mm,
        view.plane,
        window or window_of(intensities, is_ct),
    )


def _photograph(case: Case, prediction, reference, window: Window | None, is_ct: bool) -> Stack:
    if window:
        raise InputError(f"{case.channels[0]} is a photograph, drawn as it is: leave out --window")
    if prediction.ndim != 2:
        raise InputError(f"{case.prediction} holds several pages: photographs are drawn, and volumes such as .nii.gz")
    image = _colours(case.channels)
    if reference is not None and reference.shape != prediction.shape:
        raise InputError(
            f"{case.prediction} is {_by(prediction.shape)} pixels, its reference {case.reference} "
            f"{_by(reference.shape)}: predict the image that the reference belongs to"
        )
    if not _stands_for(prediction.shape, image.shape[:2]):
        raise InputError(
            f"{case.prediction} is {_by(prediction.shape)} pixels, its image {case.channels[0]} "
            f"{_by(image.shape[:2])}: give the images that were predicted as -i"
        )
    return Stack(image[None], prediction[None], None if reference is None else reference[None], (1, 1))


def _stands_for(mask: tuple[int, int], photograph: tuple[int, int]) -> bool:
    """Equally shaped, or square: `nnunet-vmunet convert isic` brings whole photographs to squares."""
    (mask_height, mask_width), (height, width) = mask, photograph
    return mask_height == mask_width or abs(mask_height * width / (mask_width * height) - 1) < _EQUAL_SHAPE


def _colours(channels: tuple[Path, ...]) -> np.ndarray:
    """(H, W, 3) uint8: of three grey channels red, green and blue, else the first."""
    first = _picture(channels[0])
    if len(channels) != 3 or _is_coloured(first):
        return first
    others = [_picture(channel) for channel in channels[1:]]
    return np.stack([channel[..., 0] for channel in (first, *others)], axis=-1)


def _picture(path: Path) -> np.ndarray:
    with opened(path) as image:
        deep = np.asarray(image) if image.mode[0] in "IF" else None
    if deep is None:
        return read_photograph(path)
    # X-rays use a few of 16 bits, so the upper 8 alone would be black.
    return np.repeat(grey_values(deep, window_of(deep))[..., None], 3, axis=-1)


def _is_coloured(pixels: np.ndarray) -> bool:
    return bool((pixels != pixels[..., :1]).any())


def _by(shape: tuple[int, ...]) -> str:
    return size_text(reversed(shape))


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
