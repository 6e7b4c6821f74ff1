"""Folders of label images: which are evaluated against which, and the cases in them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from ..dataset_json import FILE_NAME, DatasetJson, first_dataset_json, read_dataset_json
from ..errors import InputError
from ..files.listing import by_case, files_with_endings
from ..files.nnunet import datasets_called, nnunet_folder, read_json
from ..files.volumes import VOLUMES

PICTURES = (".png", ".bmp", ".tif", ".tiff")

# Our own pictures, which -o may have put beside predictions that are .png files themselves.
BOX_PLOTS, COMPARISON = "metrics.png", "comparison.png"


def label_files(folder: Path, dataset_json: DatasetJson | None = None) -> dict[str, Path]:
    """Label images directly inside a folder by the name of their case, which an ending `_segmentation` is no part of.

    dataset_json: says their ending; without it every ending counts that label images have.

    Raises:
        InputError: two files of one case, or no label image at all.
    """
    ending = dataset_json.file_ending if dataset_json is not None else None
    endings = (str(ending),) if ending else VOLUMES + PICTURES  # a dataset.json edited by hand holds anything
    found = [
        (name, file) for name, file in files_with_endings(folder, endings) if file.name not in (BOX_PLOTS, COMPARISON)
    ]
    if not found:
        raise InputError(f"{folder} holds no label images ({', '.join(endings)}): give another folder")
    return by_case((re.sub("_segmentation$", "", name, flags=re.IGNORECASE), file) for name, file in found)


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
    dataset_json: DatasetJson | None = None
    dataset_name: str | None = None  # known for a trained fold only
    # Cases that must be predicted; None where whatever is predicted will do.
    expected: frozenset[str] | None = None

    @property
    def fold(self) -> Path | None:
        """nnU-Net's folder of the trained fold whose validation the predictions are; None for given folders."""
        return None if self.dataset_name is None else self.predictions.parent

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
        predictions, references = (label_files(f, self.dataset_json) for f in (self.predictions, self.references))
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
    expected = None if chill else frozenset(label_files(references, dataset_json))
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
    dataset_json = read_dataset_json(model / FILE_NAME)
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
