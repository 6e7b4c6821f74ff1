"""One torch operator for all backends, with the registrations that make it compose.

`torch.compile`, `torch.export` and autocast see an opaque operator with known shapes, whichever backend runs.
A backend is a module with `forward`, `backward` and `states_shape`; `backends.load` imports it.

Shapes are those of `nnunet_vmunet.ops.ss2d_scan`, but for delta, the largest tensor of all, and its gradient: the
network computes it one direction at a time, so here it is (4, b, h, w, d), and nobody has to copy it.
"""

import torch
from torch import Tensor

from . import backends


@torch.library.custom_op("nnunet_vmunet::ss2d_scan", mutates_args=())
def ss2d_scan_op(
    x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor,
    backend: str, save_states: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    return backends.load(backend).forward(x, delta, A, B, C, D, delta_bias, save_states)


@ss2d_scan_op.register_fake
def _(x, delta, A, B, C, D, delta_bias, backend, save_states):
    states_shape = backends.load(backend).states_shape(x, A) if save_states else (0,)
    return x.new_empty(x.shape), x.new_empty(states_shape)


@torch.library.custom_op("nnunet_vmunet::ss2d_scan_backward", mutates_args=())
def ss2d_scan_backward_op(
    dy: Tensor, states: Tensor,
    x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    grads = backends.load(backend).backward(dy, states, x, delta, A, B, C, D, delta_bias)
    return tuple(grad.contiguous() for grad in grads)


@ss2d_scan_backward_op.register_fake
def _(dy, states, x, delta, A, B, C, D, delta_bias, backend):
    return tuple(tensor.new_empty(tensor.shape) for tensor in (x, delta, A, B, C, D, delta_bias))


def _setup_context(ctx, inputs, output):
    *tensors, ctx.backend, _ = inputs
    ctx.save_for_backward(output[1], *tensors)
    ctx.set_materialize_grads(False)  # the states have no gradient: do not fill one with zeros


def _backward(ctx, dy, _dstates):
    if dy is None:
        return (None,) * 9
    return *ss2d_scan_backward_op(dy, *ctx.saved_tensors, ctx.backend), None, None


ss2d_scan_op.register_autograd(_backward, setup_context=_setup_context)
