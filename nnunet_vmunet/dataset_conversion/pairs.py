"""Any folder of images and masks as an nnU-Net raw dataset."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import InputError
from ..files.atomic import atomic_folder
from ..files.case_groups import Groups, likely_group, read_groups
from ..files.processes import check_num_processes, run_parallel
from .mask_coding import MaskOptions, decide_coding
from .masks import survey_mask
from .pair_folders import Pairs, pairs_below, pairs_of
from .picture_dataset import EXIF_CHOICES, Case, check_cases, dataset_json, size_name, write_cases
from .raw_dataset import new_dataset_folder, next_steps, note_on_earlier_preprocessing, write_dataset_json, write_splits
from .splits import NUM_FOLDS, SEED, Fold, grouped_folds, read_split, refuse_divided_groups, seeded_split


def convert_pairs(
    source: Path | tuple[Path, Path],
    dataset_id: int,
    name: str,
    *,
    masks: MaskOptions | None = None,
    size: int | None = None,
    split: str = "auto",
    group: str | None = None,
    exif: str | None = None,
    num_processes: int = 8,
    overwrite: bool = False,
) -> Path:
    """Write $nnUNet_raw/Dataset{ID}_{name} and return that folder.

    source: a folder that holds images and masks, or the two folders.
    size: pixels a side; None keeps each image's own size.
    split: "auto" takes the folders' own, or else a seeded 7:3 split, as fold 0; "cv" leaves the folds to nnU-Net; or
    a file, see `splits.read_split`.
    group: a regular expression for what the names of one patient's cases share; none is on both sides of a split.
    exif: "apply" or "ignore", for images whose masks fit turned and not turned.

    Raises:
        InputError: a file or an option cannot be used, or the dataset's place; nothing is written then.
    """
    check_num_processes(num_processes)
    if not re.fullmatch(r"[\w.-]+", name):
        raise InputError(f"--name {name}: give a name of letters, digits, _ and -, such as Polyps")
    if exif not in (None, *EXIF_CHOICES):
        raise InputError(f"--exif {exif}: give {' or '.join(EXIF_CHOICES)}")
    target = new_dataset_folder(dataset_id, name)
    _refuse_source_in_target(source if isinstance(source, tuple) else (source,), target)
    pairs = pairs_of(*source) if isinstance(source, tuple) else pairs_below(source)
    parts = _with_names_of_their_own(pairs)
    pool, test = [*parts[""], *parts["train"], *parts["val"]], parts["test"]
    if not pool:
        raise InputError(f"{test[0].image} and the others are to test on: there is nothing to train on")
    folds, split_text, split_notes = _folds(parts, pool, split, group)
    with atomic_folder(target, overwrite=overwrite) as folder:
        checked = check_cases([*pool, *test], exif=exif, num_processes=num_processes)
        drawn = [case.mask for case in [*pool, *test] if case.mask]
        surveys = run_parallel(survey_mask, drawn, num_processes, "Looking at masks")
        coding, mask_text = decide_coding(surveys, masks or MaskOptions())
        write_cases(folder, pool, test, checked, coding, size, num_processes)
        if folds:
            write_splits(folder, folds)
        description = f"{len(pool)} images and masks"
        content = dataset_json(
            name, description, checked=checked, coding=coding, size=size, split=split_text, count=len(pool)
        )
        write_dataset_json(folder, content)
    print("\n".join(pairs.how))
    print(f"Wrote {target}: {len(pool)} cases, {size_name(size)}{f', and {len(test)} to test on' if test else ''}")
    for line in (f"Channels: {', '.join(content['channel_names'].values())}", *checked.notes, mask_text):
        print(line)
    print("\n".join((f"Split: {split_text}", *split_notes)))
    note = note_on_earlier_preprocessing(target.name, folds)
    if note:
        print(note)
    print(next_steps(dataset_id))
    return target


def _refuse_source_in_target(source: Sequence[Path], target: Path) -> None:
    """With --overwrite the originals would be gone, and what lies beside them."""
    for folder in source:
        if target.resolve() in (folder.resolve(), *folder.resolve().parents):
            raise InputError(f"{folder} lies in {target}, which would be replaced: choose another -d or --name")


def _with_names_of_their_own(pairs: Pairs) -> dict[str, list[Case]]:
    """Where parts count their images from 1 each, the part's name comes before; the same image twice is refused."""
    by_name: dict[str, Case] = {}
    shared = False
    for case in (case for cases in pairs.parts.values() for case in cases):
        other = by_name.setdefault(case.name, case)
        if other is case:
            continue
        if other.image.parent == case.image.parent or _same_content(other.image, case.image):
            raise InputError(f"{other.image} and {case.image} are the same case: remove one of them")
        shared = True
    if not shared:
        return pairs.parts
    pairs.how.append("Names: train, val and test share some, so each case's name begins with its part")
    renamed = {
        part: [replace(case, name=f"{part or 'all'}_{case.name}") for case in cases]
        for part, cases in pairs.parts.items()
    }
    for cases in renamed.values():
        _refuse_one_name_of_two(cases)
    return renamed


