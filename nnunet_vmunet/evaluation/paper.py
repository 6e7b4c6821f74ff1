"""VM-UNet's results as the paper prints them (arXiv 2402.02491), in percent, HD95 in voxels.

They are quoted for comparison; nothing in this package has reproduced them.
"""

from __future__ import annotations

import re

ISIC = {
    "isic17": {"miou": 80.23, "dsc": 89.03, "acc": 96.29, "spe": 97.58, "sen": 89.90},
    "isic18": {"miou": 81.35, "dsc": 89.71, "acc": 94.91, "spe": 96.13, "sen": 91.12},
}

# In TransUNet's order, which the labels 1 to 8 of `convert synapse` have.
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

# Of the original's evaluation: what a table says beside its own. Which checkpoint: train.py:170, train_synapse.py:188.
PROTOCOLS = {
    "isic": {
        "split": "never published as a list",
        "mirroring": "none",
        "checkpoint": "the one of lowest loss on the evaluated part",
        "size": "256x256",
    },
    "synapse": {
        "split": "the published 18 training cases and 12 test cases",  # in the words of `convert synapse`
        "mirroring": "none",
        "checkpoint": "the one of lowest training loss",
        "size": "the volumes' own",
    },
}


def synapse_dice(organ: str) -> float | None:
    """The paper's Dice of an organ, however its name is written: left kidney, kidney_left, Kidney (left)."""
    return _SYNAPSE_DICE_BY_WORDS.get(words(organ))


def words(organ: str) -> frozenset[str]:
    """What the ways to write an organ's name have in common."""
    found = re.findall("[a-z]+", re.sub("o?esophagus", "oesophagus", organ.lower()))
    return frozenset(found) - {"and", "vein", "veins"}


_SYNAPSE_DICE_BY_WORDS = {words(organ): dice for organ, dice in SYNAPSE_DICE.items()}
