"""Intensities to grey values."""

import numpy as np
import pytest

from nnunet_vmunet.overlay.stacks import SOFT_TISSUE_HU, grey_values, window_of

RNG = np.random.default_rng(0)


def test_values_like_airs_in_hounsfield_units_make_a_ct():
    assert window_of(RNG.normal(0, 300, (20, 30)).clip(-1024, 1500)) == SOFT_TISSUE_HU


def test_the_dataset_json_makes_a_ct_of_values_that_do_not_tell():
    inside_the_liver = RNG.normal(60, 20, (20, 30))
    assert window_of(inside_the_liver, is_ct=True) == SOFT_TISSUE_HU
    assert window_of(inside_the_liver) != SOFT_TISSUE_HU


def test_mr_is_drawn_between_percentiles():
    intensities = RNG.permutation(np.arange(1001)).reshape(7, 11, 13)
    assert window_of(intensities) == (5, 995)


@pytest.mark.parametrize("scale", [1e-3, 1, 1e4])
def test_the_unit_of_mr_does_not_matter(scale):
    intensities = RNG.gamma(2, 100, (20, 30))
    drawn, scaled = (grey_values(values, window_of(values)) for values in (intensities, scale * intensities))
    assert np.abs(drawn.astype(int) - scaled).max() <= 1


def test_values_outside_the_window_are_black_and_white():
    assert grey_values(np.array([-1000, -160, 40, 240, 3000]), SOFT_TISSUE_HU).tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize("values", [np.full((4, 4), 7.0), np.full((4, 4), np.nan)], ids=["constant", "NaN"])
def test_an_image_without_contrast_is_drawn_too(values):
    assert grey_values(values, window_of(values)).dtype == np.uint8


def test_nan_is_black_and_does_not_change_the_rest():
    values = np.linspace(0, 1, 1000)
    holed = np.append(values, np.nan)
    assert window_of(holed) == window_of(values)
    assert grey_values(holed, window_of(holed))[-1] == 0