def _refuse_one_name_of_two(cases: Sequence[Case]) -> None:
    """Of different images: neither may be lost."""
    images: dict[str, Path] = {}
    for case in cases:
        other = images.setdefault(case.name, case.image)
        if other is not case.image:
            raise InputError(
                f"{other} and {case.image} have the same name: convert one folder, or rename one and its mask"
            )


def _same_content(one: Path, other: Path) -> bool:
    return one.stat().st_size == other.stat().st_size and one.read_bytes() == other.read_bytes()


def _folds(
    parts: dict[str, list[Case]], pool: Sequence[Case], split: str, group: str | None
) -> tuple[list[Fold] | None, str, list[str]]:
    """The folds to write, what to call them, and what the user should know."""
    names = [case.name for case in pool]
    groups = read_groups(names, group) if group else None
    grouped = f", grouped by {group}" if group else ""
    notes = _notes_on_groups(names, parts["test"], groups, group)
    if split == "cv":
        if len(names) < NUM_FOLDS:
            raise InputError(f"--split cv: nnU-Net makes {NUM_FOLDS} folds, {len(names)} cases are too few for that")
        if groups:
            return grouped_folds(names, groups), f"{NUM_FOLDS} seeded folds (seed {SEED}){grouped}", notes
        return None, "nnU-Net's own five folds", notes
    if split != "auto":
        folds, text = read_split(Path(split), names), f"as {Path(split).name} says"
    elif parts["train"] and parts["val"]:
        fold = {side: sorted(case.name for case in parts[side]) for side in ("train", "val")}
        fold["train"] = sorted([*fold["train"], *(case.name for case in parts[""])])
        folds, text = [fold], "the folders' own"
    else:
        folds, text = [seeded_split(names, groups)], f"seeded 7:3 split (seed {SEED}){grouped}"
    if groups:
        refuse_divided_groups(folds, groups)
    train, val = len(folds[0]["train"]), len(folds[0]["val"])
    of_groups = (
        f" ({_count_groups(folds[0], 'train', groups)} and {_count_groups(folds[0], 'val', groups)} groups)"
        if groups
        else ""
    )
    notes.insert(0, f"Fold 0: {train} cases for training, {val} for validation{of_groups}")
    return folds, text, notes


def _count_groups(fold: Fold, side: str, groups: Groups) -> int:
    return len({groups[name] for name in fold[side]})


def _notes_on_groups(names: list[str], test: list[Case], groups: Groups | None, group: str | None) -> list[str]:
    if not groups or not group:
        likely = likely_group(names)
        if likely is None:
            return []
        return [f"Note: several names share a beginning; if that is one patient, give --group '{likely}'"]
    if not test:
        return []
    both = set(read_groups([case.name for case in test], group).values()) & set(groups.values())
    return [f"Note: {len(both)} groups are in training and test, such as {min(both)}"] if both else []
