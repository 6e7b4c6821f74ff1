"""`weights import --dataset`: which dataset is meant, its network, and what of it cannot be used."""

import json
from pathlib import Path

import pytest
import torch

from nnunet_vmunet.errors import InputError
from nnunet_vmunet.models import VMUNet
from nnunet_vmunet.plans import paper_architecture
from nnunet_vmunet.weights.target import Target, target_for_dataset

LESIONS = {"channel_names": {"0": "R", "1": "G", "2": "B"}, "labels": {"background": 0, "lesion": 1}}
ORGANS = {"modality": {"0": "CT"}, "labels": {"background": 0, "liver": 1, "spleen": 2}}
DESCRIPTION = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "lesion": 1}}
SMALL = {"depths": [1, 1], "depths_decoder": [1, 1], "dims": [8, 16], "d_state": 4}


class Variant(VMUNet):
    """A user's own."""


@pytest.fixture
def planned(tmp_path, monkeypatch):
    """A target for a dataset whose plans hold this architecture."""
    folder = tmp_path / "Dataset118_Lesions"
    folder.mkdir()
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path))
    description = {"channel_names": {"0": "R", "1": "G", "2": "B"}, "labels": {"background": 0, "lesion": 1}}
    (folder / "dataset.json").write_text(json.dumps(description))

    def target(architecture):
        plans = {"configurations": {"2d": {"architecture": architecture}}}
        (folder / "nnUNetPlans.json").write_text(json.dumps(plans))
        return target_for_dataset("118")

    return target


def test_a_variant_is_built_with_the_planned_sizes(planned):
    name = f"{__name__}.Variant"
    target = planned({**paper_architecture(), "network_class_name": name, "arch_kwargs": SMALL})
    network = target.network(seed=0)
    assert type(network).__name__ == "Variant"
    assert (target.input_channels, target.num_classes) == (3, 2)
    assert [stage.blocks[0].norm.weight.numel() for stage in network.encoder.stages] == [8, 16]
    for again, tensor in zip(target.network(seed=0).parameters(), network.parameters(), strict=True):
        assert torch.equal(again, tensor)


def test_plans_for_another_network_stand_for_the_papers(planned):
    unet = {"network_class_name": "somewhere.UNet", "arch_kwargs": {"n_stages": 3}, "_kw_requires_import": []}
    assert planned(unet).architecture == paper_architecture()


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


@pytest.fixture
def dataset_refused(refused, tmp_path, monkeypatch):
    """Import for a dataset of these two files, which is refused; the weights themselves are not even opened."""
    folder = tmp_path / "Dataset900_Größe"
    folder.mkdir()
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path))

    def refuse(dataset_json: str, plans: str | None = None) -> str:
        (folder / "dataset.json").write_text(dataset_json)
        if plans is not None:
            (folder / "nnUNetPlans.json").write_text(plans)
        output = tmp_path / "imported.pth"
        line = refused("weights", "import", tmp_path / "absent.pth", "-o", output, "--dataset", 900)
        assert str(folder) in line
        assert not output.exists()
        return line

    return refuse


@pytest.mark.parametrize(
    "content",
    ["[]", "3", '"text"', "null", "", '{"labels": ', "[" * 100_000, "\0"],
    ids=["list", "number", "text", "null", "empty", "cut off", "nested", "zero byte"],
)
def test_a_description_of_no_dataset(content, dataset_refused):
    assert "dataset.json" in dataset_refused(content)
    assert "nnUNetPlans.json" in dataset_refused(json.dumps(DESCRIPTION), content)


@pytest.mark.parametrize(
    "wrong",
    [
        {"labels": None},
        {"labels": [0, 1]},
        {"labels": {"background": 0, "lesion": "x"}},
        {"labels": {}},
        {"labels": {"background": 0, "whole": [1, 2]}},
        {"channel_names": 3},
        {"channel_names": None},
        {"labels": {"0": "background", "1": "lesion"}},
    ],
    ids=[
        "no labels",
        "list of labels",
        "label of text",
        "empty labels",
        "regions without order",
        "number of channels",
        "no channels",
        "old style",
    ],
)
def test_a_description_of_wrong_types(wrong, dataset_refused):
    assert "dataset.json" in dataset_refused(json.dumps(DESCRIPTION | wrong))


@pytest.mark.parametrize(
    "configurations",
    [["2d"], {"2d": "text"}, {"2d": {}}, {"2d": {"architecture": "text"}}, {"2d": {"inherits_from": "2d"}}],
    ids=["list", "text", "empty", "architecture of text", "inherits from itself"],
)
@pytest.mark.filterwarnings("ignore:Detected old nnU-Net plans")
def test_plans_of_wrong_types(configurations, dataset_refused):
    plans = json.dumps({"configurations": configurations})
    assert "correct it or plan again" in dataset_refused(json.dumps(DESCRIPTION), plans)


@pytest.mark.parametrize(
    "arch_kwargs",
    [[1], {"sizes": 3}, {"dims": "text"}, {"dims": [10**7, 10**9]}],
    ids=["list", "unknown", "text", "more than any memory"],
)
def test_sizes_that_no_network_has(arch_kwargs):
    with pytest.raises(InputError, match="no network can be made as the plans say"):
        Target(1, 2, paper_architecture() | {"arch_kwargs": arch_kwargs}).network(seed=0)
