"""`weights import --dataset`: the network that the dataset's plans name is the one that is filled."""

import json

import pytest
import torch

from nnunet_vmunet.architecture import paper_architecture
from nnunet_vmunet.models import VMUNet
from nnunet_vmunet.weights.target import target_for_dataset

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
