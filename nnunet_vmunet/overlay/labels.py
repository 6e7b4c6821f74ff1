"""What the values of label images stand for, and label images read accordingly."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..evaluation.label_folders import expected, read_labels

# Values by the name of the label, which has one, or of the region, which may have several.
Labels = dict[str, tuple[int, ...]]

WHITE = 255  # of masks that are black and white pictures


def named_labels(dataset_json: dict) -> Labels:
    """Foreground labels and regions in the order of the dataset.json; empty where it names none."""
    named: Labels = {}
    for name, value in dataset_json.get("labels", {}).items():
        if isinstance(value, str):  # {"1": "liver"}, as in nnU-Net v1 and the Medical Segmentation Decathlon
            named[value] = (int(name),)
        elif name != "ignore":
            named[name] = tuple(value) if isinstance(value, list) else (value,)
    return {name: values for name, values in named.items() if any(values)}


def ignored_value(dataset_json: dict) -> int | None:
    """nnU-Net's ignore label: what a reference says nothing about."""
    return dataset_json.get("labels", {}).get("ignore")


def unnamed_labels(values: Iterable[int]) -> Labels:
    """Where no dataset.json names them: a mask, or labels by number."""
    foreground = sorted(set(values) - {0})
    return {"mask": (1,)} if foreground in ([], [1]) else {f"label {value}": (value,) for value in foreground}


def read_label_image(path: Path, allowed: set[int] | None = None) -> np.ndarray:
    """Read as uint8, volumes as (z, y, x) as they are stored; black and white masks as 0 and 1.

    allowed: the values that the file may hold; None is any of 0 to 255.
    """
    values = read_labels(path, range(WHITE + 1) if allowed is None else allowed | {WHITE})
    if (allowed is not None and WHITE in allowed) or not (values == WHITE).any():
        return values
    is_mask = where(values, (0, WHITE)).all()
    if is_mask and (allowed is None or 1 in allowed):
        return (values == WHITE).astype(np.uint8)
    if allowed is None:
        return values
    raise InputError(f"{path} holds the unknown label value {WHITE}: {expected(allowed)}")


def where(label_image: np.ndarray, values: Iterable[int]) -> np.ndarray:
    """The same shape as bool: True where a uint8 label image holds one of the values."""
    table = np.zeros(256, bool)
    table[list(values)] = True
    return table[label_image]  # several times as fast as np.isin


def present_values(path: Path) -> set[int]:
    return set(np.unique(read_label_image(path)).tolist())
