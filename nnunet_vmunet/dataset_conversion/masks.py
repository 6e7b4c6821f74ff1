"""Lesion masks, read as 0 and 1 and refused when they hold anything else."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import InputError
from ..files.area import at_least_half
from ..files.photographs import opened, upright


def read_mask(path: Path, side: int | None = None) -> np.ndarray:
    """Read as (H, W) uint8, upright, 1 on the lesion; all black is allowed.

    With `side`, the mask comes at side × side pixels, 1 where at least half of a pixel's area is lesion.

    Raises:
        InputError: the file is no image, has colours, or holds other values than 0 and 1 or 0 and 255.
    """
    mask = _binary(_one_channel(path), path)
    return mask if side is None else at_least_half(mask, (side, side))


def _one_channel(path: Path) -> np.ndarray:
    with opened(path) as image:
        if image.mode in ("L", "F") or image.mode[0] == "I":
            return upright(np.asarray(image), image)
        # A palette's indices say nothing before its colours are looked up; alpha says nothing about the lesion.
        pixels = upright(np.asarray(image.convert("RGBA"))[..., :3], image)
    if (pixels != pixels[..., :1]).any():
        raise InputError(f"{path} is a mask with colours: give one of black and white pixels (0 and 255)")
    return pixels[..., 0]


def _binary(pixels: np.ndarray, path: Path) -> np.ndarray:
    values, counts = np.unique(pixels, return_counts=True)
    for white in (1, 255):
        if np.isin(values, (0, white)).all():
            return (pixels == white).astype(np.uint8)
    other = ~np.isin(values, (0, 255))
    raise InputError(
        f"{path} is no binary mask: besides 0 and 255 it holds {other.sum()} other values in {counts[other].sum()} "
        f"pixels, as after JPEG compression or resizing: download the original mask again"
    )
