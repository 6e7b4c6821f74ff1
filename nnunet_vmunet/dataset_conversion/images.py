"""Loose photographs as input for nnUNetv2_predict, as any model of photographs takes them or as one dataset's does."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..dataset_json import READERS, DatasetJson, read_dataset_json
from ..errors import InputError
from ..files.atomic import atomic_folder, refuse_foreign_files
from ..files.nnunet import dataset_file
from ..files.photographs import (
    SUFFIXES,
    WRITTEN_ENDINGS,
    has_colours,
    photographs_in,
    read_header,
    read_photograph,
    write_picture,
)
from ..files.processes import check_num_processes, run_parallel

# nnU-Net's mark of a case's first (here its only) image file.
_FIRST = "_0000"

# Channels that nnU-Net does not normalise by each image's own mean and deviation: there the scale of values matters.
_KEEPING_SCALE = {"ct", "nonorm", "rescale_to_0_1", "rgb_to_0_1"}


@dataclass(frozen=True)
class Wanted:
    """How a model wants its images.

    channels: 1, 3 or 4; None writes grey of 16 bits as it is and all else as RGB.
    bits: 8 or 16, where it is known what the grey images of the training had. ending: of the files.
    upright: whether they are turned as their EXIF orientation says. scale_matters: see `_KEEPING_SCALE`.
    dataset: what messages name.
    """

    channels: int | None = None
    bits: int | None = None
    ending: str = ".png"
    upright: bool = True
    scale_matters: bool = False
    expands_grey: bool = True
    dataset: str = ""


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
    return _wanted_by(description, exif, dataset)


def _wanted_by(description: DatasetJson, exif: str | None, dataset: str) -> Wanted:
    description.refuse_lossy_ending()
    channels, ending = len(description.channels), description.file_ending
    if channels not in READERS:
        raise InputError(
            f"{description.file} has {channels} channels: photographs have 1, 3 or 4, give another dataset"
        )
    if ending not in WRITTEN_ENDINGS:
        raise InputError(f"{description.file} has files ending in {ending}: photographs do not, give another dataset")
    bits = description.content.get("bits")
    return Wanted(
        channels=channels,
        bits=bits if bits in (8, 16) and channels == 1 else None,
        ending=ending,
        upright=(exif or description.content.get("exif")) != "ignore",
        scale_matters=any(name.lower() in _KEEPING_SCALE for name in description.channels),
        expands_grey=description.reader == READERS[3],
        dataset=dataset,
    )


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
    photograph, output, wanted = job
    header = read_header(photograph)
    channels = wanted.channels or (1 if header.bits == 16 else 3)
    change = None
    if channels == 4 and not header.has_alpha:
        change = "had no alpha and became opaque"
    if channels == 3 and header.bits == 16 and wanted.expands_grey and not wanted.scale_matters:
        channels = 1  # the reader makes three channels of it, and keeps the depth
    if channels == 1:
        if has_colours(photograph):
            change = "had colours and became grey by their luminance"
        pixels = _in_bits(read_photograph(photograph, channels=1, upright=wanted.upright), photograph, wanted)
    else:
        pixels = read_photograph(photograph, channels=channels, upright=wanted.upright)
        if header.bits == 16:
            change = "had 16 bits, of which the upper 8 were kept"
    if header.is_cut:
        change = "had more than 8 bits a channel, of which the upper 8 were kept"
    write_picture(pixels, output)
    return change


def _in_bits(grey: np.ndarray, photograph: Path, wanted: Wanted) -> np.ndarray:
    """With as many bits as the training images, where that is known: 255 is then 65535.

    An image of 16 bits stays so for a model of 8, as long as each image is normalised by itself: half of what an X-ray
    of 12 bits says lies in its lower 8.
    """
    if grey.dtype == np.uint8 and wanted.bits == 16:
        return grey.astype(np.uint16) * 257
    if grey.dtype == np.uint16 and wanted.ending == ".bmp":
        raise InputError(f"{photograph} has 16 bits, and files ending in .bmp have 8: save it with 8 bits")
    if grey.dtype == np.uint16 and wanted.scale_matters and wanted.bits != 16:
        raise InputError(
            f"{photograph} has 16 bits, and the model of -d {wanted.dataset} compares values between images: save it "
            "with as many bits as the training images have"
        )
    return grey


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
