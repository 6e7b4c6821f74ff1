"""Exact area averaging: how much of each new pixel the old pixels cover, in integers."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np

Extent = tuple[Fraction, Fraction]


def area_average(pixels: np.ndarray, shape: tuple[int, int], extent: Extent | None = None) -> np.ndarray:
    """Average (H, W, ...) pixels, uint8 or uint16, over a grid of `shape` = (rows, columns) cells, to (*shape, ...).

    An old pixel counts by the part of it that lies inside a cell.

    `extent`: how far the grid reaches over the old pixels, where that is not exactly (H, W).
    """
    sums, cell = _area_sums(pixels, shape, extent)
    return ((2 * sums + cell) // (2 * cell)).astype(pixels.dtype)


def most_of_area(labels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Bring (H, W) uint8 labels to `shape`: in each cell the label with the largest part, of equal ones the highest.

    Of 0 and 1 it is therefore 1 where at least half of the cell's area is. Exact, also when enlarging.
    """
    result = np.zeros(shape, np.uint8)
    largest = np.zeros(shape, np.int64)
    for label in np.unique(labels):
        sums, _ = _area_sums(labels == label, shape, None)
        result[sums >= largest] = label
        largest = np.maximum(largest, sums)
    return result


def _area_sums(pixels, shape, extent) -> tuple[np.ndarray, int]:
    """Integer sums over the cells, and the area of one cell in the same units."""
    height, width = extent or map(Fraction, pixels.shape[:2])
    rows = _stretch_sums(pixels, shape[0], height)
    cells = _stretch_sums(rows.swapaxes(0, 1), shape[1], width).swapaxes(0, 1)
    return cells, height.numerator * width.numerator


def _stretch_sums(pixels: np.ndarray, count: int, length: Fraction) -> np.ndarray:
    """Sums over `count` equal stretches of the first axis, in units of 1 / (count × denominator of length) pixels."""
    unit = count * length.denominator
    edges = [divmod(i * length.numerator, unit) for i in range(count + 1)]
    sums = np.empty((count, *pixels.shape[1:]), np.int64)
    for total, ((first, before), (last, inside)) in zip(sums, pairwise(edges), strict=True):
        total[:] = unit * pixels[first:last].sum(axis=0, dtype=np.int64)
        if before:
            total -= before * pixels[first].astype(np.int64)
        if inside:
            total += inside * pixels[last].astype(np.int64)
    return sums
