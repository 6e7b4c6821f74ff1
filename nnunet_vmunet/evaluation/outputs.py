"""What an evaluation puts out: the folder and its CSV file, and tables on the terminal."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from tempfile import TemporaryFile

from ..errors import InputError
from ..files.atomic import atomic_file
from .bootstrap import Estimate


def make_folder(folder: Path) -> None:
    """Make the folder before anything is computed: an InputError tells at once that it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"{folder} cannot be written, make room or choose another place ({error})") from error


def write_csv(path: Path, rows: list[dict]) -> None:
    """One line per row under the first row's keys; NaN is an empty field."""
    # A name that is no text in any encoding goes through byte by byte.
    with atomic_file(path) as partial, partial.open("w", -1, "utf-8", "surrogateescape", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows({key: "" if _is_nan(value) else value for key, value in row.items()} for row in rows)


def _is_nan(value) -> bool:
    return isinstance(value, float) and math.isnan(value)


def table(rows: list[list[str]]) -> str:
    """Columns aligned: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        for first, *others in rows
    )
    return "\n".join("  ".join(line).rstrip() for line in lines)


def number(value: float | None, scale: float = 1) -> str:
    """Two decimals; a dash for what is undefined."""
    return "-" if value is None or math.isnan(value) else f"{scale * value:.2f}"


def interval(estimate: Estimate, scale: float = 1) -> str:
    """Both ends, one decimal; a dash for what is undefined."""
    return "-" if math.isnan(estimate.low) else f"{scale * estimate.low:.1f}-{scale * estimate.high:.1f}"
