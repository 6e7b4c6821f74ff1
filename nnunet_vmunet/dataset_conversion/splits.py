"""A reproducible 7:3 split."""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from .raw_dataset import Fold

SEED = 0

# How many of how many cases the paper trained on: ISIC17 and ISIC18, training and validation release together.
_PAPER_TRAINING_COUNTS = {2150: 1500, 2694: 1886}


def seeded_split(names: list[str]) -> Fold:
    """Split 7:3, at least one case on either side; the same names give the same split everywhere.

    Raises:
        InputError: fewer than 2 names.
    """
    if len(names) < 2:
        raise InputError(f"{', '.join(names)} alone cannot be split for training and validation: give 2 cases or more")
    count = _PAPER_TRAINING_COUNTS.get(len(names), round(0.7 * len(names)))
    count = min(max(count, 1), len(names) - 1)
    # RandomState rather than default_rng: NumPy promises never to change its stream.
    shuffled = np.random.RandomState(SEED).permutation(sorted(names)).tolist()
    return {"train": sorted(shuffled[:count]), "val": sorted(shuffled[count:])}
