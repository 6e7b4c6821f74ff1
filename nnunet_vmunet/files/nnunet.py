"""nnU-Net's folders and its JSON files, without nnU-Net, whose import takes seconds."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import TypeVar

from ..errors import InputError
from .atomic import atomic_file

Content = TypeVar("Content", dict, list)


def nnunet_folder(variable: str) -> Path | None:
    """The folder that nnUNet_raw, nnUNet_preprocessed or nnUNet_results is set to; None where it is not set."""
    value = os.environ.get(variable)
    return Path(value) if value else None


def datasets_called(dataset: str, place: Path) -> list[Path]:
    """The dataset folders in `place` that nnU-Net's -d means: an id, or a whole name."""
    named = re.compile(f"Dataset{int(dataset):03d}_.*" if dataset.isdecimal() else re.escape(dataset))
    return sorted(folder for folder in place.glob("*") if folder.is_dir() and named.fullmatch(folder.name))


def dataset_file(dataset: str) -> Path:
    """The dataset.json of a dataset, an id or a whole name: in nnUNet_raw, nnUNet_preprocessed or with a trained model.

    Raises:
        InputError: there is none, or nnU-Net knows two datasets by that id.
    """
    variables = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    places = [place for place in map(nnunet_folder, variables) if place is not None]
    if not places:
        raise InputError(f"-d {dataset}: none of {', '.join(variables)} is set, export the one that holds the dataset")
    folders = [folder for place in places for folder in datasets_called(dataset, place)]
    names = sorted({folder.name for folder in folders})
    if len(names) > 1:
        raise InputError(f"-d {dataset} is {' and '.join(names)}: give the whole name of one")
    files = [file for folder in folders for file in (folder / "dataset.json", *sorted(folder.glob("*/dataset.json")))]
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        looked = ", ".join(map(str, places))
        raise InputError(
            f"-d {dataset}: no dataset.json of it is in {looked}, give another id or set nnU-Net's variables"
        )
    return found


def read_json(file: Path, kind: type[Content]) -> Content:
    """Read a JSON file that nnU-Net writes, which holds a dict or a list.

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


def write_json(file: Path, content: dict | list) -> None:
    """Write a JSON file, complete or not at all; see `json_text`.

    Raises:
        InputError: it cannot be written.
    """
    with atomic_file(file) as partial:
        partial.write_text(json_text(content))


def json_text(content: dict | list) -> str:
    """JSON as nnU-Net indents its own; NaN becomes null, which every program can read."""
    return json.dumps(_without_nan(content), indent=4, allow_nan=False) + "\n"


def _without_nan(content):
    if isinstance(content, dict):
        return {key: _without_nan(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_without_nan(value) for value in content]
    return None if isinstance(content, float) and math.isnan(content) else content
