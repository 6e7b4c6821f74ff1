"""Where nnU-Net keeps its files, and its JSON files: read before nnU-Net is imported, which takes seconds."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TypeVar

from .errors import InputError

Content = TypeVar("Content", dict, list)


def nnunet_folder(variable: str) -> Path | None:
    """What nnUNet_raw, nnUNet_preprocessed or nnUNet_results is set to."""
    value = os.environ.get(variable)
    return Path(value) if value else None


def datasets_called(dataset: str, place: Path) -> list[Path]:
    """The dataset folders in `place` that nnU-Net's -d means: an id, or a whole name."""
    named = re.compile(f"Dataset{int(dataset):03d}_.*" if dataset.isdecimal() else re.escape(dataset))
    return sorted(folder for folder in place.glob("*") if folder.is_dir() and named.fullmatch(folder.name))


def read_json(file: Path, kind: type[Content]) -> Content:
    """A JSON file that nnU-Net writes, of dict or list.

    Raises:
        InputError: it cannot be read, or holds something else.
    """
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file} cannot be read, copy it again ({error})") from error
    if not isinstance(content, kind):
        raise InputError(f"{file} is not what nnU-Net writes under that name: copy it again")
    return content
