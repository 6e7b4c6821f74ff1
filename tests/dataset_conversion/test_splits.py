"""Training and validation: the seeded 7:3 split, patients that stay together, and splits from files."""

import json

import pytest

from nnunet_vmunet.dataset_conversion.splits import grouped_folds, read_split, refuse_divided_groups, seeded_split
from nnunet_vmunet.errors import InputError
from nnunet_vmunet.files.case_groups import read_groups


def names(count):
    return [f"ISIC_{i:07d}" for i in range(count)]


@pytest.mark.parametrize(
    ("cases", "training"), [(2150, 1500), (2694, 1886), (100, 70), (10, 7), (3, 2), (2, 1)], ids=str
)
def test_counts_are_the_papers_or_seven_tenths(cases, training):
    split = seeded_split(names(cases))
    assert (len(split["train"]), len(split["val"])) == (training, cases - training)


def test_every_case_is_on_one_side():
    split = seeded_split(names(50))
    assert sorted(split["train"] + split["val"]) == names(50)


def test_the_same_names_in_any_order_give_the_same_split():
    assert seeded_split(names(20)) == seeded_split(names(20)[::-1])


def test_the_split_is_pinned():
    """Published results rest on it: it may never change."""
    assert seeded_split(names(10))["val"] == ["ISIC_0000000", "ISIC_0000003", "ISIC_0000005"]


def test_one_case_cannot_be_split():
    with pytest.raises(InputError, match="ISIC_0000000 alone"):
        seeded_split(names(1))


PATIENTS = [f"patient{patient:03d}_slice_{number}" for patient in range(10) for number in range(1 + patient % 4)]
BY_PATIENT = read_groups(PATIENTS, r"patient\d+")


def patients(names) -> set[str]:
    return {name.split("_")[0] for name in names}


def test_a_patient_is_on_one_side():
    split = seeded_split(PATIENTS, BY_PATIENT)
    assert sorted(split["train"] + split["val"]) == sorted(PATIENTS)
    assert not patients(split["train"]) & patients(split["val"])
    assert abs(len(split["train"]) - 0.7 * len(PATIENTS)) <= 2  # half of the largest patient
    assert split == seeded_split(PATIENTS[::-1], BY_PATIENT)


def test_every_case_a_group_of_its_own_is_the_split_without_groups():
    assert seeded_split(names(50), {name: name for name in names(50)}) == seeded_split(names(50))


def test_one_group_cannot_be_split():
    with pytest.raises(InputError, match="the one group a cannot be split"):
        seeded_split(["a1", "a2"], {"a1": "a", "a2": "a"})


def test_five_folds_by_patient_validate_every_case_once():
    folds = grouped_folds(PATIENTS, BY_PATIENT)
    assert len(folds) == 5
    assert sorted(name for fold in folds for name in fold["val"]) == sorted(PATIENTS)
    for fold in folds:
        assert not patients(fold["train"]) & patients(fold["val"])
        assert sorted(fold["train"] + fold["val"]) == sorted(PATIENTS)


def test_four_groups_are_too_few_for_five_folds():
    with pytest.raises(InputError, match="4 groups are too few"):
        grouped_folds(list("abcd"), {name: name for name in "abcd"})


FOLD = {"train": ["a", "c"], "val": ["b"]}


@pytest.mark.parametrize(
    ("name", "text", "folds"),
    [
        ("val.txt", "b\n", [FOLD]),
        ("val.txt", "\ufeffb.png\r\n\r\n", [FOLD]),
        ("val.txt", "b_0000.png", [FOLD]),
        ("val.json", '["b"]', [FOLD]),
        ("fold.json", json.dumps(FOLD), [FOLD]),
        (
            "splits_final.json",
            json.dumps([FOLD, {"train": ["b"], "val": ["c"]}]),
            [FOLD, {"train": ["b"], "val": ["c"]}],
        ),
    ],
    ids=["lines", "windows", "nnunets_names", "json_list", "one_fold", "splits_final"],
)
def test_a_file_says_the_split(tmp_path, name, text, folds):
    (tmp_path / name).write_text(text, newline="")
    assert read_split(tmp_path / name, ["a", "b", "c"]) == folds


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("val.txt", "x", "names x, which is no case"),
        ("val.txt", "a\nb\nc", "leaves no case for training"),
        ("val.txt", "\n", "leaves no case for validation"),
        ("val.json", "{", "cannot be read"),
        ("val.json", "3", "holds no names"),
        ("val.json", '[{"train": ["a"]}]', "is no list of folds"),
        ("val.json", '[{"train": ["a"], "val": "b"}]', "is no list of folds"),
        ("val.json", '[{"train": ["a", "b"], "val": ["b"]}]', "has b in training and validation"),
        ("other.txt", None, "cannot be read: give auto, cv, or a file"),
    ],
    ids=["unknown", "all", "none", "broken", "number", "half", "string", "both", "missing"],
)
def test_files_that_say_no_split_are_refused(tmp_path, name, text, words):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=words):
        read_split(tmp_path / name, ["a", "b", "c"])


def test_a_patient_on_both_sides_of_a_split_is_named():
    groups = {"p1_a": "p1", "p1_b": "p1", "p2_a": "p2"}
    with pytest.raises(InputError, match="p1 would be in training and validation"):
        refuse_divided_groups([{"train": ["p1_a"], "val": ["p1_b", "p2_a"]}], groups)
    refuse_divided_groups([{"train": ["p1_a", "p1_b"], "val": ["p2_a"]}], groups)
