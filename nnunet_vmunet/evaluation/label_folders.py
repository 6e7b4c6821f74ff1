"""Folders of label images: which are evaluated against which, the cases in them, and what their files hold."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..files.listing import by_case, files_with_endings
from ..files.nnunet import datasets_called, nnunet_folder, read_json
from ..files.photographs import opened
from ..files.volumes import VOLUMES, is_volume, read_volume

PICTURES = (".png", ".bmp", ".tif", ".tiff")

# Our own picture, which -o may have put beside predictions that are .png files themselves.
BOX_PLOTS = "metrics.png"


def label_files(folder: Path, file_ending: str | None = None) -> dict[str, Path]:
    """Label images directly inside a folder by the name of their case, which an ending `_segmentation` is no part of.

    file_ending: as nnU-Net's dataset.json says; None takes every ending that label images have.

    Raises:
        InputError: two files of one case, or no label image at all.
    """
    endings = (str(file_ending),) if file_ending else VOLUMES + PICTURES  # a dataset.json edited by hand holds anything
    found = [(name, file) for name, file in files_with_endings(folder, endings) if file.name != BOX_PLOTS]
    if not found:
        raise InputError(f"{folder} holds no label images ({', '.join(endings)}): give another folder")
    return by_case((re.sub("_segmentation$", "", name, flags=re.IGNORECASE), file) for name, file in found)


def read_labels(path: Path, allowed: Iterable[int]) -> np.ndarray:
    """Read as uint8: a picture as (h, w), a volume as (z, y, x).

    allowed: the values that the file may hold, all of 0 to 255.

    Raises:
        InputError: the file cannot be read, has colours, or holds another value.
    """
    values = read_volume(path).T if is_volume(path) else _read_picture(path)
    # Slice by slice, because sorting a whole volume takes seconds and several times its memory.
    present = set().union(*(np.unique(part).tolist() for part in values))
    unknown = sorted(present - set(allowed))
    if unknown:
        raise InputError(f"{path} holds the unknown label values {_listed(unknown)}: {expected(allowed)}")
    return values.astype(np.uint8, copy=False)


def expected(allowed: Iterable[int]) -> str:
    """What a message says of the values that a label image may hold."""
    return f"the labels are {', '.join(map(str, sorted(allowed)))}"


def _read_picture(path: Path) -> np.ndarray:
    with opened(path) as image:
        if image.mode not in ("1", "L") and image.mode[0] != "I":
            raise InputError(f"{path} is an image of mode {image.mode}: a label image is grey, one value per pixel")
        return np.asarray(image)


def _listed(values: list) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:10])
    return shown if len(values) <= 10 else f"{shown} and {len(values) - 10} more"


@dataclass(frozen=True)
class Case:
    """A prediction and its reference."""

    name: str
    prediction: Path
    reference: Path


@dataclass(frozen=True)
class Folders:
    """Predictions, their references, and what nnU-Net's files beside them say."""

    predictions: Path
    references: Path
    dataset_json: dict = field(default_factory=dict)
    dataset_name: str | None = None  # known for a trained fold only
    # Cases that must be predicted; None where whatever is predicted will do.
    expected: frozenset[str] | None = None

    @property
    def labels(self) -> dict[str, int]:
        """Foreground labels by name, as the dataset.json names them; empty where there is none."""
        labels = self.dataset_json.get("labels", {})
        return {name: value for name, value in labels.items() if isinstance(value, int) and value and name != "ignore"}

    def described(self) -> dict:
        """What metrics.json says about the two folders."""
        return {
            "predictions": str(self.predictions.resolve()),
            "references": str(self.references.resolve()),
            "dataset": self.dataset_name,
        }

    def cases(self) -> list[Case]:
        """Predictions and references paired by name, sorted.

        Raises:
            InputError: one without its partner, or a prediction that is no case of the fold.
        """
        ending = self.dataset_json.get("file_ending")
        predictions, references = label_files(self.predictions, ending), label_files(self.references, ending)
        for name in sorted(self.expected or ()):
            if name not in predictions:
                what = references.get(name, f"case {name}")
                raise InputError(f"{what} has no prediction in {self.predictions}: predict it, or remove it")
        for name, file in predictions.items():
            if name not in references:
                raise InputError(f"{file} has no reference in {self.references}: add the reference, or remove the file")
            if self.expected is not None and name not in self.expected:
                raise InputError(f"{file} is no case of this fold's validation: it is an earlier split's, remove it")
        return [Case(name, file, references[name]) for name, file in sorted(predictions.items())]


