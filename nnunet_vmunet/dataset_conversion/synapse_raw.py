"""Synapse as released for BTCV: RawData/Training/img/img0001.nii.gz and RawData/Training/label/label0001.nii.gz."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..files.listing import by_case
from ..files.volumes import refuse_other_grid
from ..organs import BTCV_ORGANS
from .nifti import check_intensities, checked_labels, copy_volume, read_volume, write_labels
from .release_folders import find_folder, matching_files, missing_folder, refuse_unpaired
from .synapse_benchmark import from_btcv

WANTED = "RawData/Training with img and label in it"
ORGAN_COUNTS = (8, 13)
CHANNEL = "CT"
DESCRIPTION = "volumes in Hounsfield units on the grid of the release"
NOTE = None
SLICES_ARE_FILES = False

_BESIDE_MM = 0.01  # how far an image and its label map may lie apart: headers are rounded by far less


@dataclass(frozen=True)
class Case:
    """A volume and its label map."""

    name: str
    image: Path
    label: Path


def is_there(folders: list[Path]) -> bool:
    """Whether one of the folders belongs to this form."""
    return bool(_folder(folders, "img") or _folder(folders, "label"))


def find_cases(root: Path, folders: list[Path]) -> list[Case]:
    """Images paired with label maps; nothing is opened.

    Raises:
        InputError: a folder or a partner is missing.
    """
    images, labels = _folder(folders, "img"), _folder(folders, "label")
    if images is None or labels is None:
        raise missing_folder(root, "Training/label" if images else "Training/img with volumes", images or labels)
    images_by_case, labels_by_case = by_case(_volumes_in(images, "img")), by_case(_volumes_in(labels, "label"))
    refuse_unpaired(images_by_case, labels_by_case, f"no label map in {labels}")
    refuse_unpaired(labels_by_case, images_by_case, f"no image in {images}")
    return [Case(name, image, labels_by_case[name]) for name, image in images_by_case.items()]


def count_slices(case: Case) -> int:
    """Count a case's slices from its headers; an InputError where image and label map do not agree."""
    return refuse_other_grid(case.label, case.image, "download both again", _BESIDE_MM).shape[2]


def convert(case: Case, organs: int, image: Path, label: Path) -> None:
    """Write the image as it is and the label map with its `organs` renumbered, one after the other for memory."""
    _convert_image(case.image, image)
    _convert_label(case.label, organs, label)


def _convert_image(source: Path, target: Path) -> None:
    volume = read_volume(source)
    check_intensities(volume.voxels, source)
    copy_volume(volume, source, target)


def _convert_label(source: Path, organs: int, target: Path) -> None:
    volume = read_volume(source)
    labels = checked_labels(volume.voxels, len(BTCV_ORGANS), source)
    write_labels(from_btcv(organs)[labels], volume, target)


def _folder(folders: list[Path], name: str) -> Path | None:
    """Only a folder with volumes in it counts: folders called img are common. BTCV's Testing has no label maps."""
    named = [f for f in folders if f.name.lower() == name and not _is_for_testing(f, root=folders[0])]
    return find_folder([f for f in named if _volumes_in(f, name)], name, lambda folder: _volumes_in(folder, name))


def _is_for_testing(folder: Path, root: Path) -> bool:
    return "testing" in (part.lower() for part in folder.relative_to(root).parts)


def _volumes_in(folder: Path, name: str) -> list[tuple[str, Path]]:
    """Case names and files."""
    matches = matching_files(folder, rf"{name}(\d+)\.nii(\.gz)?")
    return [(f"case{int(match[1]):04d}", file) for match, file in matches]
