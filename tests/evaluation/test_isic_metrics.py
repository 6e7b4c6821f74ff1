"""ISIC's metrics on arrays: golden numbers, counts worked out by hand, and what is undefined."""

import subprocess
import sys

import numpy as np
import pytest

from nnunet_vmunet.evaluation import isic_metrics
from nnunet_vmunet.evaluation.isic_metrics import METRICS, confusion, nearest, rates


def test_golden_numbers_of_the_original(golden):
    numbers = golden.numbers("metrics.npz")
    ours = isic_metrics(numbers["isic_pred"], numbers["isic_gt"])
    assert tuple(ours) == METRICS
    for metric in METRICS:
        assert ours[metric] == pytest.approx(float(numbers[f"isic_{metric}"]), rel=0, abs=1e-12)


def test_one_pixel_of_each_kind_and_two_true_negatives():
    pred, reference = np.array([1, 1, 0, 0, 0]), np.array([1, 0, 1, 0, 0])
    expected = {"miou": 1 / 3, "dsc": 1 / 2, "acc": 3 / 5, "sen": 1 / 2, "spe": 2 / 3}
    assert isic_metrics(pred, reference) == pytest.approx(expected)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32])
@pytest.mark.parametrize("foreground", [1, 255])
def test_masks_of_0_and_1_and_of_0_and_255_are_the_same(foreground, dtype):
    pred, reference = np.array([[1, 1], [0, 0]]), np.array([[1, 0], [0, 0]])
    assert isic_metrics((foreground * pred).astype(dtype), reference) == isic_metrics(pred, reference)


@pytest.mark.parametrize(
    ("pred", "reference", "expected"),
    [
        ([0, 0], [0, 0], {"miou": np.nan, "dsc": np.nan, "acc": 1, "sen": np.nan, "spe": 1}),
        ([1, 0], [0, 0], {"miou": 0, "dsc": 0, "acc": 0.5, "sen": np.nan, "spe": 0.5}),
        ([0, 0], [1, 0], {"miou": 0, "dsc": 0, "acc": 0.5, "sen": 0, "spe": 1}),
        ([1, 1], [1, 1], {"miou": 1, "dsc": 1, "acc": 1, "sen": 1, "spe": np.nan}),
    ],
    ids=["both empty", "reference empty", "prediction empty", "both full"],
)
def test_what_has_no_denominator_is_nan(pred, reference, expected):
    assert isic_metrics(np.array(pred), np.array(reference)) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("pred", "message"),
    [
        ([0, 1, 1], r"shape \(3,\) and reference \(2,\)"),
        ([0, 7], r"pred holds the values \[7\]"),
        ([1, 255], r"pred holds the values \[1, 255\]"),
        ([0.4, 0.6], "a mask holds 1 or 255"),
    ],
    ids=["shapes", "label 7", "1 and 255", "probabilities"],
)
def test_what_is_no_pair_of_masks_is_refused(pred, message):
    with pytest.raises(ValueError, match=message):
        isic_metrics(np.array(pred), np.array([0, 1]))


def test_pooled_counts_differ_from_the_mean_over_images():
    # A large lesion found whole and a small one missed: 9 of 10 pixels, but 1 of 2 images.
    counts = np.array([[9, 0, 0, 0], [0, 0, 1, 8]])
    sensitivity = METRICS.index("sen")
    assert rates(counts.sum(axis=0))[sensitivity] == pytest.approx(0.9)
    assert rates(counts)[:, sensitivity].mean() == pytest.approx(0.5)


def test_confusion_of_a_stack_is_the_sum_over_its_masks():
    pred, reference = np.random.RandomState(0).rand(2, 3, 7, 5) > 0.5
    each = [confusion(p, r) for p, r in zip(pred, reference, strict=True)]
    np.testing.assert_array_equal(confusion(pred, reference), np.sum(each, axis=0))


@pytest.mark.parametrize(
    ("length", "picked"), [(4, [0, 1, 2, 3]), (8, [1, 3, 5, 7]), (2, [0, 0, 1, 1]), (1, [0] * 4), (6, [0, 2, 3, 5])]
)
def test_nearest_takes_the_value_under_each_new_pixels_centre(length, picked):
    mask = np.arange(length)[:, None] * np.ones((1, 3), int)
    np.testing.assert_array_equal(nearest(mask, 4)[:, 0], picked)
    np.testing.assert_array_equal(nearest(mask.T, 4)[0], picked)


def test_importing_the_metrics_is_light():
    heavy = {"torch", "numba", "triton", "matplotlib", "scipy", "SimpleITK", "nnunetv2"}
    code = f"import sys, nnunet_vmunet.evaluation; print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
