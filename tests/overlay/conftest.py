"""Images, predictions and references that the test lays out, and what is found in the pictures of them."""

from __future__ import annotations

import numpy as np
import pytest
from studies import Study


@pytest.fixture
def study(tmp_path) -> Study:
    return Study(tmp_path)


@pytest.fixture
def rectangle():
    """rectangle((h, w), rows, columns): a mask of 0 and 1."""

    def rectangle(shape, *ranges: tuple[int, int]) -> np.ndarray:
        mask = np.zeros(shape, np.uint8)
        mask[tuple(slice(*range_) for range_ in ranges)] = 1
        return mask

    return rectangle


@pytest.fixture
def pixels_of():
    """pixels_of(picture, "#rrggbb"): (n, 2) rows and columns of what has that colour, but for a line's soft edges."""

    def pixels_of(picture: np.ndarray, colour: str) -> np.ndarray:
        wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
        return np.argwhere(np.abs(picture.astype(int) - wanted).max(axis=-1) < 40)

    return pixels_of
