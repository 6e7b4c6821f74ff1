"""Values that an image or a label map may hold."""

from pathlib import Path

import numpy as np
import pytest

from nnunet_vmunet.dataset_conversion.nifti import check_intensities, checked_labels
from nnunet_vmunet.errors import InputError

FILE = Path("label0001.nii.gz")


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.float32, np.float64, np.bool_])
def test_whole_numbers_of_any_type_are_labels(dtype):
    labels = checked_labels(np.array([0, 1, 1, 0]).astype(dtype), 13, FILE)
    assert labels.dtype == np.uint8
    assert labels.tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize("value", [-1, 14, 256, -255, 1e30, np.nan, np.inf, 0.999, 12.5], ids=str)
def test_anything_else_is_refused(value):
    """256 and -255 would turn into 0 and 1 as uint8."""
    with pytest.raises(InputError, match=r"label0001\.nii\.gz holds "):
        checked_labels(np.array([0, value, 3]), 13, FILE)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_intensities_are_finite(value):
    with pytest.raises(InputError, match=r"holds 2 voxels that are NaN or infinite"):
        check_intensities(np.array([0, value, value, -1024]), FILE)


def test_any_finite_intensity_will_do():
    check_intensities(np.array([-32768, 32767], np.int16), FILE)