def given_folders(predictions: Path, references: Path, *, chill: bool = False) -> Folders:
    """The folders that the user names. `chill`, as nnU-Net calls it: references without prediction are left out."""
    for option, folder in (("-p", predictions), ("-r", references)):
        if not os.path.isdir(folder):
            raise InputError(f"{folder} is no folder: give one of label images as {option}")
    if predictions.resolve() == references.resolve():
        raise InputError(f"{predictions} is given as -p and as -r: a prediction would be compared with itself")
    dataset_json = first_dataset_json(predictions, predictions.parent, references, references.parent)
    expected = None if chill else frozenset(label_files(references, dataset_json.get("file_ending")))
    return Folders(predictions, references, dataset_json, expected=expected)


def trained_fold(dataset: str, fold: str, trainer: str, plans: str, configuration: str) -> Folders:
    """The validation of a trained fold in $nnUNet_results against gt_segmentations in $nnUNet_preprocessed.

    dataset: nnU-Net's id or name. fold: a number or "all".
    """
    results, preprocessed = _set_folder("nnUNet_results"), _set_folder("nnUNet_preprocessed")
    trained = _dataset_folder(results, dataset)
    model = trained / f"{trainer}__{plans}__{configuration}"
    validation, references = model / f"fold_{fold}" / "validation", preprocessed / trained.name / "gt_segmentations"
    if not validation.is_dir():
        raise InputError(f"{validation} is not there: {_validations(trained)}")
    if not references.is_dir():
        raise InputError(f"{references} is not there: run nnUNetv2_plan_and_preprocess, or give folders with -p and -r")
    dataset_json = read_json(model / "dataset.json", dict)
    expected = _validation_cases(preprocessed / trained.name / "splits_final.json", fold)
    return Folders(validation, references, dataset_json, trained.name, expected)


def _set_folder(variable: str) -> Path:
    folder = nnunet_folder(variable)
    if folder is None:
        raise InputError(f"{variable} is not set: export {variable}=FOLDER, or give folders with -p and -r")
    return folder


def _dataset_folder(results: Path, dataset: str) -> Path:
    found = datasets_called(dataset, results)
    if not found:
        raise InputError(f"-d {dataset}: {results} holds no trained model of that dataset")
    if len(found) > 1:
        raise InputError(f"-d {dataset}: {results} holds {found[0].name} and {found[1].name}, give the whole name")
    return found[0]


def _validations(trained: Path) -> str:
    """What there is instead of the validation that was asked for."""
    found = [folder.parent for folder in sorted(trained.glob("*__*__*/fold_*/validation")) if folder.is_dir()]
    if not found:
        return f"no fold in {trained} has finished its validation, train with nnUNetv2_train first"
    there = ", ".join(str(folder.relative_to(trained)) for folder in found[:5])
    return f"choose with -tr, -pl, -c and -f among {there}"


def _validation_cases(splits: Path, fold: str) -> frozenset[str] | None:
    """None for fold "all" and for folds that nnU-Net drew itself because the file does not hold them."""
    if not fold.isdecimal() or not splits.is_file():
        return None
    folds = read_json(splits, list)
    try:
        return frozenset(folds[int(fold)]["val"]) if int(fold) < len(folds) else None
    except (KeyError, TypeError) as error:
        raise InputError(f"{splits} is not what nnU-Net writes under that name: copy it again") from error


def first_dataset_json(*places: Path) -> dict:
    """The content of the first dataset.json in these folders; empty where there is none."""
    files = (place / "dataset.json" for place in places)
    return next((read_json(file, dict) for file in files if file.is_file()), {})
