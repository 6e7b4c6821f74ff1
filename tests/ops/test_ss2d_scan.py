"""Every backend against the step-by-step scan in float64: output and every gradient."""

import pytest
import torch

from nnunet_vmunet.ops import backends, ss2d_scan

TOLERANCE = {torch.float32: 3e-6, torch.float64: 1e-12}  # maximum error over maximum value

SIZES = {
    "one pixel": (1, 1, 1, 3, 1),
    "one row": (1, 1, 7, 48, 5),
    "one column": (2, 5, 1, 1, 16),
    "odd, one channel": (1, 3, 5, 1, 5),
    "two images, three tiles": (2, 7, 6, 100, 16),
    "five tiles and three blocks": (1, 9, 8, 200, 5),
    "one state, two images, one channel past a tile": (2, 7, 6, 49, 1),
    "one state, five tiles and three blocks": (1, 9, 8, 200, 1),
}


@pytest.fixture
def assert_close(relative_error):
    def check(ours: dict, truth: dict, tolerance: float) -> None:
        for name in truth:
            if truth[name].abs().max() == 0:
                assert ours[name].abs().max() == 0, name
            else:
                assert relative_error(ours[name], truth[name]) < tolerance, name

    return check


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())
def test_matches_naive_float64(backend, size, dtype, make_inputs, output_and_grads, assert_close):
    inputs = make_inputs(*size, dtype)
    truth = output_and_grads([tensor.double() for tensor in inputs], "naive")
    ours = output_and_grads(inputs, backend)
    assert ours["y"].dtype == dtype
    assert_close(ours, truth, TOLERANCE[dtype])


LOW_RANKS = {  # size, rank
    "five states": ((2, 7, 6, 50, 5), 3),
    "one state": ((2, 7, 6, 49, 1), 3),
    "one state, more ranks than a vector holds": ((1, 5, 7, 35, 1), 19),
}


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("size, rank", LOW_RANKS.values(), ids=LOW_RANKS.keys())
def test_delta_of_low_rank_matches_naive_float64(
    backend, size, rank, dtype, make_inputs, output_and_grads, assert_close
):
    channels = size[3]
    inputs = make_inputs(*size, dtype)
    inputs[1] = inputs[1][..., :rank]
    inputs.append(torch.randn(4, channels, rank, dtype=torch.float64).to(dtype))
    truth = output_and_grads([tensor.double() for tensor in inputs], "naive")
    assert len(truth) == 9
    assert_close(output_and_grads(inputs, backend), truth, TOLERANCE[dtype])


@pytest.mark.parametrize("rank", [None, 3], ids=["full delta", "delta of rank 3"])
def test_autocast_changes_nothing(any_backend, rank, make_inputs):
    inputs = make_inputs(2, 4, 5, 20, 3, torch.float32)
    if rank:
        inputs = [inputs[0], inputs[1][..., :rank], *inputs[2:], torch.randn(4, 20, rank)]
    inputs = [tensor.detach().requires_grad_() for tensor in inputs]
    expected = ss2d_scan(*inputs, backend=any_backend)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = ss2d_scan(*inputs, backend=any_backend)
    torch.testing.assert_close(y, expected, rtol=0, atol=0)
    grads, expected_grads = (torch.autograd.grad(each.square().sum(), inputs) for each in (y, expected))
    torch.testing.assert_close(grads, expected_grads, rtol=0, atol=0)


def test_any_strides(backend, make_inputs, output_and_grads, assert_close):
    inputs = make_inputs(2, 4, 5, 20, 3, torch.float32)
    scattered = [_scatter(tensor) for tensor in inputs]
    assert not any(tensor.is_contiguous() for tensor in scattered)
    assert_close(output_and_grads(scattered, backend), output_and_grads(inputs, backend), 1e-6)


def _scatter(tensor):
    """The same values, every second number in memory, dimensions stored in reverse."""
    reversed_dims = tuple(reversed(range(tensor.ndim)))
    return tensor.permute(reversed_dims).repeat_interleave(2, -1)[..., ::2].permute(reversed_dims)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_computed_in_float32(backend, dtype, make_inputs):
    inputs = [tensor.to(dtype) for tensor in make_inputs(1, 4, 5, 20, 3)]
    expected = ss2d_scan(*[tensor.float() for tensor in inputs], backend=backend)
    with torch.autocast("cpu", dtype=dtype):
        y = ss2d_scan(*inputs, backend=backend)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, expected, rtol=0, atol=0)


