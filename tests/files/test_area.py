"""Area averaging, against numbers worked out by hand."""

from fractions import Fraction

import numpy as np
import pytest

from nnunet_vmunet.files.area import area_average, most_of_area


def test_whole_pixels_are_averaged():
    pixels = np.array([[0, 100, 10, 10], [100, 200, 10, 11]], np.uint8)
    np.testing.assert_array_equal(area_average(pixels, (1, 2)), [[100, 10]])


def test_a_cut_pixel_counts_by_its_part():
    # Three pixels over two cells: each cell takes the middle one by half, (0 + 60/2) / 1.5 and (60/2 + 30) / 1.5.
    np.testing.assert_array_equal(area_average(np.array([[0, 60, 30]], np.uint8), (1, 2)), [[20, 40]])


def test_halves_round_up():
    np.testing.assert_array_equal(area_average(np.array([[0, 1]], np.uint8), (1, 1)), [[1]])


def test_grid_that_ends_inside_the_last_pixel():
    # 2.5 pixels over one cell: (10 + 20 + 0.5 × 80) / 2.5.
    extent = (Fraction(1), Fraction(5, 2))
    np.testing.assert_array_equal(area_average(np.array([[10, 20, 80]], np.uint8), (1, 1), extent), [[28]])


def test_channels_stay_apart():
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[..., 1] = 80
    np.testing.assert_array_equal(area_average(pixels, (1, 1)), [[[0, 80, 0]]])


@pytest.mark.parametrize(
    ("mask", "expected"),
    [([[1, 1], [0, 0]], 1), ([[1, 0], [0, 0]], 0), ([[1, 0, 1]], 1), ([[0, 1, 0]], 0)],
    ids=["half", "quarter", "two_thirds", "one_third"],
)
def test_at_least_half_of_one_cell(mask, expected):
    np.testing.assert_array_equal(most_of_area(np.array(mask, np.uint8), (1, 1)), [[expected]])


def test_exactly_half_across_cut_pixels_is_lesion():
    # Cells of 2 × 7/3 pixels whose upper half is lesion: floating-point sums of thirds may end just below a half.
    mask = np.zeros((2, 7), np.uint8)
    mask[0] = 1
    np.testing.assert_array_equal(most_of_area(mask, (1, 3)), [[1, 1, 1]])


def test_masks_can_be_enlarged():
    np.testing.assert_array_equal(most_of_area(np.array([[0, 1]], np.uint8), (2, 4)), [[0, 0, 1, 1]] * 2)


@pytest.mark.parametrize("shape", [(7, 5), (1, 1), (13, 40), (6, 6)], ids=str)
def test_equals_brute_force_supersampling(shape):
    pixels = np.random.default_rng(0).integers(0, 256, (13, 10), dtype=np.uint8)
    fine = pixels.repeat(shape[0], axis=0).repeat(shape[1], axis=1).astype(float)
    means = fine.reshape(shape[0], 13, shape[1], 10).mean(axis=(1, 3))
    np.testing.assert_array_equal(area_average(pixels, shape), np.floor(means + 0.5))


def test_16_bits_are_averaged_in_16_bits():
    pixels = np.array([[65535, 65534, 4, 5]], np.uint16)
    averaged = area_average(pixels, (1, 2))
    np.testing.assert_array_equal(averaged, [[65535, 5]])  # halves round up
    assert averaged.dtype == np.uint16


@pytest.mark.parametrize(
    ("labels", "expected"),
    [([[0, 1, 2, 2]], 2), ([[0, 0, 1, 2]], 0), ([[0, 3, 3, 0]], 3), ([[1, 1, 7, 7]], 7), ([[5]], 5)],
    ids=["most", "background", "a_tie", "a_tie_of_labels", "one"],
)
def test_the_label_with_most_of_a_cell(labels, expected):
    np.testing.assert_array_equal(most_of_area(np.array(labels, np.uint8), (1, 1)), [[expected]])


def test_no_label_appears_between_two_others():
    labels = np.array([[0, 0, 2, 2], [0, 0, 2, 2]], np.uint8)
    for shape in ((3, 3), (2, 3), (7, 9)):
        assert set(np.unique(most_of_area(labels, shape))) == {0, 2}
