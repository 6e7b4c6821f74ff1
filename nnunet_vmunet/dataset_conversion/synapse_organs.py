"""The organs of the abdominal CT volumes: BTCV's thirteen, and the eight that TransUNet chose and renumbered."""

from __future__ import annotations

import numpy as np

# In the released label maps the first organ is 1; 0 is background.
BTCV_ORGANS = (
    "spleen",
    "right kidney",
    "left kidney",
    "gallbladder",
    "oesophagus",
    "liver",
    "stomach",
    "aorta",
    "inferior vena cava",
    "portal and splenic vein",
    "pancreas",
    "right adrenal gland",
    "left adrenal gland",
)

# The order in which the VM-UNet paper, and every other since TransUNet's, reports them. Other orders circulate.
SYNAPSE_ORGANS = ("aorta", "gallbladder", "left kidney", "right kidney", "liver", "pancreas", "spleen", "stomach")

# The organs of a dataset, by how many they are.
ORGANS = {8: SYNAPSE_ORGANS, 13: BTCV_ORGANS}


def organ_labels(count: int) -> dict[str, int]:
    """The labels of dataset.json: {"background": 0, "aorta": 1, ...}."""
    return {name: value for value, name in enumerate(("background", *ORGANS[count]))}


def from_btcv(count: int) -> np.ndarray:
    """(14,) uint8: for each value of a released label map its value among `count` organs, 0 for organs left out."""
    labels = organ_labels(count)
    return np.array([0, *(labels.get(name, 0) for name in BTCV_ORGANS)], np.uint8)
