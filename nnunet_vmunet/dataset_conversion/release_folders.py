"""Where the parts of a release lie: mirrors wrap folders in others, nest them in themselves and repeat them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import InputError
from ..files.listing import file_names


def folders_in(folder: Path, depth: int) -> list[Path]:
    """`folder` and the folders inside it, `depth` levels deep, without hidden ones and a Mac's leftovers."""
    return [folder, *_folders_below(folder, depth)]


def find_folder(folders: list[Path], name: str, files_in: Callable[[Path], list]) -> Path | None:
    """The folder of that name, or None; where a folder is nested in itself, the one that holds files.

    Raises:
        InputError: there are two.
    """
    found = [f for f in folders if f.name.lower() == name.lower()]
    found = [f for f in found if f.parent not in found]
    refuse_copies(found)
    return innermost(found[0], files_in) if found else None


def innermost(folder: Path, files_in: Callable[[Path], list]) -> Path:
    """The folder that holds files, where a mirror nested a folder inside itself."""
    while not files_in(folder) and (folder / folder.name).is_dir():
        folder = folder / folder.name
    return folder


def matching_files(folder: Path, pattern: str) -> list[tuple[re.Match, Path]]:
    """The files directly inside `folder` whose whole name matches, whatever the case of its letters, sorted."""
    matches = [re.fullmatch(pattern, name, re.IGNORECASE) for name in file_names(folder)]
    return [(match, folder / match[0]) for match in matches if match]


def refuse_copies(folders: list[Path]) -> None:
    """Raise InputError for more than one."""
    if len(folders) > 1:
        raise InputError(f"{folders[0]} and {folders[1]} are the same part of the release: remove one of them")


def refuse_unpaired(files: dict[str, Path], partners: dict[str, Path], lack: str) -> None:
    """Raise InputError for the first file without a partner; `lack` is what the message says that it has."""
    alone = [file for name, file in files.items() if name not in partners]
    if alone:
        more = f" (and so have {len(alone) - 1} others)" if len(alone) > 1 else ""
        raise InputError(f"{alone[0]} has {lack}{more}: download the release again, or remove what has no partner")


def missing_folder(root: Path, name: str, beside: Path | None) -> InputError:
    """The error to raise where `root` lacks a folder, though perhaps one is there that belongs beside it."""
    there = f", though {beside} is there" if beside else ""
    return InputError(f"{root} lacks {name}{there}: download it and extract it there")


def _folders_below(folder: Path, depth: int) -> Iterator[Path]:
    if depth == 0:
        return
    _, names, _ = next(os.walk(folder), (folder, [], []))
    for name in sorted(names):
        if not name.startswith((".", "__MACOSX")):
            yield folder / name
            yield from _folders_below(folder / name, depth - 1)
