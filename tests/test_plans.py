"""Which of the names in nnU-Net's plans are ours, the network that is built for them, and the paper's batch."""

import pytest
import torch

from nnunet_vmunet.models import VMUNet
from nnunet_vmunet.plans import NETWORK, build_network, network_class, paper_architecture, paper_batch_size

SMALL = {"depths": [1, 1], "depths_decoder": [1, 1], "dims": [8, 16], "d_state": 4}


class Variant(VMUNet):
    """A user's own, in a module that has nothing to do with the package."""


@pytest.mark.parametrize("name", [NETWORK, "nnunet_vmunet.models.vmunet.VMUNet", f"{__name__}.Variant"])
def test_vmunet_and_its_subclasses_are_ours(name):
    assert network_class(name) is not None


@pytest.mark.parametrize(
    "name",
    [
        "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "nnunet_vmunet.models.vmunet",
        "nnunet_vmunet.models.vmunet.Decoder",
        "nnunet_vmunet.models.Absent",
        "absent.models.VMUNet",
        "VMUNet",
        "",
    ],
    ids=["nnU-Net's", "module", "part of ours", "absent class", "absent package", "without its module", "empty"],
)
def test_other_and_absent_names_are_not(name):
    assert network_class(name) is None


def test_a_network_whose_package_lacks_something_is_not_ours(tmp_path, monkeypatch):
    (tmp_path / "lacking_networks.py").write_text("import absent_cuda_extension\n\nclass UMamba: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert network_class("lacking_networks.UMamba") is None


def test_the_class_that_is_named_is_built_with_its_sizes():
    architecture = {**paper_architecture(), "network_class_name": f"{__name__}.Variant", "arch_kwargs": SMALL}
    network = build_network(architecture, input_channels=3, num_classes=2)
    assert type(network).__name__ == "Variant"
    assert network(torch.zeros(1, 3, 16, 16)).shape == (1, 2, 16, 16)
    assert len(network.encoder.stages) == 2


def test_the_papers_entry_is_a_new_one_each_time():
    paper_architecture()["arch_kwargs"]["dims"].clear()
    assert paper_architecture()["arch_kwargs"]["dims"] == [96, 192, 384, 768]


@pytest.mark.parametrize(
    ("patch_size", "training_images", "batch_size"),
    [
        ((256, 256), 1886, 32),  # the paper's
        ((224, 224), 2211, 32),
        ((56, 40), 1000, 32),  # small patches do not make larger batches
        ((512, 512), 1000, 8),  # as many pixels
        ((512, 256), 1000, 16),
        ((300, 300), 1000, 23),
        ((4096, 4096), 1000, 2),  # at least 2
        ((256, 256), 20, 20),  # never more than there are
        ((4096, 4096), 1, 1),
    ],
)
def test_batch_size(patch_size, training_images, batch_size):
    assert paper_batch_size(patch_size, training_images) == batch_size
