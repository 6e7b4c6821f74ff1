"""Where prediction and reference agree: areas slice by slice, Dice, and the slices of a volume that show most."""

from __future__ import annotations

import numpy as np

from ..dataset_json import Labels

PREDICTED, REFERENCE, BOTH = range(3)

# What a slice must add to what the chosen ones show, as a fraction of everything, to be chosen for that.
_WORTHWHILE = 0.05


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


def choose_slices(counts: np.ndarray, number: int) -> list[int]:
    """Indices of up to `number` slices, the one that shows most first.

    counts: (n, labels, 3) as of `areas`.

    A slice shows of each label the fraction that its area there is of the label's largest, and likewise of the
    disagreement, which weighs as much as all labels together. Slices are added one by one, each time the one that adds
    most; once nothing is added any more, those with large areas far from the ones chosen. Without any foreground they
    are evenly spread.
    """
    num_slices = len(counts)
    number = min(number, num_slices)
    area = counts[..., PREDICTED] + counts[..., REFERENCE] - counts[..., BOTH]
    if not area.any():
        return [(2 * i + 1) * num_slices // (2 * number) for i in range(number)]
    shown = _shown(area, counts)
    total = area.sum(axis=1)
    chosen: list[int] = []
    seen = np.zeros(shown.shape[1])
    while len(chosen) < number:
        gain = np.maximum(shown - seen, 0).sum(axis=1)
        if chosen and gain.max() < _WORTHWHILE:
            gain = (total + 1) * _distance(num_slices, chosen)
        best = int(gain.argmax())
        chosen.append(best)
        seen = np.maximum(seen, shown[best])
    return chosen


def _shown(area: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(n, columns) from 0 to 1 / labels for each label that is there, and from 0 to 1 for the disagreement."""
    area = area[:, area.any(axis=0)]
    per_label = area / area.max(axis=0) / area.shape[1]
    disagreement = (counts[..., PREDICTED] + counts[..., REFERENCE] - 2 * counts[..., BOTH]).sum(axis=1, keepdims=True)
    if not counts[..., REFERENCE].any() or not disagreement.any():
        return per_label
    return np.concatenate([per_label, disagreement / disagreement.max()], axis=1)


def _distance(num_slices: int, chosen: list[int]) -> np.ndarray:
    """(n,) slices to the nearest chosen one."""
    return np.abs(np.arange(num_slices)[:, None] - chosen).min(axis=1)
