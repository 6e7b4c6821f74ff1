"""A whole network in half or double precision: forward and backward on every backend that runs here."""

import copy

import pytest
import torch

from nnunet_vmunet.models import MambaUNet, VMamba2UNet, VMUNet
from nnunet_vmunet.models.network import UShapedNetwork

SMALL = {"depths": (1, 1), "depths_decoder": (1, 1), "dims": (32, 64), "d_state": 4}


@pytest.fixture(params=["naive", "blocked", "auto"])
def backend(request, monkeypatch):
    monkeypatch.setenv("NNUNET_VMUNET_SCAN", request.param)


SCALE = 1024  # of the loss, as a training in float16 has it: gradients stay above its smallest number
SMALLEST = {torch.bfloat16: 2.0**-133, torch.float16: 2.0**-24}


def run(network: UShapedNetwork, image: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The logits, and the gradients of the image and of every parameter."""
    network.zero_grad()
    image = image.clone().requires_grad_()
    logits = network(image)
    (SCALE * logits.square().mean()).backward()
    return logits.detach(), {"image": image.grad, **{name: weight.grad for name, weight in network.named_parameters()}}


def distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.double() - expected.double()).norm())


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Relative, over all values of a tensor."""
    return distance(found, expected) / float(expected.double().norm())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("size", [(64, 64), (37, 50)], ids=str)
def test_half_precision_costs_little_more_than_rounding_the_weights(backend, dtype, size):
    torch.manual_seed(0)
    assert_half_costs_little(VMUNet(3, 2, **SMALL).eval(), torch.randn(2, 3, *size), dtype)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("network_class", [MambaUNet, VMamba2UNet], ids=lambda network_class: network_class.__name__)
def test_half_precision_costs_the_family_no_more(network_class, dtype):
    torch.manual_seed(0)
    sizes = {"depths": (1, 1), "dims": (32, 64), "d_state": 4}
    sizes |= {"depths_decoder": (1, 1)} if network_class is VMamba2UNet else {}
    assert_half_costs_little(network_class(3, 2, **sizes).eval(), torch.randn(2, 3, 37, 50), dtype)


def assert_half_costs_little(network: UShapedNetwork, image: torch.Tensor, dtype: torch.dtype) -> None:
    half = copy.deepcopy(network).to(dtype)
    logits, gradients = run(network, image)
    rounded_logits, rounded_gradients = run(copy.deepcopy(half).float(), image.to(dtype).float())
    half_logits, half_gradients = run(half, image.to(dtype))
    assert half_logits.dtype == dtype
    assert error(half_logits, logits) < 2 * error(rounded_logits, logits)
    allowed = 2 * max(error(rounded_gradients[name], gradient) for name, gradient in gradients.items())
    for name, gradient in gradients.items():
        found = half_gradients[name]
        assert found.dtype == dtype
        below = SMALLEST[dtype] * gradient.numel() ** 0.5  # what the type has no numbers for
        assert distance(found, gradient) < allowed * float(gradient.norm()) + below, name


def test_float64_is_float64_throughout(backend, monkeypatch):
    torch.manual_seed(0)
    network, image = VMUNet(3, 2, **SMALL).eval().double(), torch.randn(1, 3, 64, 64).double()
    logits, gradients = run(network, image)
    monkeypatch.setenv("NNUNET_VMUNET_SCAN", "naive")
    expected, expected_gradients = run(network, image)
    assert error(logits, expected) < 1e-13
    for name, gradient in gradients.items():
        assert error(gradient, expected_gradients[name]) < 1e-11, name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_a_network_of_half_precision_trains(dtype):
    """Stochastic depth and the optimiser too: a step against the gradient makes the loss smaller."""
    torch.manual_seed(0)
    network = VMUNet(3, 2, **SMALL, drop_path_rate=0.5).to(dtype).train()
    image = torch.randn(2, 3, 32, 32).to(dtype)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    losses = []
    for _ in range(3):
        torch.manual_seed(1)  # the same blocks are dropped
        loss = network(image).float().square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[2] < losses[1] < losses[0]
