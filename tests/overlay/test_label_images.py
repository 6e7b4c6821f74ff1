"""What the values of label images stand for."""

import numpy as np
import pytest
from studies import write_mask

from nnunet_vmunet.errors import InputError
from nnunet_vmunet.overlay.labels import named_labels, read_label_image, unnamed_labels


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        ({"background": 0, "liver": 2, "spleen": 1}, {"liver": (2,), "spleen": (1,)}),
        ({"background": 0, "whole tumour": [1, 2], "core": [2]}, {"whole tumour": (1, 2), "core": (2,)}),
        ({"background": 0, "lesion": 1, "ignore": 2}, {"lesion": (1,)}),
        ({"0": "background", "1": "Anterior", "2": "Posterior"}, {"Anterior": (1,), "Posterior": (2,)}),
    ],
    ids=["labels", "regions", "ignore label", "nnU-Net v1's form"],
)
def test_the_dataset_json_names_them(labels, named):
    assert named_labels({"labels": labels}) == named


def test_without_names_labels_go_by_number():
    assert named_labels({}) == {}
    assert unnamed_labels({0, 3, 1}) == {"label 1": (1,), "label 3": (3,)}


@pytest.mark.parametrize("values", [set(), {0}, {0, 1}], ids=str)
def test_one_label_is_a_mask(values):
    assert unnamed_labels(values) == {"mask": (1,)}


@pytest.mark.parametrize("allowed", [None, {0, 1}], ids=["unknown labels", "one label"])
def test_black_and_white_masks_are_read_as_0_and_1(tmp_path, allowed):
    write_mask(tmp_path / "mask.png", [[0, 255], [255, 255]])
    assert read_label_image(tmp_path / "mask.png", allowed).tolist() == [[0, 1], [1, 1]]


def test_label_255_among_others_is_a_label(tmp_path):
    write_mask(tmp_path / "mask.png", [[0, 255], [3, 255]])
    assert read_label_image(tmp_path / "mask.png").tolist() == [[0, 255], [3, 255]]
    assert read_label_image(tmp_path / "mask.png", {0, 3, 255}).tolist() == [[0, 255], [3, 255]]


@pytest.mark.parametrize("unknown", [7, 255])
def test_values_that_the_dataset_json_does_not_name_are_refused(tmp_path, unknown):
    write_mask(tmp_path / "mask.png", np.array([[0, 1, 2, unknown]]))
    with pytest.raises(InputError, match=f"mask.png holds the unknown label values? {unknown}: the labels are 0, 1, 2"):
        read_label_image(tmp_path / "mask.png", {0, 1, 2})
