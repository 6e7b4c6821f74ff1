"""How the Triton kernels are launched, for GPUs that are not here: nothing is launched."""

import pytest
import torch

from nnunet_vmunet.ops.triton_launch import Problem, choose, layout


def problem_on_an_h100(batch: int, side: int, channels: int) -> Problem:
    return Problem("forward", 132, batch, side, side, channels, 16, torch.float32)


@pytest.mark.parametrize(
    "batch, side, channels, programs, longest_chunk",
    [
        pytest.param(32, 64, 192, 768, 4096, id="stage 1, batch 32: whole"),
        pytest.param(1, 64, 192, 24 * 32, 128, id="stage 1, batch 1: cut"),
        pytest.param(1, 8, 1536, 192, 64, id="stage 4, batch 1: a walk is one span"),
    ],
)
def test_walks_are_cut_where_they_are_few(batch, side, channels, programs, longest_chunk):
    problem = problem_on_an_h100(batch, side, channels)
    tiles, chunks, chunk = layout(choose(problem), problem)
    assert tiles * 4 * batch * chunks == programs
    assert chunk == longest_chunk


@pytest.mark.parametrize(
    "kernel, states, channels",
    [
        ("forward", 1, 64),
        ("forward", 2, 64),
        ("backward", 1, 64),
        ("forward", 16, 32),
        ("forward", 64, 32),
        ("backward", 64, 8),
    ],
)
def test_a_program_takes_fewer_channels_the_more_states_but_forward_one_for_every_lane(kernel, states, channels):
    assert problem_on_an_h100(1, 64, 192)._replace(kernel=kernel, states=states).tile == channels


@pytest.mark.parametrize("channels, tile", [(96, 32), (192, 64), (384, 64), (768, 64), (97, 64), (20, 32)])
def test_a_tile_of_one_state_leaves_few_channels_empty(channels, tile):
    assert problem_on_an_h100(1, 64, channels)._replace(states=1).tile == tile
