"""Label images: what their values stand for, and the files read accordingly."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

from ..dataset_json import MAX_LABEL, DatasetJson, Labels
from ..errors import InputError
from ..files.nnunet import read_json
from ..files.photographs import opened
from ..files.processes import run_parallel
from ..files.volumes import is_volume, read_volume, reading

WHITE = 255  # of masks that are black and white pictures
STACKS = (".tif", ".tiff")  # may hold several pages, which are nnU-Net's 3D TIFF
_MOST_LISTED = 10


@dataclass(frozen=True)
class Coding:
    """What the values of the label images of one run stand for: 0 is background."""

    labels: Labels
    ignore_label: int | None = None  # references alone hold it

    def prediction(self, path: Path) -> np.ndarray:
        """Read a prediction as uint8: a picture as (h, w), a volume as (z, y, x). Black and white is 0 and 1.

        Raises:
            InputError: the file cannot be read, or holds a value that is no label.
        """
        return self._read(path, self._values)

    def reference(self, path: Path) -> np.ndarray:
        """The same for a reference, which may hold the ignore label."""
        ignored = set() if self.ignore_label is None else {self.ignore_label}
        return self._read(path, self._values | ignored)

    @property
    def _values(self) -> set[int]:
        return {0, *(value for values in self.labels.values() for value in values)}

    def _read(self, path: Path, allowed: set[int]) -> np.ndarray:
        if self._values != {0, 1} or self.ignore_label == WHITE:
            return read_labels(path, allowed)
        values = read_labels(path, allowed | {WHITE})
        is_white = values == WHITE
        if not is_white.any():
            return values
        if not where(values, (0, WHITE)).all():
            raise InputError(f"{path} holds the unknown label value {WHITE}: {expected(allowed)}")
        return is_white.astype(np.uint8)


def coding_of(dataset_json: DatasetJson | None, files: Sequence[Path], num_processes: int | None) -> Coding:
    """As the dataset.json says; where it names no labels, those that the files hold, called "label 1" and so on."""
    if dataset_json is not None and dataset_json.labels:
        return Coding(dataset_json.labels, dataset_json.ignore_label)
    return unnamed_coding(run_parallel(present_values, files, num_processes, "Reading labels"))


def unnamed_coding(values_of_files: Iterable[Iterable[int]]) -> Coding:
    """The labels that files hold, by number; 1 alone where all are masks of 0 and 1, or of 0 and 255."""
    found = [set(values) - {0} for values in values_of_files]
    foreground: list[int] = sorted(set().union(*found))
    if set(foreground) <= {1, WHITE} and {1, WHITE} not in found:
        foreground = [1]
    return Coding({f"label {value}": (value,) for value in foreground})


def read_labels(path: Path, allowed: Iterable[int]) -> np.ndarray:
    """Read as uint8: a picture as (h, w), a volume or a TIFF of several pages as (z, y, x), a 2D volume as (1, y, x).

    allowed: the values that the file may hold, all of 0 to 255.

    Raises:
        InputError: the file cannot be read, has colours, or holds another value.
    """
    values = read_volume(path, may_be_flat=True).T if is_volume(path) else _read_picture(path)
    unknown = sorted(_unique(values) - set(allowed))
    if unknown:
        raise InputError(f"{path} holds the unknown label values {_listed(unknown)}: {expected(allowed)}")
    return values.astype(np.uint8, copy=False)


def present_values(path: Path) -> set[int]:
    """The values that a label image holds."""
    return _unique(read_labels(path, range(MAX_LABEL + 1)))


def where(label_image: np.ndarray, values: Iterable[int]) -> np.ndarray:
    """The same shape as bool: True where a uint8 label image holds one of the values."""
    table = np.zeros(MAX_LABEL + 1, bool)
    table[list(values)] = True
    return table[label_image]  # several times as fast as np.isin


def expected(allowed: Iterable[int]) -> str:
    """What a message says of the values that a label image may hold."""
    values = sorted(allowed)
    if len(values) > _MOST_LISTED and values == list(range(values[0], values[-1] + 1)):
        return f"the labels are {values[0]} to {values[-1]}"
    return f"the labels are {', '.join(map(str, values))}"


def _unique(values: np.ndarray) -> set:
    # Slice by slice, because sorting a whole volume takes seconds and several times its memory.
    return set().union(*(np.unique(part).tolist() for part in values))


def stack_spacing(path: Path) -> tuple[float, ...] | None:
    """Of a TIFF of several pages (z, y, x), from the NAME.json that nnU-Net puts beside it; None where there is none.

    Raises:
        InputError: the file holds no spacing.
    """
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return None
    spacing = read_json(beside, dict).get("spacing")
    if not isinstance(spacing, list) or len(spacing) != 3 or not all(_is_positive(side) for side in spacing):
        raise InputError(f"{beside} holds the spacing {spacing!r}: nnU-Net writes three positive numbers there")
    return tuple(map(float, spacing))


def _is_positive(value) -> bool:
    return isinstance(value, (int, float)) and 0 < value < np.inf


def _read_picture(path: Path) -> np.ndarray:
    if path.suffix.lower() in STACKS:
        with reading(path, "as an image"), Image.open(path) as image:
            if getattr(image, "n_frames", 1) > 1:
                return np.stack([_grey(page, path) for page in ImageSequence.Iterator(image)])
    with opened(path) as image:
        return _grey(image, path)


def _grey(image: Image.Image, path: Path) -> np.ndarray:
    if image.mode not in ("1", "L") and image.mode[0] != "I":
        raise InputError(f"{path} is an image of mode {image.mode}: a label image is grey, one value per pixel")
    return np.array(image)


def _listed(values: list) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:_MOST_LISTED])
    return shown if len(values) <= _MOST_LISTED else f"{shown} and {len(values) - _MOST_LISTED} more"
