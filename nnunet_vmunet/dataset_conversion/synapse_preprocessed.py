"""Synapse as TransUNet preprocessed it: train_npz/case0005_slice000.npz and test_vol_h5/case0001.npy.h5.

Every file holds `image`, clipped to [-125, 275] HU and scaled to [0, 1], and `label`, 0 to 8. A training file is one
slice (h, w), a test file a volume (d, h, w), with the same rows and columns.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np

from ..errors import InputError, size_text
from ..files.listing import by_case
from ..files.volumes import reading, real_numbers, without_zeros
from ..organs import SYNAPSE_ORGANS
from .nifti import check_intensities, checked_labels, write_slices
from .release_folders import find_folder, matching_files
from .synapse_benchmark import TEST_CASES, TRAINING_SLICES

WANTED = "train_npz and test_vol_h5"
ORGAN_COUNTS = (8,)
CHANNEL = "noNorm"
DESCRIPTION = (
    "TransUNet's preprocessed form, clipped to [-125, 275] HU and scaled to [0, 1]; it stores no spacing and no "
    "orientation, so every voxel counts as 1x1x1 and lengths are in voxels"
)
NOTE = "Spacing: 1 along every axis, because TransUNet's form stores none; lengths are in voxels, not in mm"
SLICES_ARE_FILES = True

_TRAIN, _TEST = "train_npz", "test_vol_h5"
_SLICE = r"(case\d+)_slice(\d+)\.npz"
_VOLUME = r"(case\d+)(\.npy)?\.h5"

# Copies that somebody resampled overshoot [0, 1]; Hounsfield units lie far outside.
_SCALED_RANGE = (-0.5, 1.5)

_MOST_VOXELS = 512 * 512 * 1000


@dataclass(frozen=True)
class Case:
    """A training case's slices in order, or a test case's one file."""

    name: str
    files: tuple[Path, ...]


def is_there(folders: list[Path]) -> bool:
    """Whether one of the folders belongs to this form."""
    return any(f.name.lower() in (_TRAIN, _TEST) for f in folders)


def find_cases(root: Path, folders: list[Path]) -> list[Case]:
    """Slices put in order, and volumes; no data is read.

    Raises:
        InputError: a slice is missing or there twice, or a case is on the other side of the published split.
    """
    _refuse_other_lists(folders)
    slices = _slices_by_case(_files(folders, _TRAIN, _SLICE))
    volumes = by_case((match[1].lower(), file) for match, file in _files(folders, _TEST, _VOLUME))
    for name, numbered in slices.items():
        _refuse_wrong_side(name, TEST_CASES, f"{numbered[0][1]} is there for training", "tests on it")
    for name, file in volumes.items():
        _refuse_wrong_side(name, TRAINING_SLICES, f"{file} is there for testing", "trains on it")
    training_cases = [Case(name, _in_order(numbered)) for name, numbered in slices.items()]
    return training_cases + [Case(name, (file,)) for name, file in volumes.items()]


def count_slices(case: Case) -> int:
    """Files of a training case; of a volume what its header says."""
    if _is_volume(case):
        return _read(case.files[0], lambda file: file["image"].shape[0])
    return len(case.files)


def convert(case: Case, organs: int, image: Path, label: Path) -> None:
    """Write the case as a volume of unit voxels, its slices along nnU-Net's first axis.

    Air is exactly 0 in this form, and nnU-Net would cut slices down to the body.
    """
    intensities, labels = _read_pair(case.files[0], ndim=3) if _is_volume(case) else _stack(case.files)
    write_slices(without_zeros(intensities), image)
    write_slices(labels, label)


def _files(folders: list[Path], folder_name: str, pattern: str) -> list[tuple[re.Match, Path]]:
    folder = find_folder(folders, folder_name, lambda folder: matching_files(folder, pattern))
    return matching_files(folder, pattern) if folder else []


def _slices_by_case(files: list[tuple[re.Match, Path]]) -> dict[str, list[tuple[int, Path]]]:
    cases: dict[str, list[tuple[int, Path]]] = {}
    for match, file in files:
        cases.setdefault(match[1].lower(), []).append((int(match[2]), file))
    return {name: sorted(numbered) for name, numbered in cases.items()}


def _in_order(numbered: list[tuple[int, Path]]) -> tuple[Path, ...]:
    """The slices 0, 1, 2, ...: each of them once."""
    for (number, file), (next_number, next_file) in pairwise(numbered):
        if number == next_number:
            raise InputError(f"{file} and {next_file} are the same slice: remove one of them")
    for expected, (number, file) in enumerate(numbered):
        if number != expected:
            raise InputError(f"slice {expected} is missing before {file}: download the release again")
    return tuple(file for _, file in numbered)


def _refuse_other_lists(folders: list[Path]) -> None:
    """The published split is built in, so the lists may be missing; a list of another split would be ignored."""
    beside_the_data = {f.parent for f in folders if f.name.lower() in (_TRAIN, _TEST)}
    for folder in folders:
        if folder.name.lower() == "lists_synapse" or folder in beside_the_data:
            _refuse_other_list(folder / "train.txt", TEST_CASES, "tests on it")
            _refuse_other_list(folder / "test_vol.txt", TRAINING_SLICES, "trains on it")


def _refuse_other_list(file: Path, other_side: Collection[str], published: str) -> None:
    for name in _cases_listed(file):
        _refuse_wrong_side(name, other_side, f"{file} names {name}", published)


def _cases_listed(file: Path) -> list[str]:
    lines = file.read_text(errors="replace").split() if file.is_file() else []
    return sorted({line.lower().split("_")[0] for line in lines})


def _refuse_wrong_side(name: str, other_side: Collection[str], what: str, published: str) -> None:
    if name in other_side:
        raise InputError(f"{what}, but the published split {published}: restore the original, or take it away")


def _is_volume(case: Case) -> bool:
    return _is_h5(case.files[0])


def _stack(slices: tuple[Path, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(d, h, w) float32 and uint8; filled slice by slice, so that nothing is there twice."""
    shape = _read_pair(slices[0], ndim=2)[0].shape
    intensities, labels = np.empty((len(slices), *shape), np.float32), np.empty((len(slices), *shape), np.uint8)
    for position, file in enumerate(slices):
        intensity, label = _read_pair(file, ndim=2)
        if intensity.shape != shape:
            raise InputError(
                f"{file} is {size_text(intensity.shape)}, {slices[0].name} {size_text(shape)}: download both again"
            )
        intensities[position], labels[position] = intensity, label
    return intensities, labels


