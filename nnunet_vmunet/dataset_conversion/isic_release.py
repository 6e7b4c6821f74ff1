"""Finds an ISIC release on disk: the official folders as ISIC publishes them, or the VM-UNet authors' archive."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InputError
from ..files.listing import by_case
from ..files.photographs import photographs_in
from .picture_dataset import Case
from .release_folders import find_folder, folders_in, innermost, missing_folder, refuse_unpaired

_IMAGE_FOLDER = {2017: "ISIC-2017_{}_Data", 2018: "ISIC2018_Task1-2_{}_Input"}
_MASK_FOLDER = {2017: "ISIC-2017_{}_Part1_GroundTruth", 2018: "ISIC2018_Task1_{}_GroundTruth"}
_TEST = {2017: "Test_v2", 2018: "Test"}

_ARCHIVE_FOLDERS = ("train/images", "train/masks", "val/images", "val/masks")

# How deep below -i the folders may lie: mirrors wrap them in one or two folders of their own.
_DEPTH = 3


@dataclass(frozen=True)
class Release:
    """The cases to train and validate on, and those of the test release."""

    pool: list[Case]
    test: list[Case] = field(default_factory=list)
    # The archive comes split already; for the official folders this is None.
    split: dict[str, list[str]] | None = None


def find_release(folder: Path, year: int) -> Release:
    """Find the release of `year` in or below `folder`; the images and masks are paired, nothing is opened.

    Raises:
        InputError: it is not there, not complete, or there twice.
    """
    if not os.path.isdir(folder):
        raise InputError(f"{folder} is no folder: give the one that holds {_image_folder(year, 'Training')} as -i")
    folder = folder.resolve()
    folders = folders_in(folder, _DEPTH)
    official = _is_there(folders, year)
    archives = [f for f in folders if any((f / part).is_dir() for part in _ARCHIVE_FOLDERS)]
    if official and archives:
        raise InputError(f"{folder} holds official folders and the archive {archives[0]}: give one of them as -i")
    if len(archives) > 1:
        raise InputError(f"{folder} holds two archives, {archives[0]} and {archives[1]}: give one of them as -i")
    if not official and not archives:
        raise _nothing_found(folder, folders, year)
    release = _official_release(folder, folders, year) if official else _archive_release(archives[0], year)
    by_case((case.name, case.image) for case in [*release.pool, *release.test])  # refuses a repeated one
    return release


def _official_release(root: Path, folders: list[Path], year: int) -> Release:
    def cases(part: str, *, required: bool = False, masks_required: bool = True) -> list[Case]:
        images = find_folder(folders, _image_folder(year, part), photographs_in)
        masks = find_folder(folders, _mask_folder(year, part), photographs_in)
        if images is None and (masks or required):
            raise missing_folder(root, _image_folder(year, part), masks)
        if masks is None and images and masks_required:
            raise missing_folder(root, _mask_folder(year, part), images)
        return _pair(images, masks) if images else []

    return Release(
        pool=cases("Training", required=True) + cases("Validation"), test=cases(_TEST[year], masks_required=False)
    )


def _archive_release(archive: Path, year: int) -> Release:
    other_year = _other(year)
    if _names_year(archive.name, other_year) and not _names_year(archive.name, year):
        raise InputError(f"{archive} is named after ISIC {other_year}: use {_command(other_year)} or rename it")
    for part in _ARCHIVE_FOLDERS:
        if not (archive / part).is_dir():
            raise missing_folder(archive, part, None)
    train_images, train_masks, val_images, val_masks = (
        innermost(archive / part, photographs_in) for part in _ARCHIVE_FOLDERS
    )
    train, val = _pair(train_images, train_masks), _pair(val_images, val_masks)
    return Release(pool=train + val, split={"train": [c.name for c in train], "val": [c.name for c in val]})


def _pair(image_folder: Path, mask_folder: Path | None) -> list[Case]:
    """One case per image; every image needs a mask and every mask an image, unless there is no mask folder at all."""
    images = _photographs_by_case(image_folder, ignored_suffix="_superpixels")
    if mask_folder is None:
        return [Case(name, image, None) for name, image in images.items()]
    masks = _photographs_by_case(mask_folder, removed_suffix="_segmentation")
    refuse_unpaired(images, masks, f"no mask in {mask_folder}")
    refuse_unpaired(masks, images, f"no image in {image_folder}")
    return [Case(name, image, masks[name]) for name, image in images.items()]


def _photographs_by_case(folder: Path, *, ignored_suffix: str = "", removed_suffix: str = "") -> dict[str, Path]:
    named = [(re.sub(f"{removed_suffix}$", "", f.stem, flags=re.IGNORECASE), f) for f in photographs_in(folder)]
    if ignored_suffix:
        named = [(name, file) for name, file in named if not name.lower().endswith(ignored_suffix)]
    if not named:
        raise InputError(f"{folder} holds no images: extract the release again")
    return by_case(named)


def _is_there(folders: list[Path], year: int) -> bool:
    parts = ("Training", "Validation", _TEST[year])
    names = {name(year, part).lower() for name in (_image_folder, _mask_folder) for part in parts}
    return any(f.name.lower() in names for f in folders)


def _image_folder(year: int, part: str) -> str:
    return _IMAGE_FOLDER[year].format(part)


def _mask_folder(year: int, part: str) -> str:
    return _MASK_FOLDER[year].format(part)


def _other(year: int) -> int:
    return 2018 if year == 2017 else 2017


def _names_year(folder_name: str, year: int) -> bool:
    return re.search(f"isic-?(20)?{year % 100}", folder_name, re.IGNORECASE) is not None


def _command(year: int) -> str:
    return f"`nnunet-vmunet convert isic{year % 100}`"


def _nothing_found(folder: Path, folders: list[Path], year: int) -> InputError:
    other_year = _other(year)
    if _is_there(folders, other_year):
        return InputError(f"{folder} holds ISIC {other_year}'s release: use {_command(other_year)}")
    wanted = f"{_image_folder(year, 'Training')} and {_mask_folder(year, 'Training')}"
    return InputError(f"{folder} holds neither {wanted} nor an archive's train/images: give their parent folder as -i")
