"""Synapse's metrics on arrays: golden numbers, each kind of empty mask, a real scan against itself."""

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_vmunet.evaluation import synapse_metrics


@pytest.mark.parametrize("volume", [0, 1])
def test_golden_numbers_of_the_original(golden, volume):
    numbers = golden.numbers("metrics.npz")
    ours = synapse_metrics(numbers[f"syn_pred_{volume}"], numbers[f"syn_gt_{volume}"])
    dice, hd95 = numbers["syn_dice_hd95"][volume].T
    assert list(ours) == list(range(1, 9))
    np.testing.assert_allclose([organ["dice"] for organ in ours.values()], dice, rtol=0, atol=1e-12)
    assert [organ["hd95"] for organ in ours.values()] == hd95.tolist()


def volume(**boxes) -> np.ndarray:
    """volume(a=(1, slice(2, 4))): label 1 where the first axis is in 2 to 4."""
    labels = np.zeros((10, 6, 6), np.uint8)
    for label, rows in boxes.values():
        labels[rows, 2:4, 2:4] = label
    return labels


PRESENT, EMPTY = volume(organ=(3, slice(2, 4))), volume()


@pytest.mark.parametrize(
    ("pred", "reference", "paper", "nan"),
    [
        (PRESENT, PRESENT, (1, 0), (1, 0)),
        (PRESENT, EMPTY, (1, 0), (0, np.nan)),
        (EMPTY, PRESENT, (0, 0), (0, np.nan)),
        (EMPTY, EMPTY, (0, 0), (np.nan, np.nan)),
    ],
    ids=["both present", "reference empty", "prediction empty", "both empty"],
)
@pytest.mark.parametrize("spacing_mm", [None, (5, 1, 1)], ids=["voxels", "mm"])
def test_empty_masks_in_both_conventions(pred, reference, paper, nan, spacing_mm):
    for empty, (dice, hd95) in (("paper", paper), ("nan", nan)):
        found = synapse_metrics(pred, reference, spacing_mm, labels=[3], empty=empty)
        assert found == {3: pytest.approx({"dice": dice, "hd95": hd95}, nan_ok=True)}


def test_millimetres_follow_the_spacing_of_the_axes():
    pred, reference = volume(organ=(1, slice(2, 4))), volume(organ=(1, slice(4, 6)))
    assert synapse_metrics(pred, reference, labels=[1])[1] == {"dice": 0, "hd95": 2}
    assert synapse_metrics(pred, reference, (5, 1, 1), labels=[1])[1] == {"dice": 0, "hd95": 10}


def test_organs_do_not_see_each_other():
    pred = volume(a=(1, slice(0, 2)), b=(2, slice(5, 8)))
    reference = volume(a=(1, slice(0, 2)), b=(2, slice(6, 8)))
    found = synapse_metrics(pred, reference, labels=[2, 1])
    assert list(found) == [2, 1]
    assert found[1] == {"dice": 1, "hd95": 0}
    assert found[2]["dice"] == pytest.approx(2 * 8 / (12 + 8))


@pytest.mark.parametrize("dtype", [bool, np.int16, np.float32])
def test_label_maps_of_any_type(dtype):
    pred, reference = (volume(organ=(1, slice(start, 6))).astype(dtype) for start in (2, 3))
    expected = synapse_metrics(pred.astype(np.uint8), reference.astype(np.uint8), labels=[1])
    assert synapse_metrics(pred, reference, labels=[1]) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reference": EMPTY[1:]}, r"shape \(10, 6, 6\) and reference \(9, 6, 6\)"),
        ({"pred": EMPTY + 0.5}, "pred holds values that are no integers"),
        ({"spacing_mm": (1, 1)}, "one positive number for each of 3 axes"),
        ({"spacing_mm": (1, 0, 1)}, "one positive number"),
        ({"labels": [0, 1]}, "whole numbers from 1"),
        ({"labels": []}, "whole numbers from 1"),
        ({"empty": "skip"}, "empty is 'skip'"),
    ],
    ids=["shapes", "halves", "two spacings", "no spacing", "background", "no label", "convention"],
)
def test_arguments_that_cannot_be_used_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        synapse_metrics(**({"pred": PRESENT, "reference": EMPTY} | change))


def test_a_real_scan_against_itself_and_shifted(shared, brute_force):
    image = sitk.ReadImage(str(shared / "data" / "abdomen_ct" / "label0001.nii.gz"))
    # Organs reach the scan's edge: a margin keeps them from coming back in on the other side.
    reference, spacing_mm = np.pad(sitk.GetArrayFromImage(image), 3), image.GetSpacing()[::-1]
    shifted = np.roll(reference, (1, 2, -2), axis=(0, 1, 2))
    organs = [organ for organ in range(1, 14) if organ != 5]  # the oesophagus is absent

    same = synapse_metrics(reference, reference, spacing_mm, organs)
    assert all(organ == {"dice": 1, "hd95": 0} for organ in same.values())

    for empty, absent in (("paper", {"dice": 0, "hd95": 0}), ("nan", {"dice": np.nan, "hd95": np.nan})):
        found = synapse_metrics(shifted, reference, spacing_mm, range(1, 14), empty)
        assert found[5] == pytest.approx(absent, nan_ok=True)
        assert all(0 < found[organ]["dice"] < 1 for organ in organs)
        # No voxel of a shifted organ is farther from the organ than the shift, of 3 voxels of 3 mm.
        assert all(0 < found[organ]["hd95"] <= 9 + 1e-6 for organ in organs)
        adrenal_gland = 13
        truth = brute_force(shifted == adrenal_gland, reference == adrenal_gland, spacing_mm)
        assert found[adrenal_gland]["hd95"] == pytest.approx(truth, rel=1e-12)
