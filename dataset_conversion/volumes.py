"""What holds for volumes of any file format: reading errors name the file, and values are checked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from nnunet_vmunet.errors import InputError


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Whatever goes wrong while reading becomes an InputError that names the file."""
    try:
        yield
    except Exception as error:  # broken files make readers raise almost anything
        reason = " ".join(str(error).split())
        raise InputError(f"{path} cannot be read {kind}, copy or download it again ({reason})") from error


def real_numbers(values: np.ndarray) -> np.ndarray:
    """The same values; a ValueError for colours, complex numbers or text."""
    if values.dtype.kind not in "biuf":
        raise ValueError(f"its values are of type {values.dtype}")
    return values


def shape_text(shape: tuple[int, ...]) -> str:
    """Such as 512x512x90, in the order of the axes."""
    return "x".join(map(str, shape))


def check_intensities(values: np.ndarray, path: Path) -> None:
    """An InputError for NaN and infinity."""
    bad = values.size - np.count_nonzero(np.isfinite(values))
    if bad:
        raise InputError(f"{path} holds {bad} voxels that are NaN or infinite: download it again")


def checked_labels(values: np.ndarray, highest: int, path: Path) -> np.ndarray:
    """The label map as uint8; floating-point files will do if their values are whole numbers from 0 to `highest`.

    Raises:
        InputError: other values.
    """
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= highest):  # so that NaN is none either
        raise InputError(f"{path} holds labels from {low} to {high}, not 0 to {highest}: download the original again")
    labels = values.astype(np.uint8)
    fractions = np.count_nonzero(labels != values)
    if fractions:
        raise InputError(
            f"{path} holds {fractions} labels that are no whole numbers, as after interpolation: "
            f"download the original again"
        )
    return labels