def _read_pair(path: Path, ndim: int) -> tuple[np.ndarray, np.ndarray]:
    """(float32 intensities, uint8 labels) of equal shape."""
    # nnU-Net computes in float32 anyway.
    intensities = _read(path, lambda file: np.asarray(file["image"], np.float32))
    labels = _read(path, lambda file: real_numbers(np.asarray(file["label"])))
    if intensities.ndim != ndim or intensities.size == 0:
        raise InputError(
            f"{path} holds an image of shape {size_text(intensities.shape)}, not of {ndim} axes: download it again"
        )
    if labels.shape != intensities.shape:
        raise InputError(
            f"{path} holds labels of shape {size_text(labels.shape)} for an image of "
            f"{size_text(intensities.shape)}: download it again"
        )
    check_intensities(intensities, path)
    _refuse_unscaled(intensities, path)
    return intensities, checked_labels(labels, len(SYNAPSE_ORGANS), path)


def _refuse_unscaled(intensities: np.ndarray, path: Path) -> None:
    low, high = intensities.min(), intensities.max()
    if low < _SCALED_RANGE[0] or high > _SCALED_RANGE[1]:
        raise InputError(f"{path} holds intensities from {low:g} to {high:g}, not 0 to 1 as TransUNet's form does")


def _read(path: Path, read: Callable):
    """read(file) of an .npz or .h5 file; nothing in it is ever unpickled."""
    with reading(path, "as TransUNet's form of Synapse"):
        claimed = _voxels_of_h5(path) if _is_h5(path) else _voxels_of_npz(path)
        if claimed > _MOST_VOXELS:
            raise ValueError(f"it claims {claimed:,} voxels")
        with _opened(path) as file:
            return read(file)


def _opened(path: Path) -> h5py.File | np.lib.npyio.NpzFile:
    return h5py.File(path, "r") if _is_h5(path) else np.load(path, allow_pickle=False)


def _is_h5(path: Path) -> bool:
    return path.suffix.lower() == ".h5"


def _voxels_of_h5(path: Path) -> int:
    """Voxels of the larger array, as the header claims: a small file can claim any number, or point to another file."""
    with h5py.File(path, "r") as file:
        arrays = [file[name] for name in ("image", "label")]
        if any(array.external for array in arrays):
            raise ValueError("its values lie in another file")
        return max(array.size for array in arrays)


def _voxels_of_npz(path: Path) -> int:
    """The most voxels that the larger array can have: one for each of its unpacked bytes."""
    with zipfile.ZipFile(path) as file:
        return max((member.file_size for member in file.infolist()), default=0)
