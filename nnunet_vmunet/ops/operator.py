"""One torch operator for all backends, with the registrations that make it compose.

`torch.compile`, `torch.export` and autocast see an opaque operator with known shapes, whichever backend runs.
A backend is a module with `forward`, `backward` and `states_shape`; `backends.load` imports it. Its shapes are those
of `nnunet_vmunet.ops.ss2d_scan`, but for delta and its gradient, which are (4, b, h, w, d): the projection yields them
so, and nobody has to copy them.

Delta is the largest tensor of a scan. The operator keeps for the backward pass what delta was made of, and makes it
again.
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
    with torch.autocast(x.device.type, enabled=False):
        delta = _project(delta, delta_weight)
        return backends.load(backend).forward(x, delta, A, B, C, D, delta_bias, save_states)


@ss2d_scan_op.register_fake
def _(x, delta, delta_weight, A, B, C, D, delta_bias, backend, save_states):
    states_shape = backends.load(backend).states_shape(x, A) if save_states else (0,)
    return x.new_empty(x.shape), x.new_empty(states_shape)


@torch.library.custom_op("nnunet_vmunet::ss2d_scan_backward", mutates_args=())
def ss2d_scan_backward_op(
    dy: Tensor, states: Tensor,
    x: Tensor, delta: Tensor, delta_weight: Tensor | None,
    A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    with torch.autocast(x.device.type, enabled=False):
        inputs = (x, _project(delta, delta_weight), A, B, C, D, delta_bias)
        dx, dprojected, *others = backends.load(backend).backward(dy, states, *inputs)
        ddelta, dweight = _project_backward(dprojected, delta, delta_weight)
    return tuple(grad.contiguous() for grad in (dx, ddelta, dweight, *others))


@ss2d_scan_backward_op.register_fake
def _(dy, states, x, delta, delta_weight, A, B, C, D, delta_bias, backend):
    dweight = x.new_empty(0 if delta_weight is None else delta_weight.shape)
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


def _project(delta: Tensor, weight: Tensor | None) -> Tensor:
    """delta (b, h, w, 4, d), or (b, h, w, 4, r) with weight (4, d, r), to (4, b, h, w, d)."""
    delta = delta.movedim(3, 0)
    if weight is None:
        return delta
    return torch.bmm(delta.flatten(1, 3), weight.transpose(1, 2)).unflatten(1, delta.shape[1:4])


def _project_backward(dprojected: Tensor, delta: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """The gradients of `_project`'s arguments; that of no weight is empty."""
    if weight is None:
        return dprojected.movedim(0, 3), dprojected.new_empty(0)
    dprojected = dprojected.flatten(1, 3)
    ddelta = torch.bmm(dprojected, weight).unflatten(1, delta.shape[:3])
    return ddelta.movedim(0, 3), torch.bmm(dprojected.transpose(1, 2), delta.movedim(3, 0).flatten(1, 3))
