"""Lines around masks, in pixels of the picture."""

import numpy as np
import pytest

from nnunet_vmunet.overlay.contours import contours


def extent(line: np.ndarray) -> list[float]:
    """left, top, right, bottom"""
    return [*line.min(axis=0), *line.max(axis=0)]


def test_the_line_runs_between_the_masks_pixels_and_those_beside_them(rectangle):
    (line,) = contours(rectangle((10, 20), (2, 5), (7, 15)) > 0, (10, 20))
    assert extent(line) == [7, 2, 15, 5]
    assert np.array_equal(line[0], line[-1])


@pytest.mark.parametrize("scale", [0.1, 0.5, 3, 4.5], ids=str)
def test_it_comes_at_the_pictures_size(rectangle, scale):
    (line,) = contours(rectangle((100, 200), (20, 50), (70, 150)) > 0, (100 * scale, 200 * scale))
    assert extent(line) == pytest.approx([70 * scale, 20 * scale, 150 * scale, 50 * scale])


def test_a_mask_of_another_shape_stands_for_the_whole_picture(rectangle):
    (line,) = contours(rectangle((10, 10), (5, 10), (0, 5)) > 0, (300, 600))
    assert extent(line) == [0, 150, 300, 300]


def test_it_closes_along_the_pictures_edge():
    (line,) = contours(np.ones((4, 6), bool), (4, 6))
    assert extent(line) == [0, 0, 6, 4]
    assert np.array_equal(line[0], line[-1])


def test_pieces_and_holes_have_lines_of_their_own(rectangle):
    mask = rectangle((20, 20), (1, 10), (1, 10)) > 0
    mask[4:6, 4:6] = False
    mask[15, 15] = True
    assert sorted(extent(line) for line in contours(mask, mask.shape)) == [
        [1, 1, 10, 10],
        [4, 4, 6, 6],
        [15, 15, 16, 16],
    ]


def test_an_empty_mask_has_none():
    assert contours(np.zeros((4, 6), bool), (40, 60)) == []
