"""Metrics of any labels on arrays, against NumPy that is written out, against SciPy, and by hand."""

import numpy as np
import pytest
from scipy.ndimage import binary_erosion, distance_transform_edt

from nnunet_vmunet.evaluation import label_metrics, synapse_metrics
from nnunet_vmunet.evaluation.label_metrics import TOLERANCE, label_agreements


def random_maps(shape, labels: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A reference of blobs, and a prediction that agrees with it in four voxels of five."""
    random = np.random.RandomState(seed)
    reference = random.randint(0, labels + 1, [-(-length // 3) for length in shape])
    for axis, length in enumerate(shape):
        reference = reference.repeat(3, axis).take(range(length), axis)
    return np.where(random.rand(*shape) < 0.8, reference, random.randint(0, labels + 1, shape)), reference


def distances(pred: np.ndarray, reference: np.ndarray, spacing) -> np.ndarray:
    """From each surface voxel to the other surface, by distance transforms of the whole array."""
    edges = [mask & ~binary_erosion(mask) for mask in (pred, reference)]
    to = [distance_transform_edt(~edge, sampling=spacing) for edge in edges]
    return np.hstack([to[1][edges[0]], to[0][edges[1]]])


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((31, 17), None), ((31, 17), (0.5, 2)), ((7, 13, 11), None), ((7, 13, 11), (3, 0.78, 0.78)), ((61,), None)],
    ids=["2D pixels", "2D mm", "3D voxels", "3D mm", "a line"],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_every_metric_is_that_of_numpy_and_scipy(shape, spacing, seed):
    pred, reference = random_maps(shape, 4, seed)
    found = label_metrics(pred, reference, spacing)
    assert list(found) == [1, 2, 3, 4]
    for label, metrics in found.items():
        p, r = pred == label, reference == label
        assert metrics["dice"] == pytest.approx(2 * (p & r).sum() / (p.sum() + r.sum()), rel=1e-14)
        assert metrics["iou"] == pytest.approx((p & r).sum() / (p | r).sum(), rel=1e-14)
        between = distances(p, r, spacing or 1)
        assert metrics["hd95"] == pytest.approx(np.percentile(between, 95), rel=1e-12)
        assert metrics["surface_dice"] == pytest.approx((between <= TOLERANCE).mean(), rel=1e-14)


def test_regions_are_the_union_of_their_values():
    pred, reference = random_maps((20, 21), 5)
    found = label_metrics(pred, reference, labels={"whole": (1, 2, 5), "core": (5,)})
    whole = label_metrics(np.isin(pred, (1, 2, 5)), np.isin(reference, (1, 2, 5)))
    assert found == {"whole": whole[1], "core": label_metrics(pred, reference)[5]}


def test_as_synapse_metrics_where_nothing_is_empty():
    pred, reference = random_maps((9, 20, 21), 8)
    ours, synapse = label_metrics(pred, reference, (3, 1, 1)), synapse_metrics(pred, reference, (3, 1, 1))
    assert {label: {m: found[m] for m in ("dice", "hd95")} for label, found in ours.items()} == synapse


def test_one_slice_has_the_metrics_of_a_picture():
    """Else all its pixels were surface, as above and below each there is nothing."""
    pred, reference = random_maps((20, 21), 3)
    flat = label_metrics(pred, reference, (0.5, 0.7))
    assert label_metrics(pred[:, :, None], reference[:, :, None], (0.5, 0.7, 9)) == flat
    assert label_metrics(pred[None], reference[None], (9, 0.5, 0.7)) == flat


def test_a_single_pixel_is_its_own_surface():
    pixel = np.ones((1, 1, 1))
    assert label_metrics(pixel, pixel) == {1: {"dice": 1, "iou": 1, "hd95": 0, "surface_dice": 1}}


SQUARE = np.zeros((20, 20), np.uint8)
SQUARE[5:10, 5:10] = 1
EMPTY = np.zeros_like(SQUARE)
NAN = np.nan


@pytest.mark.parametrize(
    ("pred", "reference", "expected"),
    [
        (EMPTY, EMPTY, (NAN, NAN, NAN, NAN)),
        (SQUARE, EMPTY, (0, 0, NAN, 0)),
        (EMPTY, SQUARE, (0, 0, NAN, 0)),
        (SQUARE, SQUARE, (1, 1, 0, 1)),
    ],
    ids=["both empty", "reference empty", "prediction empty", "equal"],
)
@pytest.mark.parametrize("ignore_label", [None, 9])
def test_what_is_undefined_is_nan(pred, reference, expected, ignore_label):
    (found,) = label_metrics(pred, reference, labels=[1], ignore_label=ignore_label).values()
    assert tuple(found.values()) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("spacing", "tolerance", "within"),
    [(None, 2.9, 0), (None, 3, 1), ((1, 0.3), 0.9, 1), ((1, np.float32(0.3)), 0.9, 1), ((1, 0.4), 1.1, 0)],
    ids=["short of 3 pixels", "3 pixels", "0.9 mm", "0.9 mm in 32 bits", "short of 1.2 mm"],
)
def test_the_tolerance_is_in_the_unit_of_the_spacing_and_belongs_to_it(spacing, tolerance, within):
    pred, reference = np.zeros((9, 12), int), np.zeros((9, 12), int)
    pred[2:7, 3] = reference[2:7, 6] = 1  # two upright lines, 3 columns apart
    assert label_metrics(pred, reference, spacing, tolerance=tolerance)[1]["surface_dice"] == within


def test_both_directions_are_pooled():
    pred, reference = np.zeros(40, int), np.zeros(40, int)
    pred[[3, 20, 30]] = reference[3] = 1  # 0 to the reference and back, 17 and 27 in one direction alone
    found = label_metrics(pred, reference, tolerance=17)[1]
    assert found["surface_dice"] == 3 / 4
    assert found["hd95"] == pytest.approx(np.percentile([0, 0, 17, 27], 95))


def test_ignored_pixels_count_on_neither_side():
    reference = SQUARE.copy()
    reference[:, 8:] = 2
    pred = SQUARE.copy()
    pred[0, 15] = 1  # far away, and ignored
    pred[5:10, 4] = 1
    (found,) = label_agreements(pred, reference, {"a": (1,)}, [None], ignore_label=2, tolerance=0).values()
    # Columns 5 to 7 of the square are known, and column 4 beside them is predicted too.
    assert (found.pred_pixels, found.reference_pixels, found.common_pixels) == (20, 15, 15)
    assert found.dice == pytest.approx(2 * 15 / 35)
    # Surfaces: 5 pixels on the left and those above and below; column 7 borders on ignored pixels, which is no border.
    # pred: 5 + 2 * 3, reference: 5 + 2 * 2. In both: columns 5 to 7 above and below.
    assert found.surface_dice == pytest.approx(2 * 6 / (11 + 9))
    assert found.hd95 == (1,)


def test_what_is_ignored_right_beside_both_masks_is_seen():
    reference = SQUARE.copy()
    reference[:, 8:] = 2
    pred = SQUARE.copy()
    pred[:, 7:] = 0
    (found,) = label_metrics(pred, reference, ignore_label=2, tolerance=0).values()
    # Surfaces: columns 5 and 6 of the prediction; column 5 of the reference and both ends of 6 and 7, not all of 7.
    # In both: column 5 and the ends of 6.
    assert found["surface_dice"] == pytest.approx(2 * 7 / (10 + 9))


def test_a_mask_whose_whole_border_is_ignored_has_no_surface():
    reference = np.full((9, 9), 2)
    reference[4, 4] = 1
    pred = np.zeros((9, 9), int)
    pred[3:6, 3:6] = 1
    (found,) = label_metrics(pred, reference, labels=[1], ignore_label=2).values()
    assert tuple(found.values()) == pytest.approx((1, 1, NAN, NAN), nan_ok=True)


def test_without_labels_all_are_taken_but_the_ignored_one():
    assert list(label_metrics(np.array([0, 4, 1]), np.array([7, 9, 0]), ignore_label=9)) == [1, 4, 7]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reference": EMPTY[1:]}, r"shape \(20, 20\) and reference \(19, 20\)"),
        ({"pred": EMPTY + 0.5}, "pred holds values that are no integers"),
        ({"spacing_mm": (1, 1, 1)}, "one positive number for each of 2 axes"),
        ({"spacing_mm": (1, 0)}, "one positive number"),
        ({"labels": [0, 1]}, "labels give 0 as .*whole numbers from 1"),
        ({"labels": {"a": ()}}, "labels give a as .*whole numbers from 1"),
        ({"tolerance": -1}, "tolerance is -1: give a number from 0"),
        ({"tolerance": np.nan}, "tolerance is nan"),
    ],
    ids=["shapes", "halves", "three spacings", "no spacing", "background", "no value", "negative", "nan"],
)
def test_arguments_that_cannot_be_used_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        label_metrics(**({"pred": SQUARE, "reference": EMPTY} | change))


def test_many_labels_take_as_long_as_one_pass(brute_force):
    """117 of them, each looked at in its own box, agree with every pair of voxels of a few."""
    pred, reference = random_maps((30, 30, 30), 117)
    found = label_metrics(pred, reference, (2, 1, 1))
    assert list(found) == list(range(1, 118))
    for label in (1, 58, 117):
        truth = brute_force(pred == label, reference == label, (2, 1, 1))
        assert found[label]["hd95"] == pytest.approx(truth, rel=1e-12)
