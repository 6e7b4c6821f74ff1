"""ISIC 2017 and 2018, lesion segmentation, as nnU-Net raw datasets."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import InputError
from ..files.atomic import atomic_folder
from ..files.processes import check_num_processes, run_parallel
from .isic_release import Release, find_release
from .mask_coding import MaskOptions, decide_coding
from .masks import BlackAndWhite, MaskCoding, survey_mask
from .picture_dataset import check_cases, dataset_json, size_name, write_cases
from .raw_dataset import new_dataset_folder, next_steps, note_on_earlier_preprocessing, write_dataset_json, write_splits
from .splits import NUM_FOLDS, SEED, Fold, seeded_split

_LABEL = "lesion"
_ARCHIVE_THRESHOLD = 128  # from which on the authors' code takes a pixel of their archive's grey masks for lesion
_RELEASED_NAME = re.compile(r"ISIC_\d{7}")


def convert_isic(
    release_folder: Path,
    dataset_id: int,
    year: int,
    *,
    size: int | None = 256,
    split: str = "auto",
    exif: str | None = None,
    num_processes: int = 8,
    overwrite: bool = False,
) -> Path:
    """Write $nnUNet_raw/Dataset{ID}_ISIC{year} and return that folder.

    release_folder: holds the official release folders, or the authors' train/ and val/.
    size: pixels a side; None keeps each image's own size.
    split: "auto" writes the archive's split, or else a seeded 7:3 split, as fold 0; "cv" leaves the folds to nnU-Net.
    exif: "apply" or "ignore", for images whose masks fit turned and not turned.

    Raises:
        InputError: the release or a file in it cannot be used, or the dataset's place; nothing is written then.
    """
    check_num_processes(num_processes)
    target = new_dataset_folder(dataset_id, f"ISIC{year}")
    release = find_release(release_folder, year)
    cases = [*release.pool, *release.test]
    folds, split_note = _folds(release, split)
    with atomic_folder(target, overwrite=overwrite) as folder:
        checked = check_cases(cases, exif=exif, channels=3, num_processes=num_processes)
        coding, mask_note = _coding(release, num_processes)
        write_cases(folder, release.pool, release.test, checked, coding, size, num_processes)
        if folds:
            write_splits(folder, folds)
        content = dataset_json(
            f"ISIC{year}",
            f"ISIC {year} challenge, skin lesion segmentation in dermoscopy photographs",
            checked=checked,
            coding=coding,
            size=size,
            split=split_note,
            count=len(release.pool),
            more={
                "reference": "https://challenge.isic-archive.com/data/",
                "licence": "as stated by the ISIC archive for this release",
                **_release(release, year),
            },
        )
        write_dataset_json(folder, content)
    print(f"Wrote {target}: {len(release.pool)} cases, {size_name(size)}")
    if release.test:
        without = "" if release.test[0].mask else ", without masks because the release has none for them"
        print(f"Test release: {len(release.test)} cases in imagesTs{without}")
    notes = (*checked.notes, mask_note, f"Split: {split_note}", note_on_earlier_preprocessing(target.name, folds))
    print("\n".join(filter(None, notes)))
    print(next_steps(dataset_id))
    return target


def _folds(release: Release, split: str) -> tuple[list[Fold] | None, str]:
    """The folds to write, and what to call them."""
    if split == "cv":
        if len(release.pool) < NUM_FOLDS:
            raise InputError(f"--split cv: nnU-Net makes 5 folds, {len(release.pool)} cases are too few for that")
        return None, "nnU-Net's own five folds"
    if split != "auto":
        raise InputError(f"--split {split}: give auto or cv")
    if release.split:
        return [release.split], "the authors' archive's own split"
    names = [case.name for case in release.pool]
    return [seeded_split(names)], f"seeded 7:3 split (seed {SEED}); the paper's own split was never published"


def _coding(release: Release, num_processes: int) -> tuple[MaskCoding | BlackAndWhite, str | None]:
    """Official masks are black and white, each is checked as it is read; the archive's may have been resized."""
    if not release.split:
        return BlackAndWhite(_LABEL), None
    masks = [case.mask for case in release.pool if case.mask]
    surveys = run_parallel(survey_mask, masks, num_processes, "Looking at masks")
    black_and_white = all(set(survey.counts) <= {0, 255} or set(survey.counts) <= {0, 1} for survey in surveys)
    if black_and_white or any(survey.has_colours for survey in surveys):  # which are refused as they are read
        return BlackAndWhite(_LABEL), None
    return decide_coding(surveys, MaskOptions(labels=f"{_LABEL}=1", threshold=_ARCHIVE_THRESHOLD))


def _release(release: Release, year: int) -> dict[str, str]:
    """The key by which `evaluate` knows the paper's dataset: not for polyps in folders of the same names."""
    names = [case.name for case in [*release.pool, *release.test]]
    return {"release": f"isic{year % 100}"} if all(map(_RELEASED_NAME.fullmatch, names)) else {}
