"""Masks, read as labels: black and white ones, and whatever else a coding says that their pixels mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from ..errors import InputError
from ..files.area import most_of_area
from ..files.photographs import LOSSY, opened_to_turn

Kind = Literal["grey values", "colours", "palette indices"]

# The most values of one mask that a survey keeps apart: a label map has no more, a photograph soon has.
_MOST_VALUES = 1024

BLACK, WHITE, DEEP_WHITE = 0, 255, 65535
_JPEG_SPREAD = 16  # how far JPEG may pull the channels of a grey pixel apart
GREY_STEP = 0x010101  # between the colours of two neighbouring greys, each written as 0xRRGGBB


@dataclass(frozen=True)
class MaskCoding:
    """What the pixels of a dataset's masks mean.

    names: of the labels, with the background and the ignore label, as dataset.json has them.
    numbers: the label for each grey value, colour (0xRRGGBB) or palette index.
    threshold: where given, the grey value from which on a pixel is label 1; `numbers` then holds exceptions.
    white_of_one_bit: the grey value that the white of 1-bit masks stands for, which have no number for it.
    """

    names: dict[str, int]
    kind: Kind = "grey values"
    numbers: dict[int, int] = field(default_factory=dict)
    threshold: int | None = None
    white_of_one_bit: int = WHITE

    def read(self, path: Path, side: int | None = None, *, upright: bool = True) -> np.ndarray:
        """Read as labels (H, W) uint8, or (side, side): there each pixel has the label with most of its area.

        Raises:
            InputError: the file is no image, or a pixel means nothing.
        """
        with opened_to_turn(path) as mask:
            pixels = _pixels(mask.image, path, self.kind)
            if mask.image.mode == "1" and self.white_of_one_bit != WHITE:
                pixels = np.minimum(pixels, self.white_of_one_bit)
            labels = mask.turned(self._labels(pixels, path), upright=upright)
        return _sized(labels, side)

    def _labels(self, pixels: np.ndarray, path: Path) -> np.ndarray:
        if self.threshold is None:
            return _looked_up(pixels, self.numbers, path)
        labels = (pixels >= self.threshold).astype(np.uint8)
        for value, label in self.numbers.items():
            labels[pixels == value] = label
        return labels


@dataclass(frozen=True)
class BlackAndWhite:
    """Masks of 0 and 1 or of 0 and 255, each by itself: 1 is `name`. Anything else is refused."""

    name: str

    @property
    def names(self) -> dict[str, int]:
        return {"background": 0, self.name: 1}

    def read(self, path: Path, side: int | None = None, *, upright: bool = True) -> np.ndarray:
        """As `read_mask` reads."""
        return read_mask(path, side, upright=upright)


@dataclass(frozen=True)
class MaskSurvey:
    """What one mask holds.

    counts: pixels for each grey value, or for each colour (0xRRGGBB) where it has colours.
    others: pixels of values that are too many to be counted one by one.
    palette: the colours of the indices in use, where the file has a palette; index_counts: their pixels.
    """

    path: Path
    counts: dict[int, int]
    others: int = 0
    has_colours: bool = False
    is_one_bit: bool = False
    is_lossy: bool = False
    palette: dict[int, int] | None = None
    index_counts: dict[int, int] = field(default_factory=dict)


def read_mask(path: Path, side: int | None = None, *, upright: bool = True) -> np.ndarray:
    """Read as (H, W) uint8, upright or as stored, 1 on the lesion; all black is allowed.

    With `side`, the mask comes at side × side pixels, 1 where at least half of a pixel's area is lesion.

    Raises:
        InputError: the file is no image, has colours, or holds other values than 0 and 1 or 0 and 255.
    """
    with opened_to_turn(path) as mask:
        binary = mask.turned(_binary(_grey(mask.image, path), path), upright=upright)
    return _sized(binary, side)


def survey_mask(path: Path) -> MaskSurvey:
    """Count what a mask holds.

    Raises:
        InputError: the file is no image, or its values are no whole numbers from 0 to 65535.
    """
    with opened_to_turn(path) as mask:
        image = mask.image
        channels = _channels(image)
        has_colours = _has_colours(channels, image)
        counts, others = _counted(_packed(channels) if has_colours else _whole_numbers(_grey(image, path), path))
        palette, index_counts = _palette(image)
        return MaskSurvey(
            path=path,
            counts=counts,
            others=others,
            has_colours=has_colours,
            is_one_bit=image.mode == "1",
            is_lossy=image.format in LOSSY,
            palette=palette,
            index_counts=index_counts,
        )


def hex_colour(colour: int) -> str:
    """0xFF0000 as #ff0000."""
    return f"#{colour:06x}"


