"""The four-direction selective scan (SS2D) of VMamba and VM-UNet, channels last."""

import torch
from torch import Tensor

from . import backends, naive
from .operator import ss2d_scan_op

__all__ = ["ss2d_scan"]

HALF = (torch.bfloat16, torch.float16)


def ss2d_scan(
    x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor,
    delta_weight: Tensor | None = None, *, backend: str = "auto",
) -> Tensor:  # fmt: skip
    """Scan the pixels of `x` in four directions and sum the results at each pixel.

    In each direction, h ← exp(ΔA) h + Δ B x and y = C·h + D x, with Δ = softplus(delta + delta_bias) and h
    starting at 0 (Mamba, arXiv 2312.00752, algorithm 2; VMamba, arXiv 2401.10166, section 4.2). The arithmetic is
    float32 whatever autocast says, because states decay and grow over thousands of steps; float64 stays float64.

    Args: b batch, h rows, w columns, d channels, n states; the 4 is the direction (see `directions`).
        x: (b, h, w, d).
        delta: (b, h, w, 4, d), the step before bias and softplus; or (b, h, w, 4, r), see delta_weight.
        A: (4, d, n), negative.
        B: (b, h, w, 4, n).
        C: (b, h, w, 4, n).
        D: (4, d).
        delta_bias: (4, d).
        delta_weight: (4, d, r), which takes a delta of rank r to d channels. A training then keeps the smaller one.
        backend: "auto", or a name from `backends.NAMES`.

    Returns:
        y: (b, h, w, d), float32 or float64.

    Raises:
        ValueError: shapes that do not fit each other, or an unknown backend.
        RuntimeError: the chosen backend cannot run here.
    """
    _check_shapes(x, delta, A, B, C, D, delta_bias, delta_weight)
    backend = backends.choose(x.device, backend)
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    A, D, delta_bias = (tensor.to(dtype) for tensor in (A, D, delta_bias))
    delta_weight = None if delta_weight is None else delta_weight.to(dtype)
    kept = HALF if backends.get(backend).reads_half else ()
    x, delta, B, C = (tensor if tensor.dtype in kept else tensor.to(dtype) for tensor in (x, delta, B, C))
    if backend == "naive":  # the truth takes no operator and no backward pass of ours: plain torch, plain autograd
        with torch.autocast(x.device.type, enabled=False):
            return naive.scan(x, delta, A, B, C, D, delta_bias, delta_weight)
    inputs = (x, delta, delta_weight, A, B, C, D, delta_bias)
    save_states = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in inputs)
    y, _ = ss2d_scan_op(*inputs, backend, save_states)
    return y


def _check_shapes(x, delta, A, B, C, D, delta_bias, delta_weight) -> None:
    if x.ndim != 4 or 0 in x.shape:
        raise ValueError(f"x must be (batch, height, width, channels), none of them 0, got {tuple(x.shape)}")
    *pixels, d = x.shape
    n, rank = A.shape[-1], d if delta_weight is None else delta_weight.shape[-1]
    expected = {
        "delta": (delta, (*pixels, 4, rank)),
        "A": (A, (4, d, n)),
        "B": (B, (*pixels, 4, n)),
        "C": (C, (*pixels, 4, n)),
        "D": (D, (4, d)),
        "delta_bias": (delta_bias, (4, d)),
        "delta_weight": (delta_weight, (4, d, rank)),
    }
    for name, (tensor, shape) in expected.items():
        if tensor is not None and tuple(tensor.shape) != shape:
            raise ValueError(f"{name} must be {shape} for x {tuple(x.shape)}, got {tuple(tensor.shape)}")
