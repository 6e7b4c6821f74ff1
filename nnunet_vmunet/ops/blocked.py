"""The selective scan in plain torch, for every device: only the recurrence itself is a Python loop.

`STEPS` steps share one exp and a few matrix products. The state is laid out (g, n, d), channels innermost,
so that the loop's one instruction per step runs over long contiguous rows. The forward pass keeps the state
at every block's start; the backward pass rebuilds the states in between.

Shapes: l steps, g = batch·4 sequences, d channels, n states, t ≤ STEPS steps of one block.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .directions import to_pixels, to_sequences
from .naive import SOFTPLUS_LINEAR_ABOVE
from .projection import project, project_backward

STEPS = 32  # in a block
CACHED_ELEMENTS = 2**19  # of a block's states, 2 MB in float32: so many stay in a core's cache


class Sequences(NamedTuple):
    """The inputs as the four directions meet them."""

    x: Tensor  # (l, g, d)
    delta: Tensor  # (l, g, d), after bias and softplus
    A: Tensor  # (g, n, d)
    B: Tensor  # (l, g, n)
    C: Tensor  # (l, g, n)
    D: Tensor  # (g, d)


def forward(x, delta, delta_weight, A, B, C, D, delta_bias, save_states: bool) -> tuple[Tensor, Tensor]:
    """The scan's output (b, h, w, d), and every block's initial state (blocks, g, n, d) if asked for."""
    y = torch.empty_like(x, memory_format=torch.contiguous_format)
    states = x.new_empty(states_shape(x, A) if save_states else 0)
    for images, sequences in _groups(x, A):
        steps = project(to_sequences(delta[images]), delta_weight)
        s = _sequences(x[images], steps, A, B[images], C[images], D, delta_bias)
        (walked,) = _per_pixel((_forward(s, states[:, sequences] if save_states else None),), x[images])
        y[images] = walked.sum(3)
    return y, states


def backward(dy, states, x, delta, delta_weight, A, B, C, D, delta_bias) -> tuple[Tensor, ...]:
    """Gradients of (x, delta, delta_weight, A, B, C, D, delta_bias)."""
    per_image, summed, dweights = [], [], []
    for images, sequences in _groups(x, A):
        ranks = to_sequences(delta[images])
        s = _sequences(x[images], project(ranks, delta_weight), A, B[images], C[images], D, delta_bias)
        dys = _four_walks(dy[images])
        dx, dsteps, dA, dB, dC = _backward(s, dys, states[:, sequences])
        dranks, dweight = project_backward(dsteps.unflatten(1, (-1, 4)), ranks, delta_weight)
        pixels = _per_pixel((dx, dranks.flatten(1, 2), dB, dC), x[images])
        per_image.append((pixels[0].sum(3), *pixels[1:]))
        summed.append((dA, (dys * s.x).sum(0), dsteps.sum(0)))
        dweights.append(dweight)
    dx, ddelta, dB, dC = (torch.cat(parts) for parts in zip(*per_image, strict=True))
    dA, dD, dbias = (torch.cat(parts).unflatten(0, (-1, 4)).sum(0) for parts in zip(*summed, strict=True))
    return dx, ddelta, torch.stack(dweights).sum(0), dA.transpose(1, 2), dB, dC, dD, dbias


def states_shape(x: Tensor, A: Tensor) -> tuple[int, ...]:
    """The shape of the states that `forward` keeps for x (b, h, w, d) and A (4, d, n)."""
    batch, height, width, channels = x.shape
    return -(-height * width // STEPS), batch * 4, A.shape[-1], channels


def _sequences(x, steps, A, B, C, D, delta_bias) -> Sequences:
    """`steps` (l, b, 4, d) are delta's, before bias and softplus; the other tensors are as in `forward`."""
    batch = len(x)
    return Sequences(
        x=_four_walks(x),
        delta=F.softplus(steps + delta_bias, threshold=SOFTPLUS_LINEAR_ABOVE).flatten(1, 2),
        A=A.transpose(1, 2).repeat(batch, 1, 1),
        B=to_sequences(B).flatten(1, 2),
        C=to_sequences(C).flatten(1, 2),
        D=D.repeat(batch, 1),
    )


def _four_walks(pixels: Tensor) -> Tensor:
    """(b, h, w, d) to (l, g, d)."""
    return to_sequences(pixels.unsqueeze(3).expand(-1, -1, -1, 4, -1)).flatten(1, 2)


