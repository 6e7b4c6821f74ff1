"""ISIC's metrics: agreement of two binary masks, pixel by pixel."""

from __future__ import annotations

import numpy as np

METRICS = ("miou", "dsc", "acc", "sen", "spe")


def isic_metrics(pred: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """Foreground IoU, Dice, accuracy, sensitivity and specificity over all pixels (VM-UNet, section 4).

    pred, reference: any equal shape, one mask or a stack of them, with values 0 and 1, 0 and 255, or bool. A stack
    gives what the paper reports: one confusion matrix over all pixels of all images, at 256×256 and threshold 0.5.

    Returns {"miou", "dsc", "acc", "sen", "spe"} as fractions of 1. What has no denominator is NaN: the sensitivity of
    a reference without foreground, IoU and Dice where both masks are empty.

    Raises:
        ValueError: shapes that differ, or values that are no mask's.
    """
    rates_ = rates(confusion(as_mask(pred, "pred"), as_mask(reference, "reference")))
    return dict(zip(METRICS, rates_.tolist(), strict=True))


def as_mask(values: np.ndarray, name: str) -> np.ndarray:
    """The same shape as bool; a ValueError, with `name`, for other values than 0 and 1 or 0 and 255."""
    values = np.asarray(values)
    mask = values != 0
    if values.dtype != bool:
        present = np.unique(values[mask]).tolist()
        if present not in ([], [1], [255]):
            raise ValueError(f"{name} holds the values {present} besides 0: a mask holds 1 or 255")
    return mask


def confusion(pred: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(4,) int64 pixels: true positives, false positives, false negatives, true negatives of two bool masks.

    Raises:
        ValueError: shapes that differ.
    """
    if pred.shape != reference.shape:
        raise ValueError(f"pred has shape {pred.shape} and reference {reference.shape}: they must be equal")
    true_positives = np.count_nonzero(pred & reference)
    false_positives = np.count_nonzero(pred) - true_positives
    false_negatives = np.count_nonzero(reference) - true_positives
    true_negatives = pred.size - true_positives - false_positives - false_negatives
    return np.array([true_positives, false_positives, false_negatives, true_negatives], np.int64)


def rates(counts: np.ndarray) -> np.ndarray:
    """(..., 4) counts as of `confusion` to (..., 5) fractions in the order of METRICS, NaN where undefined."""
    tp, fp, fn, tn = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    pairs = ((tp, tp + fp + fn), (2 * tp, 2 * tp + fp + fn), (tp + tn, tp + fp + fn + tn), (tp, tp + fn), (tn, tn + fp))
    with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN that is wanted
        return np.stack([part / whole for part, whole in pairs], axis=-1)


def nearest(mask: np.ndarray, side: int) -> np.ndarray:
    """(h, w) to (side, side): each new pixel takes the value under its centre."""
    rows, columns = ((2 * np.arange(side) + 1) * length // (2 * side) for length in mask.shape)
    return mask[np.ix_(rows, columns)]
