"""What no training should start with: plans and preprocessed data that would end it late, or train it on nonsense."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from ..dataset_json import DatasetJson
from ..errors import InputError
from ..files.nnunet import nnunet_folder
from .passes import Case, SliceDataset

OUTSIDE = -1  # nnU-Net's label of what it cut off
PHOTOGRAPHS = (".png", ".bmp", ".tif", ".tiff")
MAX_SHOWN = 8  # values in a message


def refuse_other_than_2d(plans: dict, configuration: str) -> None:
    """Raise InputError for 3D configurations and for cascades."""
    planned = PlansManager(plans).get_configuration(configuration)
    patch_size = planned.patch_size
    if len(patch_size) != 2:
        raise InputError(
            f"VM-UNet is a 2D network and configuration {configuration!r} has the 3D patch {list(patch_size)}: "
            "train configuration 2d, which takes volumes slice by slice"
        )
    if planned.previous_stage_name is not None:
        raise InputError(
            f"configuration {configuration!r} is the second stage of a cascade, after {planned.previous_stage_name!r}, "
            "which VM-UNet does not take: train configuration 2d"
        )


def refuse_unusable_split(splits: Path, fold: int | str, training: Sequence, validation: Sequence, known: set) -> None:
    """Raise InputError for a fold with nothing to train on, or to validate, or with cases that are not there.

    training, validation: names of cases. known: those of all preprocessed cases.
    """
    for cases, part in ((training, "training"), (validation, "validation")):
        if not cases:
            raise InputError(f"{splits} gives fold {fold} no {part} case: {_other_fold()}")
        missing = next((case for case in cases if case not in known), None)
        if missing is not None:
            raise InputError(
                f"{splits} gives fold {fold} the {part} case {missing}, which is not preprocessed: take it off there, "
                "or run nnUNetv2_plan_and_preprocess again"
            )


def refuse_too_few_cases(splits: Path, fold: int | str, count: int) -> None:
    """Raise InputError where nnU-Net would make five folds of fewer cases."""
    if fold != "all" and not splits.is_file() and count < 5:
        raise InputError(f"{splits.parent} has {count} cases, too few for nnU-Net's five folds: {_other_fold()}")


def _other_fold() -> str:
    return 'train on all cases, with fold "all" in place of a number, or write another split into splits_final.json'


def refuse_unfit_data(cases: Iterable[Case], folder: Path, description: DatasetJson) -> None:
    """Raise InputError for cases whose channels or label values the dataset.json does not know.

    folder: of the preprocessed data.
    """
    channels = len(description.channels)
    lowest, highest = OUTSIDE, max(description.values[-1], description.ignore_label or 0)  # in between there is no gap
    for case in cases:
        if case.channels != channels:
            raise InputError(
                f"{folder / case.name} has {case.channels} channels and {description.file} names {channels}: name as "
                "many there and in the raw dataset as its images have, and plan again with --clean"
            )
        if case.lowest < lowest or case.highest > highest:
            raise InputError(_unknown_labels(case, folder, description))


def refuse_uninstructive(
    training: SliceDataset, validation: SliceDataset, description: DatasetJson, fold: int | str
) -> None:
    """Raise InputError where all pixels are ignored, or none shows a label, as in masks of 0 and 65535."""
    for dataset, part in ((training, "training"), (validation, "validation")):
        if not dataset.identifiers:
            raise InputError(
                f"all pixels of the {part} cases of fold {fold} have the ignore label that {description.file} gives: "
                f"annotate some, or {_other_fold()}"
            )
    if not any(case.has_foreground for case in training.cases):
        raise InputError(
            f"none of the {len(training.cases)} training cases of fold {fold} shows a label but the background: see "
            f"whether the label images hold the numbers that {description.file} gives, then preprocess again"
        )


def _unknown_labels(case: Case, folder: Path, description: DatasetJson) -> str:
    dataset = description.file.parent
    values = [value for value in np.unique(case.read_seg()).tolist() if value != OUTSIDE]
    known = [*description.values, *([] if description.ignore_label is None else [description.ignore_label])]
    ending = description.file_ending or ""
    problem = (
        f"{_label_file(case.name, dataset, ending, folder)} holds the values {_shown(values)}, and {description.file} "
        f"knows {_shown(known)}"
    )
    if set(values) <= {0, 255} and ending.lower() in PHOTOGRAPHS:
        raw = (nnunet_folder("nnUNet_raw") or Path("$nnUNet_raw")) / dataset.name
        return (
            f"{problem}: make a dataset of 0 and 1 with nnunet-vmunet convert pairs --images {raw / 'imagesTr'} "
            f"--masks {raw / 'labelsTr'} -d NEWID --name NAME"
        )
    return f"{problem}: correct one of them in the raw dataset, then plan and preprocess it again"


def _label_file(case: str, dataset: Path, ending: str, folder: Path) -> Path:
    """The label image as the user knows it, as far as it is still there."""
    raw = nnunet_folder("nnUNet_raw")
    places = [raw / dataset.name / "labelsTr"] if raw else []
    files = [place / f"{case}{ending}" for place in (*places, dataset / "gt_segmentations")]
    return next((file for file in files if file.is_file()), folder / case)


def _shown(values: Sequence[int]) -> str:
    return ", ".join([*map(str, values[:MAX_SHOWN]), *(["..."] if len(values) > MAX_SHOWN else [])])
