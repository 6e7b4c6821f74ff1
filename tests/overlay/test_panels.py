"""Lines around masks, in pixels of the picture."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from nnunet_vmunet.overlay.panels import draw_slice
from nnunet_vmunet.overlay.stacks import Stack


def contours(mask: np.ndarray, size: tuple[int, int]) -> list[np.ndarray]:
    """(n, 2) x and y of each closed line, in pixels from the upper left corner of a picture of `size`."""
    axes = Figure(figsize=(size[1] / 72, size[0] / 72), dpi=72).add_axes((0, 0, 1, 1))
    masks = mask[None].astype(np.uint8)
    draw_slice(axes, Stack(np.zeros((*masks.shape, 3), np.uint8), masks, None, (1, 1)), 0, {"mask": (1,)}, size, 1)
    paths = [path for lines in axes.collections for path in lines.get_paths()]
    assert (axes.get_xlim(), axes.get_ylim()) == ((0, size[1]), (size[0], 0))
    return [line for path in paths for line in path.to_polygons(closed_only=False)]


def extent(line: np.ndarray) -> list[float]:
    """left, top, right, bottom"""
    return [*line.min(axis=0), *line.max(axis=0)]


def test_the_line_runs_between_the_masks_pixels_and_those_beside_them(rectangle):
    (line,) = contours(rectangle((10, 20), (2, 5), (7, 15)) > 0, (10, 20))
    assert extent(line) == pytest.approx([7, 2, 15, 5])
    assert np.array_equal(line[0], line[-1])


@pytest.mark.parametrize("scale", [0.5, 3, 4.5], ids=str)
def test_it_comes_at_the_pictures_size(rectangle, scale):
    (line,) = contours(rectangle((100, 200), (20, 50), (70, 150)) > 0, (int(100 * scale), int(200 * scale)))
    assert extent(line) == pytest.approx([70 * scale, 20 * scale, 150 * scale, 50 * scale])


def test_a_much_larger_mask_comes_to_half_a_pixel_of_the_picture(rectangle):
    (line,) = contours(rectangle((1003, 2005), (203, 507), (701, 1503)) > 0, (100, 200))
    assert extent(line) == pytest.approx([70.1, 20.3, 150.3, 50.7], abs=0.5)


@pytest.mark.parametrize("place", [(0, 0), (577, 1234), (1002, 2004)], ids=str)
def test_a_single_pixel_of_a_much_larger_mask_is_not_lost(place):
    mask = np.zeros((1003, 2005), bool)
    mask[place] = True
    (line,) = contours(mask, (100, 200))
    row, column = (np.array(place) + 0.5) / mask.shape * (100, 200)
    assert line.mean(axis=0) == pytest.approx([column, row], abs=0.5)


def test_a_mask_of_another_shape_stands_for_the_whole_picture(rectangle):
    (line,) = contours(rectangle((10, 10), (5, 10), (0, 5)) > 0, (300, 600))
    assert extent(line) == pytest.approx([0, 150, 300, 300])


def test_it_closes_along_the_pictures_edge():
    (line,) = contours(np.ones((4, 6), bool), (4, 6))
    assert extent(line) == pytest.approx([0, 0, 6, 4])
    assert np.array_equal(line[0], line[-1])


def test_pieces_and_holes_have_lines_of_their_own(rectangle):
    mask = rectangle((20, 20), (1, 10), (1, 10)) > 0
    mask[4:6, 4:6] = False
    mask[15, 15] = True
    found = sorted(extent(line) for line in contours(mask, mask.shape))
    assert np.array(found) == pytest.approx(np.array([[1, 1, 10, 10], [4, 4, 6, 6], [15, 15, 16, 16]]))


def test_an_empty_mask_has_none():
    assert contours(np.zeros((4, 6), bool), (40, 60)) == []
