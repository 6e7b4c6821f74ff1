"""Loose photographs as input for nnUNetv2_predict, as any model of photographs takes them or as one dataset's does."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from ..dataset_json import read_dataset_json
from ..errors import InputError
from ..files.atomic import atomic_folder, refuse_foreign_files
from ..files.nnunet import dataset_file
from ..files.photographs import SUFFIXES, WRITTEN_ENDINGS, opened_to_turn, photographs_in, write_picture
from ..files.processes import check_num_processes, run_parallel
from ..model_images import Wanted, brought, wanted_by

# nnU-Net's mark of a case's first (here its only) image file.
_FIRST = "_0000"


def convert_images(
    input_folder: Path,
    output_folder: Path,
    *,
    dataset: str | None = None,
    exif: str | None = None,
    num_processes: int = 8,
    overwrite: bool = False,
) -> Path:
    """Write every photograph directly inside `input_folder` to `output_folder` as an upright NAME_0000.png.

    Each keeps its own pixels: nnU-Net resamples, and brings the mask back to them. Grey of 16 bits stays so, all else
    becomes RGB. Returns `output_folder`.

    dataset: nnU-Net's id or name of the dataset whose model is to predict; channels, depth, file ending and the EXIF
    choice are then those of its training images. Colours become luminance for a model of grey images, which is said.
    exif: "apply" or "ignore" the orientation that files have; by default as the dataset does, or else "apply".

    Raises:
        InputError: a folder, a photograph or the dataset cannot be used; nothing is written then.
    """
    check_num_processes(num_processes)
    wanted = _wanted(dataset, exif)
    _check_folders(input_folder, output_folder, wanted, overwrite)
    photographs = photographs_in(input_folder)
    jobs = _by_output_name(photographs, input_folder, wanted.ending)
    with atomic_folder(output_folder, overwrite=overwrite) as folder:
        written = [(file, folder / name, wanted) for name, file in jobs.items()]
        changes = Counter(run_parallel(_convert, written, num_processes, "Converting"))
    _report(input_folder, output_folder, photographs, wanted, changes)
    return output_folder


def _wanted(dataset: str | None, exif: str | None) -> Wanted:
    if dataset is None:
        return Wanted(upright=exif != "ignore")
    description = read_dataset_json(dataset_file(dataset))
    return wanted_by(description, exif, dataset)


def _check_folders(input_folder: Path, output_folder: Path, wanted: Wanted, overwrite: bool) -> None:
    if not os.path.isdir(input_folder):
        raise InputError(f"{input_folder} is no folder: give the folder of photographs as -i")
    if output_folder.resolve() == input_folder.resolve():
        raise InputError(f"{output_folder} is the input folder: choose another folder for -o")
    if overwrite:
        ours = tuple(_FIRST + ending for ending in WRITTEN_ENDINGS)
        refuse_foreign_files(output_folder, lambda name: name.endswith(ours), "conversion")


def _by_output_name(photographs: list[Path], input_folder: Path, ending: str) -> dict[str, Path]:
    if not photographs:
        raise InputError(f"{input_folder} holds no photographs ({', '.join(SUFFIXES)}): give another folder as -i")
    jobs: dict[str, Path] = {}
    for file in photographs:
        name = f"{file.stem.removesuffix(_FIRST) or file.stem}{_FIRST}{ending}"  # a case has a name
        if name in jobs:
            raise InputError(f"{jobs[name]} and {file} would both become {name}: rename one of them")
        jobs[name] = file
    return jobs


def _convert(job: tuple[Path, Path, Wanted]) -> str | None:
    """Returns what is to be told about the photograph."""
    file, output, wanted = job
    with opened_to_turn(file) as photograph:
        pixels, change = brought(photograph, wanted)
    write_picture(pixels, output)
    return change


def _report(
    input_folder: Path, output_folder: Path, photographs: list[Path], wanted: Wanted, changes: Counter[str | None]
) -> None:
    ignored = sum(1 for _ in input_folder.iterdir()) - len(photographs)
    if ignored:
        print(f"Ignored in {input_folder}: {ignored} that are not photographs ({', '.join(SUFFIXES)})")
    for change, count in changes.items():
        if change:
            print(f"Note: {count} of {len(photographs)} photographs {change}")
    print(f"Wrote {output_folder}: {len(photographs)} photographs")
    dataset = wanted.dataset or "ID"
    print(f"Next:\n  nnUNetv2_predict -i {output_folder} -o masks -d {dataset} -c 2d -f 0 -tr nnUNetTrainerVMUNet")
