"""Where nnU-Net keeps raw datasets, and what it would keep of an earlier one."""

import json

import pytest

from nnunet_vmunet.dataset_conversion.raw_dataset import new_dataset_folder, note_on_earlier_preprocessing
from nnunet_vmunet.errors import InputError

FOLDS = [{"train": ["a", "b"], "val": ["c"]}]


def test_the_folder_is_named_after_id_and_name(raw):
    assert new_dataset_folder(7, "ISIC2018") == raw / "Dataset007_ISIC2018"


@pytest.mark.parametrize("dataset_id", [0, -1, 1000])
def test_ids_run_from_1_to_999(raw, dataset_id):
    with pytest.raises(InputError, match=f"-d {dataset_id}: nnU-Net's dataset ids run from 1 to 999"):
        new_dataset_folder(dataset_id, "X")


def test_an_unset_variable_is_told(raw, monkeypatch):
    monkeypatch.delenv("nnUNet_raw")
    with pytest.raises(InputError, match="nnUNet_raw is not set: export nnUNet_raw=FOLDER"):
        new_dataset_folder(1, "X")


def test_a_folder_that_does_not_exist_is_told(raw):
    raw.rmdir()
    with pytest.raises(InputError, match=f"nnUNet_raw is {raw}, which is no folder: create it"):
        new_dataset_folder(1, "X")


def test_a_folder_without_permission_is_told(raw, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(InputError, match=f"nnUNet_raw is {raw}, which you may not write to"):
        new_dataset_folder(1, "X")


@pytest.mark.parametrize("place", ["raw", "preprocessed", "results"])
def test_an_id_under_another_name_is_refused(raw, place):
    other = raw.parent / place / "Dataset118_Other"
    other.mkdir(parents=True)
    with pytest.raises(InputError, match=f"-d 118 is taken by {other}: choose another id"):
        new_dataset_folder(118, "ISIC2018")


def earlier(raw, folds=None):
    folder = raw.parent / "preprocessed" / "Dataset118_ISIC2018"
    folder.mkdir(parents=True)
    if folds is not None:
        (folder / "splits_final.json").write_text(json.dumps(folds))


def test_no_note_without_an_earlier_conversion(raw):
    assert note_on_earlier_preprocessing("Dataset118_ISIC2018", FOLDS) is None


@pytest.mark.parametrize("same", [FOLDS, [{"train": ["b", "a"], "val": ["c"]}], FOLDS + FOLDS])
def test_equal_splits_of_an_earlier_conversion_are_no_trouble(raw, same):
    earlier(raw, same)
    assert "fingerprint" in note_on_earlier_preprocessing("Dataset118_ISIC2018", FOLDS)


@pytest.mark.parametrize(
    ("old", "new"),
    [([{"train": ["a"], "val": ["b"]}], FOLDS), (FOLDS, None), ("broken", FOLDS), ([], FOLDS)],
    ids=["other_cases", "cv", "broken", "no_folds"],
)
def test_other_splits_of_an_earlier_conversion_are_told(raw, old, new):
    earlier(raw, old)
    note = note_on_earlier_preprocessing("Dataset118_ISIC2018", new)
    assert note.startswith("Delete ")
    assert "splits_final.json differs" in note
    assert "\n" not in note
