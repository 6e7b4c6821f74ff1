"""The files of a folder, and which of them belong to one case."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ..errors import InputError


def file_names(folder: Path) -> list[str]:
    """Names of the files directly inside `folder`, sorted, without hidden ones (.DS_Store, ._x).

    Raises:
        InputError: the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:  # asks no disk about each of thousands of files, as Path.is_file would
            return sorted(entry.name for entry in entries if entry.is_file() and not entry.name.startswith("."))
    except OSError as error:
        raise InputError(f"{folder} cannot be read, change its permissions ({error.strerror})") from error


def files_with_endings(folder: Path, endings: Iterable[str]) -> list[tuple[str, Path]]:
    """(name without its ending, file) for the files directly inside `folder` that have one of the endings."""
    lower = [ending.lower() for ending in endings]
    found = []
    for name in file_names(folder):
        ending = next((e for e in lower if name.lower().endswith(e)), None)
        if ending is not None:
            found.append((name[: -len(ending)], folder / name))
    return found


def by_case(named_files: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    """Files by their case's name.

    Raises:
        InputError: two files are of the same case.
    """
    cases: dict[str, Path] = {}
    for name, file in named_files:
        if name in cases:
            raise InputError(f"{cases[name]} and {file} are the same case: remove one of them")
        cases[name] = file
    return cases
