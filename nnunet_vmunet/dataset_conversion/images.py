"""Loose photographs as input for nnUNetv2_predict."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import InputError
from ..files.atomic import atomic_folder, refuse_foreign_files
from ..files.photographs import SUFFIXES, photographs_in, read_photograph, write_png
from ..files.processes import check_num_processes, run_parallel

# nnU-Net's mark of a case's first (here its only) image file.
_FIRST = "_0000"


def convert_images(input_folder: Path, output_folder: Path, *, num_processes: int = 8, overwrite: bool = False) -> Path:
    """Write every photograph directly inside `input_folder` to `output_folder` as an upright RGB NAME_0000.png.

    Each keeps its own pixels: nnU-Net resamples, and brings the mask back to them. Returns `output_folder`.

    Raises:
        InputError: a folder or a photograph cannot be used; nothing is written then.
    """
    check_num_processes(num_processes)
    _check_folders(input_folder, output_folder, overwrite)
    photographs = photographs_in(input_folder)
    jobs = _by_output_name(photographs, input_folder)
    with atomic_folder(output_folder, overwrite=overwrite) as folder:
        run_parallel(_convert, [(file, folder / name) for name, file in jobs.items()], num_processes, "Converting")
    _report(input_folder, output_folder, photographs)
    return output_folder


def _check_folders(input_folder: Path, output_folder: Path, overwrite: bool) -> None:
    if not os.path.isdir(input_folder):
        raise InputError(f"{input_folder} is no folder: give the folder of photographs as -i")
    if output_folder.resolve() == input_folder.resolve():
        raise InputError(f"{output_folder} is the input folder: choose another folder for -o")
    if overwrite:
        refuse_foreign_files(output_folder, lambda name: name.endswith(f"{_FIRST}.png"), "conversion")


def _by_output_name(photographs: list[Path], input_folder: Path) -> dict[str, Path]:
    if not photographs:
        raise InputError(f"{input_folder} holds no photographs ({', '.join(SUFFIXES)}): give another folder as -i")
    jobs: dict[str, Path] = {}
    for file in photographs:
        name = f"{file.stem.removesuffix(_FIRST) or file.stem}{_FIRST}.png"  # a case has a name
        if name in jobs:
            raise InputError(f"{jobs[name]} and {file} would both become {name}: rename one of them")
        jobs[name] = file
    return jobs


def _convert(job: tuple[Path, Path]) -> None:
    photograph, output = job
    write_png(read_photograph(photograph), output)


def _report(input_folder: Path, output_folder: Path, photographs: list[Path]) -> None:
    ignored = sum(1 for _ in input_folder.iterdir()) - len(photographs)
    if ignored:
        print(f"Ignored in {input_folder}: {ignored} that are not photographs ({', '.join(SUFFIXES)})")
    print(f"Wrote {output_folder}: {len(photographs)} photographs")
    print(f"Next:\n  nnUNetv2_predict -i {output_folder} -o masks -d ID -c 2d -f 0 -tr nnUNetTrainerVMUNet")
