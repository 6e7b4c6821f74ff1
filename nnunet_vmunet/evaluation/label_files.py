"""Label images on disk: which files of a folder they are, and what is in them."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..dataset_conversion.photographs import opened
from ..dataset_conversion.quiet import quiet
from ..dataset_conversion.release_folders import file_names
from ..errors import InputError

PICTURES = (".png", ".bmp", ".tif", ".tiff")
VOLUMES = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")

# Our own picture, which -o may have put beside predictions that are .png files themselves.
BOX_PLOTS = "metrics.png"


def label_files(folder: Path, file_ending: str | None = None) -> dict[str, Path]:
    """Label images directly inside a folder by the name of their case, which an ending `_segmentation` is no part of.

    file_ending: as nnU-Net's dataset.json says; None takes every ending that label images have.

    Raises:
        InputError: two files of one case, or no label image at all.
    """
    endings = (str(file_ending),) if file_ending else VOLUMES + PICTURES  # a dataset.json edited by hand holds anything
    cases: dict[str, Path] = {}
    for file in (folder / name for name in file_names(folder)):
        ending = next((e for e in endings if file.name.lower().endswith(e.lower())), None)
        if ending is None or file.name.startswith(".") or file.name == BOX_PLOTS:
            continue
        name = re.sub("_segmentation$", "", file.name[: -len(ending)], flags=re.IGNORECASE)
        if name in cases:
            raise InputError(f"{cases[name]} and {file} are the same case: remove one of them")
        cases[name] = file
    if not cases:
        raise InputError(f"{folder} holds no label images ({', '.join(endings)}): give another folder")
    return cases


def read_labels(path: Path, allowed: Iterable[int]) -> tuple[np.ndarray, tuple[float, ...] | None]:
    """Read as uint8, with the spacing of the array's axes in millimetres (z, y, x); a picture has None.

    allowed: the values that the file may hold, all of 0 to 255.

    Raises:
        InputError: the file cannot be read, has colours, or holds another value.
    """
    values, spacing = _read_picture(path) if path.name.lower().endswith(PICTURES) else _read_volume(path)
    # Slice by slice, because sorting a whole volume takes seconds and several times its memory.
    present = set().union(*(np.unique(part).tolist() for part in values))
    unknown = sorted(present - set(allowed))
    if unknown:
        raise InputError(f"{path} holds the unknown label values {_listed(unknown)}: {_expected(allowed)}")
    return values.astype(np.uint8, copy=False), spacing


def _read_picture(path: Path) -> tuple[np.ndarray, None]:
    with opened(path) as image:
        if image.mode not in ("1", "L") and image.mode[0] != "I":
            raise InputError(f"{path} is an image of mode {image.mode}: a label image is grey, one value per pixel")
        return np.asarray(image), None


def _read_volume(path: Path) -> tuple[np.ndarray, tuple[float, ...]]:
    import SimpleITK as sitk

    try:
        read_to_the_end(path)
        with quiet():
            image = sitk.ReadImage(str(path))
    except (RuntimeError, OSError, EOFError, zlib.error) as error:
        reason = str(error).strip().rpartition("\n")[2]
        raise InputError(f"{path} cannot be read as a volume, copy it again ({reason})") from error
    return sitk.GetArrayFromImage(image), image.GetSpacing()[::-1]


def read_to_the_end(path: Path) -> None:
    """Raise EOFError, OSError or zlib.error for a truncated .nii.gz: SimpleITK fills it up without a word."""
    if path.name.lower().endswith(".gz"):
        with gzip.open(path) as file:
            while file.read(2**20):
                pass


def _listed(values: list) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:10])
    return shown if len(values) <= 10 else f"{shown} and {len(values) - 10} more"


def _expected(allowed: Iterable[int]) -> str:
    return f"expected are {', '.join(map(str, sorted(allowed)))}"


def by(shape: tuple[int, ...]) -> str:
    """An array's shape as width x height (x depth)."""
    return "x".join(str(length) for length in reversed(shape))
