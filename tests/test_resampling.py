import numpy as np
import pytest
import torch
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape

from nnunet_vmunet.files.area import area_average
from nnunet_vmunet.resampling import resample_averaging

SPACING = (999, 1.0, 1.0)
CUBIC = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}


def photograph(*shape: int) -> np.ndarray:
    """(3, 1, *shape) noise of 8 bits."""
    return np.random.default_rng(0).integers(0, 256, (3, 1, *shape)).astype(np.float32)


@pytest.mark.parametrize("shape", [(64, 64), (57, 90), (63, 41)], ids=str)
def test_shrinking_averages_as_the_converters_do(shape):
    data = photograph(151, 97)
    ours = resample_averaging(data, (1, *shape), SPACING, SPACING, **CUBIC)
    for channel, expected in zip(ours, data, strict=True):
        # The converters round to whole grey values.
        averaged = area_average(expected[0].astype(np.uint8), shape)
        assert np.abs(channel[0] - averaged).max() <= 0.5 + 1e-3


def test_enlarging_is_nnunets():
    data = photograph(20, 30)
    theirs = resample_data_or_seg_to_shape(data, (1, 33, 64), SPACING, SPACING, **CUBIC)
    assert np.array_equal(resample_averaging(data, (1, 33, 64), SPACING, SPACING, **CUBIC), theirs)


def test_one_axis_may_shrink_and_the_other_grow():
    data = np.tile(np.arange(40, dtype=np.float32)[:, None], (1, 1, 1, 20))  # rows 0 to 39
    ours = resample_averaging(data, (1, 10, 50), SPACING, SPACING, **CUBIC)
    assert ours.shape == (1, 1, 10, 50)
    assert np.allclose(ours[0, 0], np.arange(1.5, 40, 4)[:, None], atol=1e-4)


def test_the_same_size_is_left_alone():
    data = photograph(20, 30)
    assert np.array_equal(resample_averaging(data, (1, 20, 30), SPACING, SPACING, **CUBIC), data)


def test_slices_stay_apart_and_tensors_are_taken():
    data = torch.arange(3.0).reshape(1, 3, 1, 1).expand(1, 3, 8, 8)
    ours = resample_averaging(data, (3, 2, 2), (5.0, 1.0, 1.0), (5.0, 4.0, 4.0), **CUBIC)
    assert np.array_equal(ours[0, :, 0, 0], [0, 1, 2])
