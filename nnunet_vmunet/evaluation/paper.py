"""VM-UNet's results as the paper prints them (arXiv 2402.02491), in percent, HD95 in voxels.

They are quoted for comparison; nothing in this package has reproduced them.
"""

from __future__ import annotations

import re

ISIC = {
    "isic17": {"miou": 80.23, "dsc": 89.03, "acc": 96.29, "spe": 97.58, "sen": 89.90},
    "isic18": {"miou": 81.35, "dsc": 89.71, "acc": 94.91, "spe": 96.13, "sen": 91.12},
}

SYNAPSE_DICE = {
    "aorta": 86.40,
    "gallbladder": 69.41,
    "left kidney": 86.16,
    "right kidney": 82.76,
    "liver": 94.17,
    "pancreas": 58.80,
    "spleen": 89.51,
    "stomach": 81.40,
}
SYNAPSE_MEAN_DICE = 81.08
SYNAPSE_MEAN_HD95 = 19.21


def isic_year(dataset_name: str) -> str | None:
    """The key of ISIC that a dataset's name tells: Dataset118_ISIC2018 gives isic18."""
    found = re.search(r"isic[-_ ]?(?:20)?(17|18)(?!\d)", dataset_name, re.IGNORECASE)
    return f"isic{found[1]}" if found else None


def is_synapse(dataset_name: str) -> bool:
    """Whether a dataset's name tells that it is Synapse: Dataset027_Synapse does, and so does BTCV."""
    return re.search("synapse|btcv", dataset_name, re.IGNORECASE) is not None


def synapse_dice(organ: str) -> float | None:
    """The paper's Dice of an organ, however its name is written: left kidney, kidney_left, Kidney (left)."""
    return _SYNAPSE_DICE_BY_WORDS.get(_words(organ))


def _words(name: str) -> frozenset[str]:
    return frozenset(re.findall("[a-z]+", name.lower()))


_SYNAPSE_DICE_BY_WORDS = {_words(organ): dice for organ, dice in SYNAPSE_DICE.items()}
