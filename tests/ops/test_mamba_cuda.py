"""The mamba_ssm backend on a stand-in for `selective_scan_cuda`: the naive scan behind the extension's own rules.

What the rules are was read from mamba-ssm 2.3's csrc/selective_scan/selective_scan.cpp. test_gpu runs the real one.
"""

import importlib
import sys
import types

import pytest
import torch
import torch.nn.functional as F

from nnunet_vmunet.ops import backends, naive

SIZES = {
    "one pixel, one state": (1, 1, 1, 3, 1),
    "odd": (1, 3, 5, 5, 5),
    "two images": (2, 7, 2, 20, 16),
    "more than one block of 2048 steps": (1, 1, 2050, 1, 1),
}
CUDA = torch.device("cuda")
SIGNATURES = {
    "fwd": "fwd(" + ", ".join(f"arg{i}: torch.Tensor" for i in range(9)) + ") -> list[torch.Tensor]\n\nforward\n",
    "bwd": "bwd(" + ", ".join(f"arg{i}: torch.Tensor" for i in range(14)) + ") -> list[torch.Tensor]\n\nbackward\n",
}


def check(u, delta, A, B, C, D, z, delta_bias):
    """The extension's own checks, for B and C that vary with the steps."""
    batch, channels, steps = u.shape
    n, groups = A.shape[1], B.shape[1]
    assert u.dtype in (torch.float32, torch.float16, torch.bfloat16)
    assert u.dtype == delta.dtype == B.dtype == C.dtype
    assert A.dtype == D.dtype == delta_bias.dtype == torch.float32
    assert all(tensor.stride(-1) == 1 or tensor.shape[-1] == 1 for tensor in (u, delta, B, C, D, delta_bias))
    assert delta.shape == u.shape and A.shape == (channels, n) and n <= 256
    assert B.shape == C.shape == (batch, groups, n, steps)
    assert D.shape == delta_bias.shape == (channels,)
    assert z is None


