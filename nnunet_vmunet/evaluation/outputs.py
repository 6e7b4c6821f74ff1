"""Files that appear complete or not at all."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from ..errors import InputError


def make_folder(folder: Path) -> None:
    """Before anything is computed, so that a place that cannot be written is told at once, by an InputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _not_written(folder, error) from error


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a hidden sibling with the same ending; once written, it takes the name of `path` when the block ends.

    Raises:
        InputError: it cannot be written.
    """
    partial = path.with_name(f".{path.stem}-{os.getpid()}{path.suffix}")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise _not_written(path, error) from error
    finally:
        partial.unlink(missing_ok=True)


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


def _not_written(path: Path, error: OSError) -> InputError:
    return InputError(f"{path} cannot be written, make room or choose another folder with -o ({error})")
