"""nnU-Net's raw dataset folder: where it lies, what it is called, and the two JSON files in it."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ..errors import InputError
from ..files.nnunet import json_text, nnunet_folder
from .splits import Fold


def new_dataset_folder(dataset_id: int, name: str) -> Path:
    """The folder of a dataset that is about to be written: $nnUNet_raw/Dataset118_NAME.

    Raises:
        InputError: nnUNet_raw is not set or cannot be written, or the id is taken or none of nnU-Net's.
    """
    if not 1 <= dataset_id <= 999:
        raise InputError(f"-d {dataset_id}: nnU-Net's dataset ids run from 1 to 999")
    raw = _raw_folder()
    folder = raw / f"Dataset{dataset_id:03d}_{name}"
    _refuse_id_of_another(dataset_id, folder.name)
    return folder


def write_dataset_json(folder: Path, content: dict) -> None:
    """Write dataset.json, by which nnU-Net knows channels, labels, reader and file ending."""
    (folder / "dataset.json").write_text(json_text(content))


def write_splits(folder: Path, folds: list[Fold]) -> None:
    """Write splits_final.json, which nnU-Net's planner copies: `nnUNetv2_train ID 2d 0` trains on the first fold."""
    (folder / "splits_final.json").write_text(json_text(folds))


def note_on_earlier_preprocessing(dataset_name: str, folds: list[Fold] | None) -> str | None:
    """One line on what nnU-Net would keep of an earlier conversion; None where there is nothing of it."""
    preprocessed = nnunet_folder("nnUNet_preprocessed")
    if preprocessed is None or not (preprocessed / dataset_name).is_dir():
        return None
    earlier = preprocessed / dataset_name
    splits = earlier / "splits_final.json"
    if splits.exists() and not _same_folds(splits, folds):
        return f"Delete {earlier} first: its splits_final.json differs, and nnU-Net would keep it or stop"
    return f"Delete {earlier} first if the images changed: nnU-Net would keep its fingerprint of the old ones"


def next_steps(dataset_id: int, planner: str = "", plans: str = "") -> str:
    """What the user types after a conversion: planner and plans are named where they are not nnU-Net's own."""
    planner_option, plans_option = f" -pl {planner}" if planner else "", f" -p {plans}" if plans else ""
    return (
        "Next:\n"
        "  nnunet-vmunet register    (once per environment)\n"
        f"  nnUNetv2_plan_and_preprocess -d {dataset_id} -c 2d{planner_option} --verify_dataset_integrity\n"
        f"  nnUNetv2_train {dataset_id} 2d 0 -tr nnUNetTrainerVMUNet{plans_option}"
    )


def _raw_folder() -> Path:
    raw = nnunet_folder("nnUNet_raw")
    if raw is None:
        raise InputError(
            "nnUNet_raw is not set: export nnUNet_raw=FOLDER (and nnUNet_preprocessed and nnUNet_results for training)"
        )
    if not os.path.isdir(raw):
        raise InputError(f"nnUNet_raw is {raw}, which is no folder: create it with mkdir -p, or set the variable anew")
    if not os.access(raw, os.W_OK):
        raise InputError(f"nnUNet_raw is {raw}, which you may not write to: change that or set the variable anew")
    return raw


def _refuse_id_of_another(dataset_id: int, name: str) -> None:
    """nnU-Net looks a dataset up by its id in all three folders and stops where it finds two names."""
    for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        folder = nnunet_folder(variable)
        if folder is None or not folder.is_dir():
            continue
        for other in sorted(folder.glob(f"Dataset{dataset_id:03d}*")):
            if other.is_dir() and other.name != name:
                raise InputError(f"-d {dataset_id} is taken by {other}: choose another id")


def _same_folds(path: Path, folds: list[Fold] | None) -> bool:
    if not folds:
        return False
    try:
        earlier = json.loads(path.read_text())
        # As nnU-Net compares them: the file may hold more folds than the dataset.
        return [_sets(fold) for fold in earlier[: len(folds)]] == [_sets(fold) for fold in folds]
    except (ValueError, KeyError, TypeError):
        return False


def _sets(fold: Fold) -> tuple[set[str], set[str]]:
    return set(fold["train"]), set(fold["val"])
