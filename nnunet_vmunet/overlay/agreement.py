"""Areas and their overlap, slice by slice: Dice is made of them, and the choice of slices."""

from __future__ import annotations

import numpy as np

from .labels import Labels

PREDICTED, REFERENCE, BOTH = range(3)


def areas(
    prediction: np.ndarray, reference: np.ndarray | None, labels: Labels, ignored: int | None = None
) -> np.ndarray:
    """(n, labels, 3) pixels of each slice and label that are predicted, in the reference, and both.

    prediction, reference: (n, rows, columns) uint8; without reference its areas are 0. ignored: what the reference
    says nothing about there, so nothing counts.
    """
    counts = np.zeros((len(prediction), len(labels), 3), np.int64)
    for i, predicted in enumerate(prediction):
        if reference is None:
            pairs = np.zeros((256, 256), np.int64)
            pairs[:, 0] = np.bincount(predicted.ravel(), minlength=256)
        else:
            pairs = np.bincount((256 * predicted.astype(np.int32) + reference[i]).ravel(), minlength=256**2)
            pairs = pairs.reshape(256, 256)
        if ignored is not None:
            pairs[:, ignored] = 0
        for j, values in enumerate(map(list, labels.values())):
            counts[i, j] = pairs[values].sum(), pairs[:, values].sum(), pairs[np.ix_(values, values)].sum()
    return counts


def dice(counts: np.ndarray) -> np.ndarray:
    """(n, labels, 3) areas to (labels,) Dice over all slices, a fraction of 1; NaN where both masks are empty."""
    predicted, reference, both = counts.sum(axis=0).T
    with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN that is wanted
        return 2 * both / (predicted + reference)


def mean_dice(per_label: np.ndarray) -> float:
    """Over the labels that are there; NaN where none is."""
    defined = per_label[~np.isnan(per_label)]
    return float(defined.mean()) if len(defined) else float("nan")
