from __future__ import annotations

import itertools

import pytest
import torch
from published_weights import filled, our_name, vmamba_shapes, vmunet_shapes
from torch import Tensor

from nnunet_vmunet.models import VMUNet


@pytest.fixture(scope="session")
def vmamba_s() -> dict[str, Tensor]:
    return filled(vmamba_shapes("S"))


@pytest.fixture
def saved(tmp_path):
    """Save something under a new name and return the file."""
    numbers = itertools.count()

    def save(content, **options):
        file = tmp_path / f"weights{next(numbers)}.pth"
        torch.save(content, file, **options)
        return file

    return save


@pytest.fixture(scope="session")
def published() -> dict[str, Tensor]:
    """A checkpoint of the original VM-UNet that computes something: 3 channels, 1 output, its names and prefix."""
    torch.manual_seed(7)
    network = VMUNet(3, 1)
    torch.nn.init.normal_(network.decoder.seg_layers[0].weight)
    ours = network.state_dict()
    return {f"vmunet.{name}": ours[our_name(name)] for name in vmunet_shapes(3, 1)}
