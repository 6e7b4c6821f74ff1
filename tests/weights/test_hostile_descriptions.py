"""`weights import --dataset` where dataset.json or the plans hold anything but what nnU-Net writes."""

import json

import pytest

from nnunet_vmunet.architecture import paper_architecture
from nnunet_vmunet.errors import InputError
from nnunet_vmunet.weights.target import Target

DESCRIPTION = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "lesion": 1}}


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
    ],
    ids=[
        "no labels",
        "list of labels",
        "label of text",
        "empty labels",
        "regions without order",
        "number of channels",
        "no channels",
    ],
)
def test_a_description_of_wrong_types(wrong, dataset_refused):
    assert "not as nnU-Net writes it" in dataset_refused(json.dumps(DESCRIPTION | wrong))


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
    with pytest.raises(InputError, match="no VM-UNet can be made as the plans say"):
        Target(1, 2, paper_architecture() | {"arch_kwargs": arch_kwargs}).network(seed=0)
