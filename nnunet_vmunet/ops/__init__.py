"""The four-direction selective scan (SS2D) of VMamba and VM-UNet, channels last."""

import torch
from torch import Tensor

from . import naive
from .backends import choose
from .operator import ss2d_scan_op

__all__ = ["ss2d_scan"]


def ss2d_scan(
    x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor,
    *, backend: str = "auto",
) -> Tensor:  # fmt: skip
    """Scan the pixels of `x` in four directions and sum the results at each pixel.

    In each direction, h ← exp(ΔA) h + Δ B x and y = C·h + D x, with Δ = softplus(delta + delta_bias) and h
    starting at 0 (Mamba, arXiv 2312.00752, algorithm 2; VMamba, arXiv 2401.10166, section 4.2). The arithmetic is
    float32 whatever autocast says, because states decay and grow over thousands of steps; float64 stays float64.

    Args: b batch, h rows, w columns, d channels, n states; the 4 is the direction (see `directions`).
        x: (b, h, w, d).
        delta: (b, h, w, 4, d), the step before bias and softplus.
        A: (4, d, n), negative.
        B: (b, h, w, 4, n).
        C: (b, h, w, 4, n).
        D: (4, d).
        delta_bias: (4, d).
        backend: "auto", or a name from `backends.NAMES`.

    Returns:
        y: (b, h, w, d), float32 or float64.

    Raises:
        ValueError: shapes that do not fit each other, or an unknown backend.
        RuntimeError: the chosen backend cannot run here.
    """
    _check_shapes(x, delta, A, B, C, D, delta_bias)
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    inputs = [tensor.to(dtype) for tensor in (x, delta, A, B, C, D, delta_bias)]
    backend = choose(x.device, backend)
    if backend == "naive":  # the truth takes no operator and no backward pass of ours: plain torch, plain autograd
        return naive.scan(*inputs)
    save_states = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs)
    inputs[1] = inputs[1].movedim(3, 0)  # as the operator wants delta
    y, _ = ss2d_scan_op(*inputs, backend, save_states)
    return y


def _check_shapes(x, delta, A, B, C, D, delta_bias) -> None:
    if x.ndim != 4 or 0 in x.shape:
        raise ValueError(f"x must be (batch, height, width, channels), none of them 0, got {tuple(x.shape)}")
    *pixels, d = x.shape
    n = A.shape[-1]
    expected = {
        "delta": (delta, (*pixels, 4, d)),
        "A": (A, (4, d, n)),
        "B": (B, (*pixels, 4, n)),
        "C": (C, (*pixels, 4, n)),
        "D": (D, (4, d)),
        "delta_bias": (delta_bias, (4, d)),
    }
    for name, (tensor, shape) in expected.items():
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{name} must be {shape} for x {tuple(x.shape)}, got {tuple(tensor.shape)}")
