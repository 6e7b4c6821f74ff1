"""ISIC 2017 and 2018, lesion segmentation, as nnU-Net raw datasets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError, size_text
from ..files.atomic import atomic_folder
from ..files.photographs import read_photograph, upright_size, write_png
from ..files.processes import check_num_processes, progress, run_parallel
from .isic_release import Case, Release, find_release
from .masks import read_mask
from .raw_dataset import (
    SEED,
    Fold,
    new_dataset_folder,
    next_steps,
    note_on_earlier_preprocessing,
    seeded_split,
    write_dataset_json,
    write_splits,
)


def convert_isic(
    release_folder: Path,
    dataset_id: int,
    year: int,
    *,
    size: int | None = 256,
    split: str = "auto",
    num_processes: int = 8,
    overwrite: bool = False,
) -> Path:
    """Write $nnUNet_raw/Dataset{ID}_ISIC{year} and return that folder.

    release_folder: holds the official release folders, or the authors' train/ and val/.
    size: pixels a side; None keeps each image's own size.
    split: "auto" writes the archive's split, or else a seeded 7:3 split, as fold 0; "cv" leaves the folds to nnU-Net.

    Raises:
        InputError: the release or a file in it cannot be used, or the dataset's place; nothing is written then.
    """
    check_num_processes(num_processes)
    target = new_dataset_folder(dataset_id, f"ISIC{year}")
    release = find_release(release_folder, year)
    folds, split_note = _folds(release, split)
    with atomic_folder(target, overwrite=overwrite) as folder:
        _refuse_unequal_sizes([*release.pool, *release.test])
        run_parallel(_convert, _jobs(release, folder, size), num_processes, "Converting")
        if folds:
            write_splits(folder, folds)
        write_dataset_json(folder, _dataset_json(release, year, size, split_note))
    _report(target, dataset_id, release, size, split_note, note_on_earlier_preprocessing(target.name, folds))
    return target


def _folds(release: Release, split: str) -> tuple[list[Fold] | None, str]:
    """The folds to write, and what to call them."""
    if split == "cv":
        if len(release.pool) < 5:
            raise InputError(f"--split cv: nnU-Net makes 5 folds, {len(release.pool)} cases are too few for that")
        return None, "nnU-Net's own five folds"
    if split != "auto":
        raise InputError(f"--split {split}: give auto or cv")
    if release.split:
        return [release.split], "the authors' archive's own split"
    names = [case.name for case in release.pool]
    return [seeded_split(names)], f"seeded 7:3 split (seed {SEED}); the paper's own split was never published"


@dataclass(frozen=True)
class _Job:
    case: Case
    image: Path
    label: Path
    size: int | None


def _jobs(release: Release, folder: Path, size: int | None) -> list[_Job]:
    jobs = []
    for cases, suffix in ((release.pool, "Tr"), (release.test, "Ts")):
        images, labels = folder / f"images{suffix}", folder / f"labels{suffix}"
        if cases:
            images.mkdir()
        if any(case.mask for case in cases):
            labels.mkdir()
        jobs += [_Job(case, images / f"{case.name}_0000.png", labels / f"{case.name}.png", size) for case in cases]
    return jobs


def _convert(job: _Job) -> None:
    write_png(read_photograph(job.case.image, job.size), job.image)
    if job.case.mask:
        write_png(read_mask(job.case.mask, job.size), job.label)


def _refuse_unequal_sizes(cases: list[Case]) -> None:
    """Compare sizes in the headers, so that a release with a wrong file in it is refused in seconds."""
    with progress(total=len(cases), description="Checking") as bar:
        for case in cases:
            image = upright_size(case.image)
            mask = upright_size(case.mask) if case.mask else image
            if image != mask:
                raise InputError(
                    f"{case.mask} is {size_text(mask[::-1])} pixels, its image {case.image} {size_text(image[::-1])}: "
                    f"download both again"
                )
            bar.update()


def _size_text(size: int | None) -> str:
    return f"{size}x{size} pixels" if size else "the images' own sizes"


def _dataset_json(release: Release, year: int, size: int | None, split_note: str) -> dict:
    return {
        "name": f"ISIC{year}",
        "description": f"ISIC {year} challenge, skin lesion segmentation in dermoscopy photographs, {_size_text(size)}",
        "reference": "https://challenge.isic-archive.com/data/",
        "licence": "as stated by the ISIC archive for this release",
        "converted_by": "nnunet-vmunet",
        "split": split_note,
        # Names that nnU-Net does not know: each channel is normalised by its own mean and deviation.
        "channel_names": {"0": "R", "1": "G", "2": "B"},
        "labels": {"background": 0, "lesion": 1},
        "numTraining": len(release.pool),
        "file_ending": ".png",
        "overwrite_image_reader_writer": "WholeImage2DIO",
    }


def _report(
    target: Path, dataset_id: int, release: Release, size: int | None, split_note: str, note: str | None
) -> None:
    print(f"Wrote {target}: {len(release.pool)} cases, {_size_text(size)}")
    if release.test:
        without = "" if release.test[0].mask else ", without masks because the release has none for them"
        print(f"Test release: {len(release.test)} cases in imagesTs{without}")
    print(f"Split: {split_note}")
    if note:
        print(note)
    print(next_steps(dataset_id))
