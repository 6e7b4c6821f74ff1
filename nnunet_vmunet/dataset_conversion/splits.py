"""Which cases are for training and which for validation: seeded, by patient, or as a file says."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..files.case_groups import Groups
from ..files.photographs import SUFFIXES

Fold = dict[str, list[str]]

SEED = 0
NUM_FOLDS = 5  # nnU-Net's

# How many of how many cases the paper trained on: ISIC17 and ISIC18, training and validation release together.
_PAPER_TRAINING_COUNTS = {2150: 1500, 2694: 1886}


def seeded_split(names: Sequence[str], groups: Groups | None = None) -> Fold:
    """Split 7:3, at least one case on either side; the same names give the same split everywhere.

    groups: cases of one group stay together, and the sides come as near to 7:3 as that allows.

    Raises:
        InputError: fewer than 2 names, or groups.
    """
    members = _by_group(names, groups)
    if len(members) < 2:
        what = f"{', '.join(names)} alone" if not groups else f"the one group {', '.join(members)}"
        raise InputError(
            f"{what} cannot be split for training and validation: give 2 {'groups' if groups else 'cases'}"
        )
    shuffled = _shuffled(sorted(members))
    sizes = np.cumsum([len(members[group]) for group in shuffled])[:-1]  # of the training side, cut after each group
    wanted = _PAPER_TRAINING_COUNTS.get(len(names), round(0.7 * len(names)))
    cut = int(np.abs(sizes - wanted).argmin()) + 1
    train, val = (sorted(n for group in part for n in members[group]) for part in (shuffled[:cut], shuffled[cut:]))
    return {"train": train, "val": val}


def grouped_folds(names: Sequence[str], groups: Groups) -> list[Fold]:
    """Five folds for cross-validation, which nnU-Net's own would not make by group.

    Raises:
        InputError: fewer than five groups.
    """
    members = _by_group(names, groups)
    if len(members) < NUM_FOLDS:
        raise InputError(f"--split cv: {len(members)} groups are too few for {NUM_FOLDS} folds")
    parts = [_shuffled(sorted(members))[number::NUM_FOLDS] for number in range(NUM_FOLDS)]
    validation = [sorted(name for group in part for name in members[group]) for part in parts]
    return [{"train": sorted(set(names) - set(val)), "val": val} for val in validation]


def read_split(file: Path, names: Collection[str]) -> list[Fold]:
    """The folds that a file names: validation cases, one a line or as a JSON list, or folds as in splits_final.json.

    A name may have an ending, or nnU-Net's _0000.

    Raises:
        InputError: the file cannot be read, or its names are no cases, or a side is empty or shares a case.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
        content = json.loads(text) if file.suffix.lower() == ".json" else text.split("\n")
    except (OSError, ValueError) as error:
        raise InputError(f"--split {file} cannot be read: give auto, cv, or a file of names ({error})") from error
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list) or not content:
        raise InputError(f"--split {file} holds no names: list the validation cases, one a line")
    if all(isinstance(one, str) for one in content):
        val = _cases_named([line.strip() for line in content if line.strip()], names, file)
        return [_checked_fold({"train": sorted(set(names) - set(val)), "val": val}, file)]
    return [
        _checked_fold({side: _listed(one, side, names, file) for side in ("train", "val")}, file) for one in content
    ]


def refuse_divided_groups(folds: Sequence[Fold], groups: Groups) -> None:
    """Raise InputError where a group is on both sides of a fold."""
    for fold in folds:
        both = {groups[name] for name in fold["train"]} & {groups[name] for name in fold["val"]}
        if both:
            raise InputError(
                f"{', '.join(sorted(both)[:5])} would be in training and validation: split by group, or drop --group"
            )


def _by_group(names: Sequence[str], groups: Groups | None) -> dict[str, list[str]]:
    members: dict[str, list[str]] = {}
    for name in names:
        members.setdefault(groups[name] if groups else name, []).append(name)
    return members


def _shuffled(sorted_names: list[str]) -> list[str]:
    # RandomState rather than default_rng: NumPy promises never to change its stream.
    return np.random.RandomState(SEED).permutation(sorted_names).tolist()


def _listed(fold, side: str, names: Collection[str], file: Path) -> list[str]:
    listed = fold.get(side) if isinstance(fold, dict) else None
    if not isinstance(listed, list):
        raise InputError(f'--split {file} is no list of folds: write {{"train": [...], "val": [...]}} for each')
    return _cases_named(listed, names, file)


def _cases_named(listed: Sequence, names: Collection[str], file: Path) -> list[str]:
    found = []
    for one in listed:
        text = str(one)
        stem = text[: -len(Path(text).suffix)] if text.lower().endswith(SUFFIXES) else text
        name = next((name for name in (text, stem, stem.removesuffix("_0000")) if name in names), None)
        if name is None:
            raise InputError(f"--split {file} names {text}, which is no case of this dataset: correct it")
        found.append(name)
    return sorted(set(found))


def _checked_fold(fold: Fold, file: Path) -> Fold:
    for side, purpose in (("train", "training"), ("val", "validation")):
        if not fold[side]:
            raise InputError(f"--split {file} leaves no case for {purpose}: name fewer or more")
    both = set(fold["train"]) & set(fold["val"])
    if both:
        raise InputError(f"--split {file} has {sorted(both)[0]} in training and validation: name it once")
    return fold