def scan(u, delta, A, B, C, D, delta_bias):
    dt = F.softplus(delta.float() + delta_bias[:, None])
    B, C = (tensor.float().repeat_interleave(len(A) // tensor.shape[1], 1) for tensor in (B, C))
    state, ys = u.new_zeros(*u.shape[:2], A.shape[1], dtype=torch.float32), []
    for t in range(u.shape[-1]):
        step = dt[:, :, t, None]
        state = torch.exp(step * A) * state + step * u.float()[:, :, t, None] * B[..., t]
        ys.append((state * C[..., t]).sum(-1))
    return (torch.stack(ys, -1) + D[:, None] * u.float()).to(u.dtype)


def fwd(u, delta, A, B, C, D, z, delta_bias, delta_softplus):
    check(u, delta, A, B, C, D, z, delta_bias)
    assert delta_softplus is True
    blocks = -(-u.shape[-1] // 2048)
    states = torch.arange(u.shape[0] * u.shape[1] * blocks * 2 * A.shape[1], dtype=torch.float32)
    return [scan(u, delta, A, B, C, D, delta_bias), states.view(*u.shape[:2], blocks, -1)]


def bwd(u, delta, A, B, C, D, z, delta_bias, dout, x, out, dz, delta_softplus, recompute_out_z):
    check(u, delta, A, B, C, D, z, delta_bias)
    assert dout.shape == u.shape and dout.dtype == u.dtype and (dout.stride(-1) == 1 or dout.shape[-1] == 1)
    assert x.is_contiguous() and torch.equal(x, fwd(u, delta, A, B, C, D, z, delta_bias, True)[1])
    assert (out, dz, delta_softplus, recompute_out_z) == (None, None, True, False)
    leaves = [tensor.detach().requires_grad_() for tensor in (u, delta, A, B, C, D, delta_bias)]
    with torch.enable_grad():
        return list(torch.autograd.grad(scan(*leaves), leaves, dout))


@pytest.fixture
def extension(monkeypatch):
    """The stand-in, where Python finds the real one."""
    module = types.ModuleType("selective_scan_cuda")
    module.fwd, module.bwd = types.FunctionType(fwd.__code__, globals()), types.FunctionType(bwd.__code__, globals())
    module.fwd.__doc__, module.bwd.__doc__ = SIGNATURES["fwd"], SIGNATURES["bwd"]
    module.__spec__ = importlib.machinery.ModuleSpec("selective_scan_cuda", None)
    monkeypatch.setitem(sys.modules, "selective_scan_cuda", module)
    monkeypatch.delitem(sys.modules, "nnunet_vmunet.ops.mamba_cuda", raising=False)
    yield module
    sys.modules.pop("nnunet_vmunet.ops.mamba_cuda", None)


@pytest.fixture
def one_run(extension, make_inputs):
    def run(size, dtype=torch.float32, rank=None) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """The output and the gradients, and float64's; a rank gives delta a weight, whose gradient comes last."""
        mamba_cuda = backends.load("mamba_ssm")
        inputs = make_inputs(*size, dtype)
        if rank:
            inputs[1] = torch.randn(*inputs[1].shape[:-1], rank, dtype=torch.float64).to(dtype)
            inputs.append(torch.randn(4, inputs[0].shape[-1], rank, dtype=torch.float64).to(dtype))
        leaves = [tensor.double().requires_grad_() for tensor in inputs]
        y = naive.scan(*leaves)
        dy = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).view_as(y).to(dtype)
        truth = [y.detach(), *torch.autograd.grad(y, leaves, dy.double())]
        x, delta, A, B, C, D, bias, *weight = inputs
        arguments = (x, delta, weight[0] if weight else None, A, B, C, D, bias)
        y, states = mamba_cuda.forward(*arguments, True)
        assert states.shape == mamba_cuda.states_shape(x, A)
        dx, ddelta, dweight, *grads = mamba_cuda.backward(dy, states, *arguments)
        return [y, dx, ddelta, *grads, *([dweight] if weight else [])], truth

    return run


@pytest.mark.parametrize("rank", [None, 2], ids=["full delta", "delta of rank 2"])
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())
def test_matches_naive_float64(size, rank, one_run):
    for ours, truth in zip(*one_run(size, rank=rank), strict=True):
        assert ours.shape == truth.shape
        assert (ours - truth).abs().max() <= 3e-6 * truth.abs().max()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision(dtype, one_run):
    for ours, truth in zip(*one_run(SIZES["odd"], dtype), strict=True):
        assert ours.dtype == dtype
        assert (ours.double() - truth).abs().max() <= 4 * torch.finfo(dtype).eps * truth.abs().max()


def test_inference_keeps_no_states(extension, make_inputs):
    x, delta, *others = make_inputs(*SIZES["odd"], torch.float32)
    _, states = backends.load("mamba_ssm").forward(x, delta, None, *others, False)
    assert states.numel() == 0


def test_float64_is_refused(extension, make_inputs):
    x, delta, *others = make_inputs(*SIZES["odd"])
    with pytest.raises(RuntimeError, match="no float64: choose"):
        backends.load("mamba_ssm").forward(x, delta, None, *others, False)


def test_only_the_extension_is_imported(extension):
    backends.load("mamba_ssm")
    assert not {"mamba_ssm", "causal_conv1d", "transformers"} & set(sys.modules)


def test_runs_on_a_gpu(extension):
    assert backends.why_not_mamba_ssm(CUDA) is None
    assert "the tensors are on cpu" in backends.why_not_mamba_ssm(torch.device("cpu"))


def test_another_signature_is_named(extension):
    extension.bwd.__doc__ = "bwd(arg0: torch.Tensor, arg1: int) -> list[torch.Tensor]"
    reason = backends.why_not_mamba_ssm(CUDA)
    assert "bwd takes 14 arguments" in reason and "arg1: int" in reason
    with pytest.raises(RuntimeError, match="'mamba_ssm' cannot run here: selective_scan_cuda does not fit"):
        backends.choose(CUDA, "mamba_ssm")


def test_missing_function_is_named(extension):
    del extension.fwd
    assert "fwd takes 9 arguments" in backends.why_not_mamba_ssm(CUDA)


def test_without_the_extension(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install mamba-ssm" in backends.why_not_mamba_ssm(CUDA)