def test_half_precision_gradients_have_the_inputs_dtype(backend, make_inputs, output_and_grads):
    inputs = [tensor.bfloat16() for tensor in make_inputs(1, 4, 5, 20, 3)]
    grads = output_and_grads(inputs, backend)
    del grads["y"]
    assert all(grad.dtype == torch.bfloat16 and grad.isfinite().all() for grad in grads.values())


EXTREMES = {  # x, step before softplus, A: largest value of each
    "large steps": (1, 100, 1),
    "steps of 1e-9": (1, -20, 1),
    "steps of 1e-13": (1, -30, 1),
    "fast decay": (1, 1, 1e3),
    "fast decay, large steps": (1, 100, 1e3),
    "no decay": (1, 1, 1e-30),
    "large inputs": (6e4, 1, 1),
    "all at once": (6e4, 100, 1e3),
}


@pytest.mark.parametrize("x_max, step, A_max", EXTREMES.values(), ids=EXTREMES.keys())
def test_extremes(backend, x_max, step, A_max, make_inputs, output_and_grads, assert_close):
    x, delta, A, B, C, D, delta_bias = make_inputs(1, 6, 7, 20, 5, torch.float32)
    delta = step * torch.rand(delta.shape) if step > 0 else step + torch.rand(delta.shape)
    inputs = [x_max * x / x.abs().max(), delta, A_max * A / A.abs().max(), B, C, D, 0 * delta_bias]
    truth = output_and_grads([tensor.double() for tensor in inputs], "naive")
    ours = output_and_grads(inputs, backend)
    assert all(tensor.isfinite().all() for tensor in ours.values())
    assert_close(ours, truth, 1e-5)


def test_nan_is_passed_on(backend, make_inputs):
    for spoilt in range(7):
        inputs = make_inputs(1, 3, 3, 20, 3, torch.float32)
        inputs[spoilt] = torch.full_like(inputs[spoilt], torch.nan)
        assert ss2d_scan(*inputs, backend=backend).isnan().all(), spoilt


@pytest.mark.parametrize("states", [1, 16])
def test_repeats_bit_by_bit(backend, states, make_inputs, output_and_grads):
    inputs = make_inputs(1, 9, 8, 200, states, torch.float32)
    first, second = output_and_grads(inputs, backend), output_and_grads(inputs, backend)
    for name in first:
        assert torch.equal(first[name], second[name]), name


@pytest.mark.parametrize("states", [1, 5])
def test_kept_states_have_the_announced_shape(backend, states, make_inputs):
    x, delta, A, *others = make_inputs(2, 9, 5, 20, states, torch.float32)
    module = backends.load(backend)
    _, kept = module.forward(x, delta, None, A, *others, True)
    assert kept.shape == module.states_shape(x, A)


def test_shapes_that_do_not_fit(make_inputs):
    x, delta, A, B, C, D, delta_bias = make_inputs(1, 3, 4, 5, 2)
    with pytest.raises(ValueError, match=r"B must be \(1, 3, 4, 4, 2\).*got \(1, 3, 4, 4, 1\)"):
        ss2d_scan(x, delta, A, B[..., :1], C, D, delta_bias)
    with pytest.raises(ValueError, match=r"D must be \(4, 5\).*got \(5, 4\)"):
        ss2d_scan(x, delta, A, B, C, D.T, delta_bias)


@pytest.mark.parametrize("shape", [(0, 3, 4, 5), (3, 4, 5)], ids=["empty batch", "no batch"])
def test_images_that_cannot_be_scanned(shape, make_inputs):
    x = torch.zeros(shape)
    with pytest.raises(ValueError, match=f"x must be.*got {shape}".replace("(", r"\(").replace(")", r"\)")):
        ss2d_scan(x, *make_inputs(1, 3, 4, 5, 2)[1:])


def test_unknown_backend_lists_the_known_ones(make_inputs):
    with pytest.raises(ValueError, match=r"'numpy'.*auto, numba.*blocked, naive"):
        ss2d_scan(*make_inputs(1, 2, 2, 3, 2), backend="numpy")
