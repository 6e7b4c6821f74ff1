"""`weights import --dataset`: which dataset is meant, and what of it cannot be used."""

import json
from pathlib import Path

import pytest

from nnunet_vmunet.errors import InputError
from nnunet_vmunet.weights.target import target_for_dataset

LESIONS = {"channel_names": {"0": "R", "1": "G", "2": "B"}, "labels": {"background": 0, "lesion": 1}}
ORGANS = {"modality": {"0": "CT"}, "labels": {"background": 0, "liver": 1, "spleen": 2}}


@pytest.fixture
def datasets(tmp_path, monkeypatch) -> Path:
    """The folder with nnU-Net's two, which hold some datasets."""
    contents = {
        "nnUNet_preprocessed/Dataset117_Lesions/dataset.json": LESIONS,
        "nnUNet_preprocessed/Dataset118_Cut/dataset.json": LESIONS,
        "nnUNet_preprocessed/Dataset118_Whole/dataset.json": LESIONS,
        "nnUNet_preprocessed/Dataset119_Volumes/dataset.json": ORGANS,
        "nnUNet_preprocessed/Dataset119_Volumes/nnUNetPlans.json": {"configurations": {"3d_fullres": {}}},
        "nnUNet_raw/Dataset027_Synapse/dataset.json": ORGANS,
    }
    for variable in ("nnUNet_preprocessed", "nnUNet_raw"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(json.dumps(content))
    return tmp_path


@pytest.mark.parametrize(
    ("dataset", "name", "channels", "classes"),
    [
        ("117", "Dataset117_Lesions", 3, 2),
        ("Dataset118_Cut", "Dataset118_Cut", 3, 2),
        ("27", "Dataset027_Synapse", 1, 3),  # not planned yet, and described as nnU-Net once did
    ],
)
def test_an_id_or_a_name_finds_it(dataset, name, channels, classes, datasets):
    target = target_for_dataset(dataset)
    assert target.dataset is not None
    assert (target.dataset.name, target.input_channels, target.num_classes) == (name, channels, classes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["118"], "holds Dataset118_Cut and Dataset118_Whole, give the name"),
        (["117", "nnUNetVMUNetPlans"], "nnUNetVMUNetPlans.json is not there: plan first"),
        (["119"], "nnUNetPlans.json has no configuration 2d: plan with -c 2d"),
    ],
    ids=["two of one id", "other plans", "3D alone"],
)
def test_what_cannot_be_used_is_named(arguments, message, datasets):
    with pytest.raises(InputError, match=message):
        target_for_dataset(*arguments)


def test_without_the_folders_of_nnunet_numbers_are_asked_for(monkeypatch):
    for variable in ("nnUNet_preprocessed", "nnUNet_raw"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(InputError, match="export them, or give --input-channels and --num-classes"):
        target_for_dataset("118")


def test_an_unreadable_description_is_named(datasets):
    file = datasets / "nnUNet_preprocessed" / "Dataset117_Lesions" / "dataset.json"
    file.write_text("{half")
    with pytest.raises(InputError, match=f"{file} cannot be read, copy it again"):
        target_for_dataset("117")