def counts_text(counts: dict[int, int], text=str, most: int = 8) -> str:
    """Such as `0 (1200 pixels), 255 (80)`, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    shown = [f"{text(value)} ({count})" for value, count in ordered[:most]]
    more = f" and {len(ordered) - most} others" if len(ordered) > most else ""
    return ", ".join(shown).replace(")", " pixels)", 1) + more


def _sized(labels: np.ndarray, side: int | None) -> np.ndarray:
    return np.ascontiguousarray(labels) if side is None else most_of_area(labels, (side, side))


def _channels(image: Image.Image) -> np.ndarray:
    """(H, W) where there is one channel, else (H, W, 3): alpha says nothing, a palette's colours say more than its
    indices.
    """
    if image.mode in ("L", "F") or image.mode[0] == "I":
        return np.asarray(image)
    return np.asarray(image.convert("RGBA"))[..., :3]


def _has_colours(channels: np.ndarray, image: Image.Image) -> bool:
    if channels.ndim == 2:
        return False
    if image.format in LOSSY:
        return bool((channels.max(axis=2) - channels.min(axis=2)).max() > _JPEG_SPREAD)
    return bool((channels != channels[..., :1]).any())


def _grey(image: Image.Image, path: Path) -> np.ndarray:
    channels = _channels(image)
    if _has_colours(channels, image):
        raise InputError(f"{path} is a mask with colours: give one of black and white pixels (0 and 255)")
    if channels.ndim == 2:
        return channels
    return np.asarray(image.convert("L")) if image.format in LOSSY else channels[..., 0]


def _packed(channels: np.ndarray) -> np.ndarray:
    """(H, W) colours as 0xRRGGBB"""
    if channels.ndim == 2:
        return channels.astype(np.int64) * GREY_STEP
    red, green, blue = np.moveaxis(channels.astype(np.int64), 2, 0)
    return (red << 16) + (green << 8) + blue


def _pixels(image: Image.Image, path: Path, kind: Kind) -> np.ndarray:
    """(H, W) whole numbers"""
    if kind == "palette indices" and image.mode in ("P", "PA"):
        indices = np.asarray(image)
        return indices if indices.ndim == 2 else indices[..., 0]
    if kind == "colours":
        return _packed(_channels(image))
    return _whole_numbers(_grey(image, path), path)


def _whole_numbers(pixels: np.ndarray, path: Path) -> np.ndarray:
    """Numbers from 0 to 65535"""
    if pixels.dtype == np.uint8:
        return pixels
    whole = pixels.astype(np.int64) if np.isfinite(pixels).all() else np.full(pixels.shape, -1)
    if (whole != pixels).any() or whole.min() < 0 or whole.max() > DEEP_WHITE:
        raise InputError(f"{path} holds values that are no whole numbers from 0 to {DEEP_WHITE}: save it as a grey PNG")
    return whole


def _counted(pixels: np.ndarray) -> tuple[dict[int, int], int]:
    if pixels.dtype == np.uint8:  # without sorting millions of pixels
        counts = np.bincount(pixels.ravel(), minlength=256)
        values = np.flatnonzero(counts)
        counts = counts[values]
    else:
        values, counts = np.unique(pixels, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    kept = order[:_MOST_VALUES]
    return dict(zip(values[kept].tolist(), counts[kept].tolist(), strict=True)), int(counts[order[_MOST_VALUES:]].sum())


def _palette(image: Image.Image) -> tuple[dict[int, int] | None, dict[int, int]]:
    """Colours and pixels of the indices in use; None where there is no palette."""
    if image.mode not in ("P", "PA"):
        return None, {}
    indices = np.asarray(image)[..., 0] if image.mode == "PA" else np.asarray(image)
    used, first, counts = np.unique(indices, return_index=True, return_counts=True)
    colours = _packed(_channels(image)).ravel()[first]
    return (
        dict(zip(used.tolist(), colours.tolist(), strict=True)),
        dict(zip(used.tolist(), counts.tolist(), strict=True)),
    )


def _looked_up(pixels: np.ndarray, numbers: dict[int, int], path: Path) -> np.ndarray:
    """(H, W) uint8"""
    table = np.full(max(int(pixels.max()), *numbers) + 1, -1, np.int16)
    for value, label in numbers.items():
        table[value] = label
    labels = table[pixels]
    if labels.min() < 0:  # the survey has seen none: the file has changed since
        raise InputError(
            f"{path} holds {pixels[labels < 0][0]}, which is no label: do not change it during a conversion"
        )
    return labels.astype(np.uint8)


def _binary(pixels: np.ndarray, path: Path) -> np.ndarray:
    values, counts = np.unique(pixels, return_counts=True)
    for white in (1, WHITE):
        if np.isin(values, (BLACK, white)).all():
            return (pixels == white).astype(np.uint8)
    other = ~np.isin(values, (BLACK, WHITE))
    raise InputError(
        f"{path} is no binary mask: besides 0 and 255 it holds {other.sum()} other values in {counts[other].sum()} "
        f"pixels, as after JPEG compression or resizing: download the original mask again"
    )
