"""The triton backend in Triton's interpreter, on the CPU. test_triton_gpu runs this file in a process of its own.

pytest does not collect it by itself: TRITON_INTERPRET must be set before Triton is first imported, and the interpreter
takes milliseconds for every step of every program, so images here are tiny and spans short.
"""

import pytest
import torch

from nnunet_vmunet.ops import backends, naive, ss2d_scan, triton_gpu, triton_launch

CPU = torch.device("cpu")
SPAN = 8
SIZES = {
    "one pixel, one state": (1, 1, 1, 3, 1),
    "3 by 5, one state": (1, 3, 5, 5, 1),
    "4 by 4, one state, a full tile and part of another": (1, 4, 4, 100, 1),
    "2 by 3, two states, a full tile": (2, 2, 3, 64, 2),
    "one column, two spans": (1, 16, 1, 1, 4),
    "one row, one step past two spans": (1, 1, 17, 2, 3),
    "3 by 5, part of a tile": (1, 3, 5, 5, 4),
    "7 by 2, a tile and part of another": (1, 7, 2, 40, 16),
    "2 by 2, a full tile": (1, 2, 2, 32, 16),
    "two images": (2, 2, 5, 3, 4),
    "8 by 4, in blocks on one line": (1, 8, 4, 5, 4),
    "4 by 8, in blocks on one line, a full tile": (2, 4, 8, 32, 16),
    "64 states": (1, 3, 3, 9, 64),
}


@pytest.fixture
def launch_with(monkeypatch):
    def launch_with(block: int, programs: int) -> None:
        monkeypatch.setattr(triton_launch, "SPAN", SPAN)
        rule = triton_launch.Rule(block, programs)
        monkeypatch.setattr(triton_launch, "RULE", rule)

    return launch_with


WHOLE, CUT_AT_EVERY_SPAN = 1, 10**6


@pytest.fixture
def one_run(make_inputs):
    """The backend's output and gradients without the operator around it, and float64's."""

    def run(size, dtype=torch.float32) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        inputs = make_inputs(*size, dtype)
        leaves = [tensor.double().requires_grad_() for tensor in inputs]
        y = naive.scan(*leaves)
        dy = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).view_as(y).to(dtype)
        truth = [y.detach(), *torch.autograd.grad(y, leaves, dy.double())]
        x, delta, *others = inputs
        y, states = triton_gpu.forward(x, delta, None, *others, True)
        dx, ddelta, dweight, *grads = triton_gpu.backward(dy, states, x, delta, None, *others)
        assert dweight.numel() == 0
        return [y, dx, ddelta, *grads], truth

    return run


def error(ours: torch.Tensor, truth: torch.Tensor) -> float:
    """Maximum error over maximum value, which at one pixel is 0 for dA."""
    assert ours.shape == truth.shape
    return ((ours.double() - truth).abs().max() / truth.abs().max().clamp(min=1e-30)).item()


@pytest.mark.parametrize("programs", [WHOLE, CUT_AT_EVERY_SPAN], ids=["walks whole", "walks cut at every span"])
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())
def test_matches_float64(size, programs, launch_with, one_run):
    launch_with(4, programs)
    ours, truth = one_run(size)
    assert max(map(error, ours, truth)) < 3e-6


def test_float64(launch_with, one_run):
    launch_with(4, CUT_AT_EVERY_SPAN)
    ours, truth = one_run((1, 3, 5, 5, 4), torch.float64)
    assert max(map(error, ours, truth)) < 1e-14


@pytest.mark.parametrize("block", [2, 8])
def test_other_blocks(block, launch_with, one_run):
    launch_with(block, CUT_AT_EVERY_SPAN)
    ours, truth = one_run((1, 3, 5, 5, 4))
    assert max(map(error, ours, truth)) < 3e-6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_computed_in_float32_and_gradients_rounded_once(dtype, launch_with, one_run):
    launch_with(4, CUT_AT_EVERY_SPAN)
    (y, *grads), (expected_y, *expected) = one_run((1, 3, 5, 5, 4), dtype)
    assert y.dtype == torch.float32
    assert error(y, expected_y) < 3e-6
    for grad, truth in zip(grads, expected, strict=True):
        assert grad.dtype == dtype
        assert error(grad, truth) < torch.finfo(dtype).eps


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_what_autocast_leaves_half_is_read_and_kept_so(dtype, launch_with, make_inputs):
    """x, delta of low rank, B and C, as the network's layers give them; the parameters are float32."""
    launch_with(4, CUT_AT_EVERY_SPAN)
    x, delta, A, B, C, D, bias = make_inputs(1, 3, 5, 5, 4, torch.float32)
    weight = torch.randn(4, 5, 2)
    inputs = [*(t.to(dtype) for t in (x, delta[..., :2])), A, *(t.to(dtype) for t in (B, C)), D, bias, weight]
    kept, leaves = [], [tensor.requires_grad_() for tensor in inputs]
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        y = ss2d_scan(*leaves, backend="triton")
    dy = torch.linspace(-1, 1, y.numel()).view_as(y)
    grads = torch.autograd.grad(y, leaves, dy)
    wide = [tensor.detach().double().requires_grad_() for tensor in inputs]
    truth = naive.scan(*wide)
    assert y.dtype == torch.float32
    assert error(y.detach(), truth.detach()) < 3e-6
    for ours, expected in zip(grads, torch.autograd.grad(truth, wide, dy.double()), strict=True):
        assert error(ours, expected) < max(3e-6, torch.finfo(ours.dtype).eps)
    assert [grad.dtype for grad in grads] == [tensor.dtype for tensor in inputs]
    assert sum(tensor.data_ptr() == x_.data_ptr() for tensor in kept for x_ in leaves[:1]) == 1  # x itself, no copy


def test_repeats_bit_by_bit(launch_with, one_run):
    launch_with(4, CUT_AT_EVERY_SPAN)
    (first, _), (second, _) = one_run((1, 3, 4, 9, 16)), one_run((1, 3, 4, 9, 16))
    assert all(map(torch.equal, first, second))


def test_softplus_is_exact_where_a_fast_logarithm_is_not(make_inputs):
    x, delta, A, B, C, D, bias = make_inputs(1, 2, 2, 5, 4, torch.float32)
    steps = torch.tensor([-80.0, -30.0, -7.0, 21.0, 100.0])  # one channel each: y is one product of its step
    delta = steps.expand_as(delta)
    inputs = (x, delta, A, B, C, 0 * D, 0 * bias)
    truth = naive.scan(*(tensor.double() for tensor in inputs))
    y, _ = triton_gpu.forward(x, delta, None, *inputs[2:], False)
    for channel in range(5):
        assert error(y[..., channel], truth[..., channel]) < 3e-6, steps[channel]


def test_too_many_states(make_inputs):
    x, delta, *others = make_inputs(1, 1, 2, 3, 65, torch.float32)
    with pytest.raises(RuntimeError, match="at most 64 states, got 65"):
        triton_gpu.forward(x, delta, None, *others, False)


def test_runs_on_the_cpu_here_but_is_not_chosen():
    assert backends.why_not("triton", CPU) is None
    assert backends.choose(CPU, "triton") == "triton"
    assert backends.choose(CPU) in ("numba", "blocked")
