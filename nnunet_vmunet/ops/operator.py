"""One torch operator for all backends, with the registrations that make it compose.

`torch.compile`, `torch.export` and autocast see an opaque operator with known shapes, whichever backend runs.
A backend is a module with `forward`, `backward` and `states_shape`; `backends.load` imports it. Its tensors have the
shapes of `nnunet_vmunet.ops.ss2d_scan`.

Delta is the largest tensor of a scan. What is kept for the backward pass is what delta was made of.
"""

import torch
from torch import Tensor

from . import backends


@torch.library.custom_op("nnunet_vmunet::ss2d_scan", mutates_args=())
def ss2d_scan_op(
    x: Tensor, delta: Tensor, delta_weight: Tensor | None,
    A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor,
    backend: str, save_states: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """y (b, h, w, d), and the states that the backend keeps for the backward pass, empty unless `save_states`.

    The other arguments are those of `nnunet_vmunet.ops.ss2d_scan`, all float32 or all float64; but x, delta, B and C
    may be half as wide for a backend that reads half. y is as wide as A. `backend` is a name.
    """
    with torch.autocast(x.device.type, enabled=False):
        return backends.load(backend).forward(x, delta, delta_weight, A, B, C, D, delta_bias, save_states)


@ss2d_scan_op.register_fake
def _(x, delta, delta_weight, A, B, C, D, delta_bias, backend, save_states):
    states_shape = backends.load(backend).states_shape(x, A) if save_states else (0,)
    return A.new_empty(x.shape), A.new_empty(states_shape)


@torch.library.custom_op("nnunet_vmunet::ss2d_scan_backward", mutates_args=())
def ss2d_scan_backward_op(
    dy: Tensor, states: Tensor,
    x: Tensor, delta: Tensor, delta_weight: Tensor | None,
    A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of (x, delta, delta_weight, A, B, C, D, delta_bias), in their shapes; that of no weight is empty."""
    with torch.autocast(x.device.type, enabled=False):
        grads = backends.load(backend).backward(dy, states, x, delta, delta_weight, A, B, C, D, delta_bias)
    return tuple(grad.contiguous() for grad in grads)


@ss2d_scan_backward_op.register_fake
def _(dy, states, x, delta, delta_weight, A, B, C, D, delta_bias, backend):
    dweight = A.new_empty(0 if delta_weight is None else delta_weight.shape)
    dx, ddelta, *others = (tensor.new_empty(tensor.shape) for tensor in (x, delta, A, B, C, D, delta_bias))
    return dx, ddelta, dweight, *others


def _setup_context(ctx, inputs, output):
    *tensors, ctx.backend, _ = inputs
    ctx.save_for_backward(output[1], *tensors)
    ctx.set_materialize_grads(False)  # the states have no gradient: do not fill one with zeros


def _backward(ctx, dy, _dstates):
    if dy is None:
        return (None,) * 10
    dx, ddelta, dweight, *others = ss2d_scan_backward_op(dy, *ctx.saved_tensors, ctx.backend)
    return dx, ddelta, dweight if ctx.needs_input_grad[2] else None, *others, None, None


ss2d_scan_op.register_autograd(_backward, setup_context=_setup_context)
