"""Label images on disk: which files of a folder they are, and what is in them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..files.listing import by_case, files_with_endings
from ..files.photographs import opened
from ..files.volumes import VOLUMES, is_volume, read_volume

PICTURES = (".png", ".bmp", ".tif", ".tiff")

# Our own picture, which -o may have put beside predictions that are .png files themselves.
BOX_PLOTS = "metrics.png"


def label_files(folder: Path, file_ending: str | None = None) -> dict[str, Path]:
    """Label images directly inside a folder by the name of their case, which an ending `_segmentation` is no part of.

    file_ending: as nnU-Net's dataset.json says; None takes every ending that label images have.

    Raises:
        InputError: two files of one case, or no label image at all.
    """
    endings = (str(file_ending),) if file_ending else VOLUMES + PICTURES  # a dataset.json edited by hand holds anything
    found = [(name, file) for name, file in files_with_endings(folder, endings) if file.name != BOX_PLOTS]
    if not found:
        raise InputError(f"{folder} holds no label images ({', '.join(endings)}): give another folder")
    return by_case((re.sub("_segmentation$", "", name, flags=re.IGNORECASE), file) for name, file in found)


def read_labels(path: Path, allowed: Iterable[int]) -> np.ndarray:
    """Read as uint8: a picture as (h, w), a volume as (z, y, x).

    allowed: the values that the file may hold, all of 0 to 255.

    Raises:
        InputError: the file cannot be read, has colours, or holds another value.
    """
    values = read_volume(path).T if is_volume(path) else _read_picture(path)
    # Slice by slice, because sorting a whole volume takes seconds and several times its memory.
    present = set().union(*(np.unique(part).tolist() for part in values))
    unknown = sorted(present - set(allowed))
    if unknown:
        raise InputError(f"{path} holds the unknown label values {_listed(unknown)}: {expected(allowed)}")
    return values.astype(np.uint8, copy=False)


def expected(allowed: Iterable[int]) -> str:
    """What a message says of the values that a label image may hold."""
    return f"the labels are {', '.join(map(str, sorted(allowed)))}"


def _read_picture(path: Path) -> np.ndarray:
    with opened(path) as image:
        if image.mode not in ("1", "L") and image.mode[0] != "I":
            raise InputError(f"{path} is an image of mode {image.mode}: a label image is grey, one value per pixel")
        return np.asarray(image)


def _listed(values: list) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:10])
    return shown if len(values) <= 10 else f"{shown} and {len(values) - 10} more"
