import math

import numpy as np
import pytest
import torch

from nnunet_vmunet.models.ss2d import SS2D, VSSBlock


@pytest.fixture(params=["naive", "blocked", "auto"])
def backend(request, monkeypatch):
    monkeypatch.setenv("NNUNET_VMUNET_SCAN", request.param)


def test_output_and_gradient_match_the_original(golden, relative_error, backend):
    ss2d = SS2D(dim=12, d_state=16)
    ss2d.load_state_dict(golden.state_dict("ss2d_d12_shapes.json"))
    numbers = golden.numbers("ss2d_d12_6x10.npz")
    x = torch.from_numpy(numbers["x"]).requires_grad_()
    y = ss2d(x)
    y.square().mean().backward()
    assert relative_error(y, numbers["y"]) < 1e-4
    assert relative_error(x.grad, numbers["grad_x"]) < 1e-4


def test_initial_scan_parameters_are_mambas():
    ss2d = SS2D(dim=32, d_state=16)
    assert torch.allclose(ss2d.A_logs.exp(), torch.arange(1.0, 17).expand(4 * 64, 16))
    assert torch.equal(ss2d.Ds, torch.ones(4 * 64))
    step = torch.nn.functional.softplus(ss2d.dt_projs_bias)
    assert 1e-3 * 0.999 <= step.min() <= step.max() <= 1e-1 * 1.001
    assert ss2d.dt_projs_weight.abs().max() <= 2**-0.5  # rank 2


@pytest.mark.parametrize(("dim", "rank"), [(12, 1), (16, 1), (17, 2), (96, 6)])
def test_rank_of_the_step_is_a_sixteenth_of_the_channels_rounded_up(dim, rank):
    assert SS2D(dim).dt_rank == rank == math.ceil(dim / 16)


def test_weights_reach_every_direction():
    ss2d = SS2D(dim=4)
    ss2d(torch.randn(1, 5, 3, 4)).square().sum().backward()
    gradients = ss2d.x_proj_weight.grad.abs().amax((1, 2))
    assert np.all(gradients.numpy() > 0)


def test_vss_block_is_a_residual():
    block = VSSBlock(dim=8, d_state=4, drop_path_rate=0.0)
    torch.nn.init.zeros_(block.ss2d.out_proj.weight)
    x = torch.randn(2, 3, 5, 8)
    assert torch.equal(block(x), x)
