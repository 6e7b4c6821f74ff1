"""What is published about the abdominal CT volumes: BTCV's organs, and TransUNet's eight of them and its split."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..organs import BTCV_ORGANS, SYNAPSE_ORGANS
from .splits import Fold

# The organs of a dataset, by how many they are.
ORGANS = {8: SYNAPSE_ORGANS, 13: BTCV_ORGANS}

# The lists lists_Synapse/train.txt and test_vol.txt name the cases like this, and so do the datasets written here.
TRAINING_SLICES = {
    "case0005": 117,
    "case0006": 131,
    "case0007": 163,
    "case0009": 149,
    "case0010": 148,
    "case0021": 143,
    "case0023": 96,
    "case0024": 124,
    "case0026": 131,
    "case0027": 88,
    "case0028": 89,
    "case0030": 153,
    "case0031": 93,
    "case0033": 104,
    "case0034": 98,
    "case0037": 99,
    "case0039": 90,
    "case0040": 195,
}
TEST_CASES = tuple(f"case{number:04d}" for number in (1, 2, 3, 4, 8, 22, 25, 29, 32, 35, 36, 38))
CASES = tuple(sorted([*TRAINING_SLICES, *TEST_CASES]))


def organ_labels(count: int) -> dict[str, int]:
    """The labels of dataset.json: {"background": 0, "aorta": 1, ...}."""
    return {name: value for value, name in enumerate(("background", *ORGANS[count]))}


def from_btcv(count: int) -> np.ndarray:
    """(14,) uint8: for each value of a released label map its value among `count` organs, 0 for organs left out."""
    labels = organ_labels(count)
    return np.array([0, *(labels.get(name, 0) for name in BTCV_ORGANS)], np.uint8)


def published_fold(cases: Iterable[str]) -> Fold:
    """The published split, of it only what is among `cases`."""
    present = set(cases)
    return {
        "train": [case for case in TRAINING_SLICES if case in present],
        "val": [case for case in TEST_CASES if case in present],
    }


def unpublished_slice_counts(slice_counts: dict[str, int]) -> list[str]:
    """A phrase for each training case whose number of slices is not the published one."""
    return [
        f"{case} has {count} slices, published are {TRAINING_SLICES[case]}"
        for case, count in slice_counts.items()
        if count != TRAINING_SLICES.get(case, count)
    ]
