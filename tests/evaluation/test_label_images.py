"""What the values of label images stand for."""

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from nnunet_vmunet.errors import InputError
from nnunet_vmunet.evaluation.label_images import Coding, coding_of, expected, read_labels, unnamed_coding

ONE = {"lesion": (1,)}
THREE = {"liver": (1,), "spleen": (2,), "white": (255,)}


@pytest.fixture
def mask(tmp_path):
    """mask([[0, 255]]): the path of a PNG with these values."""

    def mask(values):
        Image.fromarray(np.asarray(values, np.uint8)).save(tmp_path / "mask.png")
        return tmp_path / "mask.png"

    return mask


@pytest.mark.parametrize(
    ("found", "labels"),
    [
        ([{0, 3}, {1}], {"label 1": (1,), "label 3": (3,)}),
        ([{0, 1}, {0}], {"label 1": (1,)}),
        ([{0, 255}, {1}], {"label 1": (1,)}),
        ([{0, 1, 255}], {"label 1": (1,), "label 255": (255,)}),
        ([{0, 2, 255}], {"label 2": (2,), "label 255": (255,)}),
        ([{0}, {0}], {"label 1": (1,)}),
    ],
    ids=["numbers", "masks", "black and white", "1 and 255 in one file", "255 among others", "empty"],
)
def test_without_names_labels_go_by_number(found, labels):
    assert unnamed_coding(found).labels == labels


def test_without_dataset_json_the_files_are_asked(mask):
    assert coding_of(None, [mask([[0, 7, 9]])], 1).labels == {"label 7": (7,), "label 9": (9,)}


@pytest.mark.parametrize("labels", [ONE, {"label 1": (1,)}], ids=["named", "unnamed"])
def test_black_and_white_masks_are_read_as_0_and_1(mask, labels):
    assert Coding(labels).prediction(mask([[0, 255], [255, 255]])).tolist() == [[0, 1], [1, 1]]
    assert Coding(labels, 2).reference(mask([[0, 255]])).tolist() == [[0, 1]]


def test_label_255_among_others_is_a_label(mask):
    assert Coding(THREE).prediction(mask([[0, 255], [1, 255]])).tolist() == [[0, 255], [1, 255]]


def test_255_may_be_the_ignore_label_of_254_classes(mask):
    many = Coding({f"class {i}": (i,) for i in range(1, 255)}, 255)
    assert many.reference(mask([[0, 255]])).tolist() == [[0, 255]]
    with pytest.raises(InputError, match=r"unknown label values 255: the labels are 0 to 254$"):
        many.prediction(mask([[0, 255]]))


def test_a_reference_may_hold_the_ignore_label_and_a_prediction_not(mask):
    coding = Coding(ONE, 2)
    assert coding.reference(mask([[0, 1, 2]])).tolist() == [[0, 1, 2]]
    with pytest.raises(InputError, match=r"mask.png holds the unknown label values 2: the labels are 0, 1, 255$"):
        coding.prediction(mask([[0, 1, 2]]))


@pytest.mark.parametrize(
    ("labels", "values", "unknown"),
    [
        ({"a": (1,), "b": (2,)}, [[0, 1, 2, 7]], 7),
        ({"a": (1,), "b": (2,)}, [[0, 255]], 255),  # which of the two?
        ({"whole": (1, 2), "core": (2,)}, [[0, 1, 255]], 255),
        (ONE, [[0, 1, 255]], 255),
    ],
    ids=["beyond", "white among two labels", "white among regions", "1 and 255"],
)
def test_values_that_are_no_labels_are_refused(mask, labels, values, unknown):
    with pytest.raises(InputError, match=f"mask.png holds the unknown label values? {unknown}: the labels are 0, 1"):
        Coding(labels).prediction(mask(values))


def test_long_lists_are_shortened():
    assert expected(range(256)) == "the labels are 0 to 255"
    assert expected((0, 1, 255)) == "the labels are 0, 1, 255"


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1)], ids=str)
def test_2d_nifti_is_one_slice(tmp_path, shape):
    values = np.arange(20, dtype=np.uint8).reshape(shape)
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "a.nii.gz")
    found = read_labels(tmp_path / "a.nii.gz", range(256))
    assert found.tolist() == values.reshape(1, 4, 5).swapaxes(1, 2).tolist()
