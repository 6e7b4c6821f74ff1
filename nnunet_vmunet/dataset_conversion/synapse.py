"""Synapse, eight organs in abdominal CT (BTCV), as an nnU-Net raw dataset."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from ..errors import InputError
from ..files.atomic import atomic_folder
from ..files.processes import check_num_processes, progress, run_parallel
from . import synapse_preprocessed, synapse_raw
from .raw_dataset import new_dataset_folder, next_steps, note_on_earlier_preprocessing, write_dataset_json, write_splits
from .release_folders import folders_in
from .splits import Fold
from .synapse_benchmark import (
    CASES,
    TEST_CASES,
    TRAINING_SLICES,
    organ_labels,
    published_fold,
    unpublished_slice_counts,
)

# The forms in which the dataset goes round: modules with the same functions under the same names.
_FORMS = (synapse_raw, synapse_preprocessed)

# How deep below -i the folders may lie: Abdomen/RawData/RawData/Training/img.
_DEPTH = 5

Case = synapse_raw.Case | synapse_preprocessed.Case


def convert_synapse(
    release_folder: Path,
    dataset_id: int,
    *,
    organs: int = 8,
    partial: bool = False,
    num_processes: int = 8,
    overwrite: bool = False,
) -> Path:
    """Write $nnUNet_raw/Dataset{ID}_Synapse with the published split as fold 0, and return that folder.

    release_folder: holds BTCV's RawData/Training, or train_npz and test_vol_h5 as TransUNet preprocessed them.
    organs: 8, in TransUNet's order, or all 13 in BTCV's, which only the raw form has.
    partial: convert what is there of an incomplete copy.

    Raises:
        InputError: the release or a file in it cannot be used, or the dataset's place; nothing is written then.
    """
    check_num_processes(num_processes)
    target = new_dataset_folder(dataset_id, "Synapse")
    form, cases = _find(release_folder)
    _check_organs(organs, form, release_folder)
    fold = published_fold(case.name for case in cases)
    with atomic_folder(target, overwrite=overwrite) as folder:
        slice_counts = _count_slices(form, cases)
        _check_completeness(release_folder, form, slice_counts, partial)
        run_parallel(_convert, _jobs(form, cases, organs, folder), num_processes, "Converting")
        write_splits(folder, [fold])
        write_dataset_json(folder, _dataset_json(form, organs, fold))
    _report(target, dataset_id, form, organs, fold, slice_counts)
    return target


def _find(folder: Path) -> tuple[ModuleType, list[Case]]:
    if not os.path.isdir(folder):
        raise InputError(f"{folder} is no folder: give the one that holds {_wanted()} as -i")
    folder = folder.resolve()
    folders = folders_in(folder, _DEPTH)
    forms = [form for form in _FORMS if form.is_there(folders)]
    if not forms:
        raise InputError(f"{folder} holds neither {_wanted('nor')}: give their parent folder as -i")
    if len(forms) > 1:
        raise InputError(f"{folder} holds both {_wanted('and')}: give the parent folder of one of them as -i")
    cases = forms[0].find_cases(folder, folders)
    if not cases:
        raise InputError(f"{folder} holds {forms[0].WANTED} without any case: download the release again")
    return forms[0], sorted(cases, key=lambda case: case.name)


def _wanted(joined_by: str = "or") -> str:
    return f" {joined_by} ".join(form.WANTED for form in _FORMS)


def _check_organs(organs: int, form: ModuleType, folder: Path) -> None:
    if organs not in form.ORGAN_COUNTS:
        counts = " or ".join(map(str, form.ORGAN_COUNTS))
        raise InputError(f"--organs {organs}: the form of release in {folder} has labels for {counts} organs")


def _count_slices(form: ModuleType, cases: list[Case]) -> dict[str, int]:
    """Count each case's slices from the headers, so that a release with a wrong file in it is refused in seconds."""
    counts = {}
    with progress(total=len(cases), description="Checking") as bar:
        for case in cases:
            counts[case.name] = form.count_slices(case)
            bar.update()
    return counts


def _check_completeness(folder: Path, form: ModuleType, slice_counts: dict[str, int], partial: bool) -> None:
    _refuse_unpublished_cases(folder, slice_counts)
    missing = [name for name in CASES if name not in slice_counts]
    lacking = [f"{len(missing)} of {len(CASES)} cases are missing ({', '.join(missing)})"] if missing else []
    unpublished = unpublished_slice_counts(slice_counts)
    if form.SLICES_ARE_FILES:
        lacking += unpublished
    if lacking and not partial:
        raise InputError(
            f"{folder} is incomplete, {'; '.join(lacking)}: download the rest, or give --partial to go on without it"
        )
    for phrase in lacking:
        print(f"Incomplete: {phrase}")
    if not form.SLICES_ARE_FILES:  # a volume is whole, or it cannot be read: another count is only worth a look
        for phrase in unpublished:
            print(f"Note: {phrase}")


def _refuse_unpublished_cases(folder: Path, names: Iterable[str]) -> None:
    unknown = [name for name in names if name not in CASES]
    if unknown:
        raise InputError(f"{folder} holds {unknown[0]}, which is none of the {len(CASES)} published cases: remove it")


@dataclass(frozen=True)
class _Job:
    convert: Callable[[Case, int, Path, Path], None]
    case: Case
    organs: int
    image: Path
    label: Path


def _jobs(form: ModuleType, cases: list[Case], organs: int, folder: Path) -> list[_Job]:
    images, labels = folder / "imagesTr", folder / "labelsTr"
    images.mkdir()
    labels.mkdir()
    return [
        _Job(form.convert, case, organs, images / f"{case.name}_0000.nii.gz", labels / f"{case.name}.nii.gz")
        for case in cases
    ]


def _convert(job: _Job) -> None:
    job.convert(job.case, job.organs, job.image, job.label)


def _dataset_json(form: ModuleType, organs: int, fold: Fold) -> dict:
    return {
        "name": "Synapse",
        "description": f"Synapse multi-organ segmentation (BTCV), abdominal CT, {organs} organs; {form.DESCRIPTION}",
        "reference": "https://www.synapse.org/Synapse:syn3193805",
        "licence": "as stated by Synapse for BTCV",
        "converted_by": "nnunet-vmunet",
        "release": "synapse",  # every case is one of the published ones: others are refused
        "split": _split_text(fold),
        "channel_names": {"0": form.CHANNEL},
        "labels": organ_labels(organs),
        "numTraining": len(fold["train"]) + len(fold["val"]),
        "file_ending": ".nii.gz",
    }


def _split_text(fold: Fold) -> str:
    training, test = len(fold["train"]), len(fold["val"])
    if training + test == len(CASES):
        return f"the published {training} training cases and {test} test cases"
    return (
        f"what is there of the published one, {training} of {len(TRAINING_SLICES)} training cases and "
        f"{test} of {len(TEST_CASES)} test cases"
    )


def _report(
    target: Path, dataset_id: int, form: ModuleType, organs: int, fold: Fold, slice_counts: dict[str, int]
) -> None:
    print(f"Wrote {target}: {len(slice_counts)} cases, {organs} organs, {sum(slice_counts.values())} slices")
    if form.NOTE:
        print(form.NOTE)
    print(f"Split: {_split_text(fold)}")
    if not (fold["train"] and fold["val"]):
        print("Fold 0 lacks one of its two sides: nnU-Net cannot train on it")
    note = note_on_earlier_preprocessing(target.name, [fold])
    if note:
        print(note)
    print(next_steps(dataset_id, "VMUNetPlanner224", "nnUNetVMUNetPlans224"))
