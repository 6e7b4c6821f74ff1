"""What is to be predicted: a file or the files of a folder, those of one image together, by nnU-Net's names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..files.listing import files_with_endings

_CHANNEL = re.compile(r"_(\d{4})$")


@dataclass(frozen=True)
class Input:
    """One image to predict.

    name: of its mask, without ending. files: one, or one of each channel.
    """

    name: str
    files: tuple[Path, ...]


def inputs_of(place: Path, endings: Sequence[str], files_per_image: int) -> tuple[list[Input], int]:
    """The images of a file or a folder, sorted by name, and how many other files the folder holds.

    Of several channels they are called NAME_0000, NAME_0001 and so on; a single file may be called NAME_0000 too.

    Raises:
        InputError: there is none, channels are missing, or two images have one name.
    """
    if place.is_file():
        return [_single(place, endings, files_per_image)], 0
    if not place.is_dir():
        raise InputError(f"{place} is not there: give an image or a folder of images as -i")
    found = files_with_endings(place, endings)
    if not found:
        raise InputError(f"{place} holds no images of the model's kind ({', '.join(endings)}): give another as -i")
    others = sum(1 for entry in place.iterdir() if entry.is_file() and not entry.name.startswith(".")) - len(found)
    named = (_of_channels if files_per_image > 1 else _of_files)(found, files_per_image)
    return [Input(name, named[name]) for name in sorted(named)], others


def _single(file: Path, endings: Sequence[str], files_per_image: int) -> Input:
    ending = next((ending for ending in endings if file.name.lower().endswith(ending)), None)
    if ending is None:
        raise InputError(f"{file} is no image of the model's kind: give {', '.join(endings)}")
    stem = file.name[: -len(ending)]
    if files_per_image == 1:
        return Input(_CHANNEL.sub("", stem) or stem, (file,))
    name = _CHANNEL.sub("", stem)
    files = tuple(
        file.with_name(f"{name}_{channel:04d}{file.name[-len(ending) :]}") for channel in range(files_per_image)
    )
    _refuse_missing(name, files, [other for other in files if other.is_file()])
    return Input(name, files)


def _of_files(found: list[tuple[str, Path]], _: int) -> dict[str, tuple[Path, ...]]:
    named: dict[str, tuple[Path, ...]] = {}
    for stem, file in found:
        name = stem.removesuffix("_0000") or stem  # an image has a name
        if name in named:
            raise InputError(f"{named[name][0]} and {file} would both become {name}: rename one of them")
        named[name] = (file,)
    return named


def _of_channels(found: list[tuple[str, Path]], files_per_image: int) -> dict[str, tuple[Path, ...]]:
    channels: dict[str, dict[int, Path]] = {}
    for stem, file in found:
        number = _CHANNEL.search(stem)
        if number is None:
            raise InputError(
                f"{file} has no channel number: the model takes {files_per_image} files for an image, "
                f"called {stem}_0000, {stem}_0001, ..."
            )
        of_image = channels.setdefault(stem[: number.start()], {})
        if int(number[1]) in of_image:
            raise InputError(f"{of_image[int(number[1])]} and {file} are the same channel: remove one of them")
        of_image[int(number[1])] = file
    for name, files in channels.items():
        _refuse_missing(name, [f"{name}_{i:04d}" for i in range(files_per_image)], list(files))
    return {name: tuple(files[i] for i in sorted(files)) for name, files in channels.items()}


def _refuse_missing(name: str, wanted: Sequence, found: Sequence) -> None:
    if len(found) != len(wanted):
        raise InputError(
            f"{name} has {len(found)} of {len(wanted)} channels: the model takes "
            f"{', '.join(Path(file).name for file in wanted)}"
        )