def _groups(x: Tensor, A: Tensor) -> list[tuple[slice, slice]]:
    """The images that are scanned together, and their sequences: on a CPU few enough for its cache."""
    batch, height, width, channels = x.shape
    images = batch
    if x.device.type == "cpu":
        block = min(STEPS, height * width) * 4 * A.shape[-1] * channels
        images = min(batch, max(1, CACHED_ELEMENTS // block))
    starts = range(0, batch, images)
    return [(slice(i, min(i + images, batch)), slice(4 * i, 4 * min(i + images, batch))) for i in starts]


def _forward(s: Sequences, states: Tensor | None) -> Tensor:
    """y (l, g, d); fills `states` (blocks, g, n, d) with every block's initial state."""
    y = torch.empty_like(s.x)
    state = torch.zeros_like(s.A)
    for i, block in enumerate(_blocks(len(y))):
        if states is not None:
            states[i] = state
        _, h = _run_block(s, block, state)
        torch.matmul(s.C[block].unsqueeze(2), h, out=y[block].unsqueeze(2))
        state = h[-1]
    return y.addcmul_(s.D, s.x)


def _backward(s: Sequences, dy: Tensor, states: Tensor) -> tuple[Tensor, ...]:
    """Gradients of the sequences x, delta (before softplus), A, B and C."""
    dx, ddelta = torch.empty_like(s.x), torch.empty_like(s.delta)
    dB, dC = torch.empty_like(s.B), torch.empty_like(s.C)
    dA = torch.zeros_like(s.A)
    carry = torch.zeros_like(s.A)  # gradient of the state that a block hands on
    for i, block in reversed(list(enumerate(_blocks(len(dy))))):
        decay, h = _run_block(s, block, states[i])
        g = dy[block].unsqueeze(2) * s.C[block].unsqueeze(3)
        carry = _run_adjoint(g, decay, carry)
        dC[block] = torch.matmul(h, dy[block].unsqueeze(3)).squeeze(3)
        dB[block] = torch.matmul(g, (s.delta[block] * s.x[block]).unsqueeze(3)).squeeze(3)
        du = torch.matmul(s.B[block].unsqueeze(2), g).squeeze(2)
        dexponent = _previous(h, states[i]).mul_(decay).mul_(g)
        dA += (dexponent * s.delta[block].unsqueeze(2)).sum(0)
        ddelta[block] = (dexponent * s.A).sum(2) + du * s.x[block]
        dx[block] = du * s.delta[block]
    ddelta *= torch.expm1(-s.delta).neg_()  # softplus' is the sigmoid, here 1 - exp(-softplus)
    return dx.addcmul_(dy, s.D), ddelta, dA, dB, dC


def _blocks(steps: int) -> list[slice]:
    return [slice(start, min(start + STEPS, steps)) for start in range(0, steps, STEPS)]


def _run_block(s: Sequences, block: slice, state: Tensor) -> tuple[Tensor, Tensor]:
    """The decays exp(ΔA) and the states after each step, both (t, g, n, d)."""
    decay = (s.delta[block].unsqueeze(2) * s.A).exp_()
    h = (s.delta[block] * s.x[block]).unsqueeze(2) * s.B[block].unsqueeze(3)
    for decay_t, h_t in zip(decay, h, strict=True):
        h_t.addcmul_(decay_t, state)
        state = h_t
    return decay, h


def _run_adjoint(g: Tensor, decay: Tensor, carry: Tensor) -> Tensor:
    """Turns g (t, g, n, d), each step's own gradient of its state, into the whole one; returns the new carry."""
    for g_t, decay_t in zip(reversed(g.unbind()), reversed(decay.unbind()), strict=True):
        g_t += carry
        carry = decay_t * g_t
    return carry


def _previous(h: Tensor, state: Tensor) -> Tensor:
    """The states before each step."""
    return torch.cat([state.unsqueeze(0), h[:-1]])


def _per_pixel(sequences: tuple[Tensor, ...], x: Tensor) -> list[Tensor]:
    """Each (l, g, ...) as (b, h, w, 4, ...)."""
    batch, height, width, _ = x.shape
    return [to_pixels(sequence.unflatten(1, (batch, 4)), height, width) for sequence in sequences]
