"""Finds an ISIC release on disk: the official folders as ISIC publishes them, or the VM-UNet authors' archive."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nnunet_vmunet.errors import InputError

from .photographs import photographs_in

_IMAGE_FOLDER = {2017: "ISIC-2017_{}_Data", 2018: "ISIC2018_Task1-2_{}_Input"}
_MASK_FOLDER = {2017: "ISIC-2017_{}_Part1_GroundTruth", 2018: "ISIC2018_Task1_{}_GroundTruth"}
_TEST = {2017: "Test_v2", 2018: "Test"}

_ARCHIVE_FOLDERS = ("train/images", "train/masks", "val/images", "val/masks")

# How deep below -i the folders may lie: mirrors wrap them in one or two folders of their own.
_DEPTH = 3


@dataclass(frozen=True)
class Case:
    name: str
    image: Path
    mask: Path | None


@dataclass(frozen=True)
class Release:
    """The cases to train and validate on, and those of the test release."""

    pool: list[Case]
    test: list[Case] = field(default_factory=list)
    # The archive comes split already; for the official folders this is None.
    split: dict[str, list[str]] | None = None


def find_release(folder: Path, year: int) -> Release:
    """Find the release of `year` in or below `folder`; the images and masks are paired, nothing is opened."""
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder: give the one that holds {_image_folder(year, 'Training')} as -i")
    folder = folder.resolve()
    folders = [folder, *_folders_below(folder, _DEPTH)]
    official = _is_there(folders, year)
    archives = [f for f in folders if any((f / part).is_dir() for part in _ARCHIVE_FOLDERS)]
    if official and archives:
        raise InputError(f"{folder} holds official folders and the archive {archives[0]}: give one of them as -i")
    if len(archives) > 1:
        raise InputError(f"{folder} holds two archives, {archives[0]} and {archives[1]}: give one of them as -i")
    if not official and not archives:
        raise _nothing_found(folder, folders, year)
    release = _official_release(folder, folders, year) if official else _archive_release(archives[0], year)
    _refuse_repeated_cases([*release.pool, *release.test])
    return release


def _official_release(root: Path, folders: list[Path], year: int) -> Release:
    def cases(part: str, *, required: bool = False, masks_required: bool = True) -> list[Case]:
        images = _find(folders, _image_folder(year, part))
        masks = _find(folders, _mask_folder(year, part))
        if images is None and (masks or required):
            raise _missing(root, _image_folder(year, part), masks)
        if masks is None and images and masks_required:
            raise _missing(root, _mask_folder(year, part), images)
        return _pair(images, masks) if images else []

    return Release(
        pool=cases("Training", required=True) + cases("Validation"),
        test=cases(_TEST[year], masks_required=False),
    )


def _archive_release(archive: Path, year: int) -> Release:
    other_year = _other(year)
    if _names_year(archive.name, other_year) and not _names_year(archive.name, year):
        raise InputError(f"{archive} is named after ISIC {other_year}: use {_command(other_year)} or rename it")
    for part in _ARCHIVE_FOLDERS:
        if not (archive / part).is_dir():
            raise _missing(archive, part, None)
    train_images, train_masks, val_images, val_masks = (_innermost(archive / part) for part in _ARCHIVE_FOLDERS)
    train, val = _pair(train_images, train_masks), _pair(val_images, val_masks)
    return Release(pool=train + val, split={"train": [c.name for c in train], "val": [c.name for c in val]})


def _pair(image_folder: Path, mask_folder: Path | None) -> list[Case]:
    """One case per image; every image needs a mask and every mask an image, unless there is no mask folder at all."""
    images = _by_case(image_folder, ignored_suffix="_superpixels")
    if mask_folder is None:
        return [Case(name, image, None) for name, image in images.items()]
    masks = _by_case(mask_folder, removed_suffix="_segmentation")
    _refuse_unpaired(images, masks, f"no mask in {mask_folder}")
    _refuse_unpaired(masks, images, f"no image in {image_folder}")
    return [Case(name, image, masks[name]) for name, image in images.items()]


def _by_case(folder: Path, *, ignored_suffix: str = "", removed_suffix: str = "") -> dict[str, Path]:
    cases: dict[str, Path] = {}
    for file in photographs_in(folder):
        name = re.sub(f"{removed_suffix}$", "", file.stem, flags=re.IGNORECASE)
        if ignored_suffix and name.lower().endswith(ignored_suffix):
            continue
        if name in cases:
            raise InputError(f"{cases[name]} and {file} are the same case: remove one of them")
        cases[name] = file
    if not cases:
        raise InputError(f"{folder} holds no images: extract the release again")
    return cases


def _refuse_unpaired(files: dict[str, Path], partners: dict[str, Path], lack: str) -> None:
    alone = [file for name, file in files.items() if name not in partners]
    if alone:
        more = f" (nor have {len(alone) - 1} others)" if len(alone) > 1 else ""
        raise InputError(f"{alone[0]} has {lack}{more}: download the release again, or remove what has no partner")


def _refuse_repeated_cases(cases: list[Case]) -> None:
    seen: dict[str, Case] = {}
    for case in cases:
        if case.name in seen:
            raise InputError(f"{seen[case.name].image} and {case.image} are the same case: remove one of them")
        seen[case.name] = case


def _folders_below(folder: Path, depth: int) -> Iterator[Path]:
    if depth == 0:
        return
    _, names, _ = next(os.walk(folder), (folder, [], []))
    for name in sorted(names):
        if not name.startswith((".", "__MACOSX")):
            yield folder / name
            yield from _folders_below(folder / name, depth - 1)


def _find(folders: list[Path], name: str) -> Path | None:
    found = [f for f in folders if f.name.lower() == name.lower()]
    found = [f for f in found if f.parent not in found]
    if len(found) > 1:
        raise InputError(f"{found[0]} and {found[1]} are the same part of the release: remove one of them")
    return _innermost(found[0]) if found else None


def _innermost(folder: Path) -> Path:
    """Some mirrors nest a folder inside itself."""
    while not photographs_in(folder) and (folder / folder.name).is_dir():
        folder = folder / folder.name
    return folder


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


def _missing(root: Path, name: str, beside: Path | None) -> InputError:
    there = f", though {beside} is there" if beside else ""
    return InputError(f"{root} lacks {name}{there}: download it and extract it there")


def _nothing_found(folder: Path, folders: list[Path], year: int) -> InputError:
    other_year = _other(year)
    if _is_there(folders, other_year):
        return InputError(f"{folder} holds ISIC {other_year}'s release: use {_command(other_year)}")
    wanted = f"{_image_folder(year, 'Training')} and {_mask_folder(year, 'Training')}"
    return InputError(f"{folder} holds neither {wanted} nor an archive's train/images: give their parent folder as -i")
