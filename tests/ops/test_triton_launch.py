"""How the Triton kernels are launched, for GPUs that are not here: nothing is launched."""

import pytest
import torch

from nnunet_vmunet.ops.triton_launch import TUNE, Launch, Problem, candidates, choose, from_table, layout, tune


def problem_on_an_h100(batch: int, side: int, channels: int) -> Problem:
    return Problem("forward", 90, 132, batch, side, side, channels, 16, torch.float32)


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
    tiles, chunks, chunk = layout(from_table(problem), problem)
    assert tiles * 4 * batch * chunks == programs
    assert chunk == longest_chunk


@pytest.mark.parametrize("batch, side, channels, finest", [(32, 64, 192, 4), (1, 64, 192, 64), (1, 8, 1536, 1)])
def test_tuner_tries_whole_walks_and_ever_finer_cuts(batch, side, channels, finest):
    problem = problem_on_an_h100(batch, side, channels)
    tried = [launch.chunks for launch in candidates(problem) if launch.block == 4]
    assert tried == [chunks for chunks in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64) if chunks <= finest]


def test_tuner_takes_the_fastest_and_prints_it(monkeypatch, capsys):
    problem = problem_on_an_h100(32, 64, 192)
    testing = pytest.importorskip("triton.testing")
    monkeypatch.setattr(testing, "do_bench", lambda run, **_: run())
    best = tune(problem, lambda launch: abs(launch.chunks - 3) + launch.block)
    assert best == Launch(block=2, chunks=3)
    assert "batch=32, height=64" in (printed := capsys.readouterr().out)
    assert "Launch(block=2, chunks=3), of (2, 1) 4.000 ms, (2, 2) 3.000 ms" in printed


def test_nothing_is_timed_unless_asked_for_and_without_a_gpu(monkeypatch):
    problem = problem_on_an_h100(32, 64, 192)

    def run(launch):
        raise AssertionError(launch)

    monkeypatch.delenv(TUNE, raising=False)
    assert choose(problem, run) == from_table(problem)
    monkeypatch.setenv(TUNE, "1")
    interpreted = problem._replace(capability=0)
    assert choose(interpreted, run) == from_table(interpreted)


@pytest.mark.parametrize("kernel, states, channels", [("forward", 16, 32), ("forward", 64, 32), ("backward", 64, 8)])
def test_a_program_takes_fewer_channels_the_more_states_but_forward_one_for_every_lane(kernel, states, channels):
    assert problem_on_an_h100(1, 64, 192)._replace(kernel=kernel, states=states).tile == channels
