"""Which files are compared: two named folders, or a trained fold's under nnU-Net's names."""

import json

import numpy as np
import pytest

from nnunet_vmunet.errors import InputError
from nnunet_vmunet.evaluation.label_folders import given_folders, trained_fold
from nnunet_vmunet.evaluation.paper import synapse_dice

BLANK = np.zeros((4, 4), np.uint8)
LABELS = {"background": 0, "lesion": 1}


@pytest.fixture
def three(pairs):
    for name in ("a", "b", "c"):
        pairs.add(f"{name}.png", BLANK, BLANK)
    return pairs


def names(folders) -> list[str]:
    return [case.name for case in folders.cases()]


def fold_0(dataset: str = "118"):
    return trained_fold(dataset, "0", "nnUNetTrainerVMUNet", "nnUNetPlans", "2d")


def test_files_are_paired_by_name_and_what_is_no_label_image_is_ignored(three):
    for name in ("plans.json", "a.npz", ".a.png", "notes.txt"):
        (three.predictions / name).write_text("{}")
    (three.predictions / "metrics").mkdir()
    assert names(given_folders(three.predictions, three.references)) == ["a", "b", "c"]


def test_prediction_and_reference_may_differ_in_ending(pairs):
    pairs.add("a.png", BLANK, None)
    pairs.add("a.bmp", None, BLANK)
    (pairs.references / "a.bmp").touch()
    assert names(given_folders(pairs.predictions, pairs.references)) == ["a"]


def test_the_file_ending_of_the_dataset_json_decides(three):
    three.add("a.nii.gz", BLANK[None], BLANK[None])
    with pytest.raises(InputError, match=r"a.nii.gz and .*a.png are the same case: remove one of them"):
        given_folders(three.predictions, three.references)
    (three.predictions / "dataset.json").write_text(json.dumps({"file_ending": ".png"}))
    found = given_folders(three.predictions, three.references).cases()
    assert [case.prediction.name for case in found] == ["a.png", "b.png", "c.png"]


def test_chill_leaves_out_what_was_not_predicted(three):
    (three.predictions / "b.png").unlink()
    assert names(given_folders(three.predictions, three.references, chill=True)) == ["a", "c"]
    with pytest.raises(
        InputError, match=r"references/b.png has no prediction in .*predictions: predict it, or remove it"
    ):
        names(given_folders(three.predictions, three.references))


def test_a_folder_against_itself_is_refused(three):
    with pytest.raises(InputError, match="a prediction would be compared with itself"):
        given_folders(three.predictions, three.predictions / ".." / "predictions")


@pytest.mark.parametrize("option", ["-p", "-r"])
def test_what_is_no_folder_is_refused(three, tmp_path, option):
    given = {"-p": three.predictions, "-r": three.references, option: tmp_path / "gone"}
    with pytest.raises(InputError, match=f"gone is no folder: give one of label images as {option}"):
        given_folders(given["-p"], given["-r"])


