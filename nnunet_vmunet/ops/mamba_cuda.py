"""The selective scan through mamba-ssm's CUDA extension, `selective_scan_cuda`, as the original VM-UNet runs it.

The four walks are laid out one after the other, as 4·d channels in 4 groups of (b, channels, l) sequences, and a group
has its own B and C. Of mamba-ssm only the extension is imported: the package itself pulls transformers in, and its next
releases leave the extension out unless asked for it.

The extension takes float32, float16 and bfloat16 for x, delta, B and C together, and float32 for A, D and the bias. It
adds dA, dB, dC, dD and the bias' gradient up atomically: they do not repeat bit by bit.
"""

import importlib.metadata
import re
from types import ModuleType

import selective_scan_cuda
import torch
from torch import Tensor

from .directions import to_pixels, to_sequences
from .projection import project, project_backward

ARGUMENTS = {"fwd": 9, "bwd": 14}  # of mamba-ssm 1.0 to 2.3
STEPS = 2048  # from one saved state to the next, fixed in the extension
MOST_STATES = 256


def check_signatures(extension: ModuleType) -> None:
    """ImportError if the extension's functions take other arguments than those that this file gives them."""
    for name, expected in ARGUMENTS.items():
        function = getattr(extension, name, None)
        signature = (function.__doc__ or "").strip().split("\n")[0] if function else "missing"
        if len(re.findall(r"\barg\d+:", signature)) != expected:
            raise ImportError(
                f"{name} takes {expected} arguments in mamba-ssm 1.0 to 2.3, "
                f"and in the installed version {_installed_version()} its signature is {signature!r}"
            )


def _installed_version() -> str:
    try:
        return importlib.metadata.version("mamba-ssm")
    except importlib.metadata.PackageNotFoundError:
        return "(unknown)"


check_signatures(selective_scan_cuda)


def forward(x, delta, delta_weight, A, B, C, D, delta_bias, save_states: bool) -> tuple[Tensor, Tensor]:
    """The scan's output (b, h, w, d), and the state every 2048 steps (b, 4·d, blocks, 2·n) if asked for.

    Raises:
        RuntimeError: float64, or more than 256 states.
    """
    _check(x, A)
    inputs = _inputs(x, to_sequences(delta), delta_weight, A, B, C, D)
    y, states = selective_scan_cuda.fwd(*inputs, None, *_bias(delta_bias))
    return _sum_over_directions(y, x), states if save_states else x.new_empty(0)


def backward(dy, states, x, delta, delta_weight, A, B, C, D, delta_bias) -> tuple[Tensor, ...]:
    """Gradients of (x, delta, delta_weight, A, B, C, D, delta_bias)."""
    ranks = to_sequences(delta)
    inputs = _inputs(x, ranks, delta_weight, A, B, C, D)
    bias, softplus = _bias(delta_bias)
    grads = selective_scan_cuda.bwd(*inputs, None, bias, _four_walks(dy), states, None, None, softplus, False)
    dx, dsteps, dA, dB, dC, dD, dbias = grads[:7]
    dranks, dweight = project_backward(_steps_first(dsteps.unflatten(1, (4, -1))), ranks, delta_weight)
    ddelta = to_pixels(dranks, *x.shape[1:3])
    dB, dC = (_pixels(grad, x).to(like.dtype) for grad, like in ((dB, B), (dC, C)))
    dA, dD, dbias = (
        grad.unflatten(0, (4, -1)).to(like.dtype) for grad, like in ((dA, A), (dD, D), (dbias, delta_bias))
    )
    return _sum_over_directions(dx, x), ddelta, dweight, dA, dB, dC, dD, dbias


def states_shape(x: Tensor, A: Tensor) -> tuple[int, ...]:
    """The shape of the states that `forward` keeps for x (b, h, w, d) and A (4, d, n)."""
    batch, height, width, channels = x.shape
    return batch, 4 * channels, -(-height * width // STEPS), 2 * A.shape[-1]


def _check(x: Tensor, A: Tensor) -> None:
    if x.dtype == torch.float64:
        raise RuntimeError("the scan backend 'mamba_ssm' has no float64: choose triton, blocked or naive")
    if A.shape[-1] > MOST_STATES:
        raise RuntimeError(f"the scan backend 'mamba_ssm' takes at most {MOST_STATES} states, got {A.shape[-1]}")


def _inputs(x, ranks, delta_weight, A, B, C, D) -> tuple[Tensor, ...]:
    """u and delta (b, 4·d, l), A (4·d, n), B and C (b, 4, n, l), D (4·d): what the extension's functions begin with.

    `ranks` (l, b, 4, r) is delta as the directions meet it, before the product with its weight.
    """
    dts = _steps_last(project(ranks, delta_weight).to(x.dtype)).flatten(1, 2)
    A, D = (tensor.flatten(0, 1).float().contiguous() for tensor in (A, D))
    B, C = (_steps_last(to_sequences(tensor.to(x.dtype))) for tensor in (B, C))
    return _four_walks(x), dts, A, B, C, D


def _bias(delta_bias: Tensor) -> tuple[Tensor, bool]:
    """The step's bias, and that softplus follows it."""
    return delta_bias.flatten().float().contiguous(), True


def _four_walks(pixels: Tensor) -> Tensor:
    """(b, h, w, d) to (b, 4·d, l), contiguous."""
    return _steps_last(to_sequences(pixels.unsqueeze(3).expand(-1, -1, -1, 4, -1))).flatten(1, 2)


def _steps_last(walks: Tensor) -> Tensor:
    """(l, b, 4, c) to (b, 4, c, l), contiguous, as the extension wants it."""
    return walks.permute(1, 2, 3, 0).contiguous()


def _steps_first(walks: Tensor) -> Tensor:
    """(b, 4, c, l) to (l, b, 4, c)."""
    return walks.permute(3, 0, 1, 2)


def _pixels(walks: Tensor, x: Tensor) -> Tensor:
    """(b, 4, c, l) to (b, h, w, 4, c)."""
    return to_pixels(_steps_first(walks), *x.shape[1:3])


def _sum_over_directions(walks: Tensor, x: Tensor) -> Tensor:
    """(b, 4·d, l) to (b, h, w, d), added in float32."""
    return _pixels(walks.unflatten(1, (4, -1)), x).sum(3, dtype=torch.float32).to(x.dtype)
