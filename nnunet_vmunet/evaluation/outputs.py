"""The folder of an evaluation's outputs, and its JSON and CSV files: each appears complete or not at all."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from tempfile import TemporaryFile

from ..atomic_file import atomic_file
from ..errors import InputError


def make_folder(folder: Path) -> None:
    """Before anything is computed, so that a place that cannot be written is told at once, by an InputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"{folder} cannot be written, make room or choose another place ({error})") from error


def write_json(path: Path, content: dict) -> None:
    """NaN is null."""
    with atomic_file(path) as partial:
        partial.write_text(json.dumps(_without_nan(content), indent=4, allow_nan=False) + "\n")


def write_csv(path: Path, rows: list[dict]) -> None:
    """One line per row under the first row's keys; NaN is an empty field."""
    # A name that is no text in any encoding goes through byte by byte.
    with atomic_file(path) as partial, partial.open("w", -1, "utf-8", "surrogateescape", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows({key: "" if _is_nan(value) else value for key, value in row.items()} for row in rows)


def _without_nan(content):
    """NaN as null, which other programs can read."""
    if isinstance(content, dict):
        return {key: _without_nan(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_without_nan(value) for value in content]
    return None if _is_nan(content) else content


def _is_nan(value) -> bool:
    return isinstance(value, float) and math.isnan(value)