def test_an_empty_folder_is_refused(three, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty holds no label images \(.*\.nii\.gz"):
        names(given_folders(tmp_path / "empty", three.references))


def test_a_broken_dataset_json_is_named(three):
    (three.predictions / "dataset.json").write_text("{")
    with pytest.raises(InputError, match=r"dataset\.json cannot be read"):
        given_folders(three.predictions, three.references)


@pytest.mark.parametrize("dataset", ["118", "Dataset118_ISIC2018"])
def test_a_trained_fold_is_its_validation_cases(trained, dataset):
    fold = trained("Dataset118_ISIC2018", ".png", LABELS)
    fold.add("a", BLANK, BLANK)
    fold.add("b", None, BLANK)
    fold.split("a")
    found = fold_0(dataset)
    assert names(found) == ["a"]
    assert (found.dataset_name, found.dataset_json.labels) == ("Dataset118_ISIC2018", {"lesion": (1,)})
    assert found.fold == fold.model / "fold_0"


def test_a_validation_case_that_was_not_predicted_is_named(trained):
    fold = trained("Dataset118_ISIC2018", ".png", LABELS)
    fold.add("a", BLANK, BLANK)
    fold.add("b", None, BLANK)
    fold.split("a", "b")
    with pytest.raises(InputError, match=r"gt_segmentations/b\.png has no prediction in .*fold_0/validation"):
        fold_0().cases()


def test_a_prediction_of_an_earlier_split_is_named(trained):
    fold = trained("Dataset118_ISIC2018", ".png", LABELS)
    fold.add("a", BLANK, BLANK)
    fold.add("old", BLANK, BLANK)
    fold.split("a")
    with pytest.raises(InputError, match=r"validation/old\.png is no case of this fold's validation"):
        fold_0().cases()


@pytest.mark.parametrize("split", [None, []], ids=["no file", "fewer folds"])
def test_without_a_split_whatever_was_predicted_counts(trained, split):
    fold = trained("Dataset118_ISIC2018", ".png", LABELS)
    fold.add("a", BLANK, BLANK)
    fold.add("b", None, BLANK)
    if split is not None:
        (fold.preprocessed / "splits_final.json").write_text(json.dumps(split))
    assert names(fold_0()) == ["a"]


def test_another_model_is_told_what_there_is(trained):
    trained("Dataset118_ISIC2018", ".png", LABELS)
    with pytest.raises(InputError, match=r"choose with -tr, -pl, -c and -f among nnUNetTrainerVMUNet__nnUNetPlans__2d"):
        trained_fold("118", "3", "nnUNetTrainer", "nnUNetPlans", "2d")


def test_a_fold_without_validation_is_told(trained):
    fold = trained("Dataset118_ISIC2018", ".png", LABELS)
    (fold.validation / "summary.json").unlink()
    fold.validation.rmdir()
    with pytest.raises(InputError, match=r"no fold in .*Dataset118_ISIC2018 has finished its validation"):
        fold_0()


def test_references_that_are_gone_are_told(trained):
    trained("Dataset118_ISIC2018", ".png", LABELS).references.rmdir()
    with pytest.raises(InputError, match=r"gt_segmentations is not there: run nnUNetv2_plan_and_preprocess"):
        fold_0()


def test_an_id_without_model_and_one_with_two_names_are_told(trained):
    trained("Dataset118_ISIC2018", ".png", LABELS)
    with pytest.raises(InputError, match=r"-d 119: .*results holds no trained model of that dataset"):
        fold_0("119")
    trained("Dataset118_Other", ".png", LABELS)
    with pytest.raises(InputError, match=r"holds Dataset118_ISIC2018 and Dataset118_Other, give the whole name"):
        fold_0()


@pytest.mark.parametrize("variable", ["nnUNet_results", "nnUNet_preprocessed"])
def test_nnunets_folders_must_be_set(trained, monkeypatch, variable):
    trained("Dataset118_ISIC2018", ".png", LABELS)
    monkeypatch.delenv(variable)
    with pytest.raises(InputError, match=f"{variable} is not set: export {variable}=FOLDER"):
        fold_0()


@pytest.mark.parametrize("options", ["", "-p P", "-d 1", "-p P -d 1", "-p P -r R -d 1 -f 0", "-p P -f 0"])
@pytest.mark.parametrize("task", ["labels", "isic", "synapse"])
def test_two_folders_or_a_fold(refused, task, options):
    assert "as -p and -r, or a trained fold as -d and -f" in refused("evaluate", task, *options.split())


@pytest.mark.parametrize(
    ("organ", "dice"),
    [
        ("left kidney", 86.16),
        ("kidney_right", 82.76),
        ("Kidney (left)", 86.16),
        ("Liver", 94.17),
        ("oesophagus", None),
        ("kidney", None),
    ],
)
def test_organs_are_found_however_they_are_written(organ, dice):
    assert synapse_dice(organ) == dice
