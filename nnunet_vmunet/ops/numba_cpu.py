"""The selective scan fused and compiled for the CPU: pixels are read where they lie, nothing is stacked or flipped.

The work is cut into tiles of channels, which the recurrence never mixes. A job is one tile of one image, walked in
all four directions, so no two jobs write to the same place. Only dB and dC sum over channels: each tile writes its
own part of them, and the parts are added in a fixed order. So results repeat bit by bit.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from . import numba_kernels, numba_one_state, threads
from .directions import order
from .projection import project_backward

VECTOR = 16  # float32 are in a vector; the kernels want whole ones
WIDEST_TILE = 48  # channels; the rows and states of 48 channels stay in the first-level cache


def forward(x, delta, delta_weight, A, B, C, D, delta_bias, save_states: bool) -> tuple[Tensor, Tensor]:
    """The scan's output (b, h, w, d), and every block's initial state (b, 4, blocks, n, d) if asked for."""
    width, tiles = _tiles(x)
    inputs = _inputs(x, delta, delta_weight, A, B, C, D, delta_bias)
    y = torch.zeros_like(inputs[0])
    states = x.new_empty(states_shape(x, A) if save_states else (0, 0, 0, 0, 0))
    arrays = _arrays(_order(*x.shape[1:3]), *inputs, y, states)
    threads.run(lambda *jobs: numba_kernels.forward(*jobs, width, *arrays), len(x) * tiles)
    return y[..., : x.shape[-1]].contiguous().view(x.shape), states if save_states else states.flatten()


def backward(dy, states, x, delta, delta_weight, A, B, C, D, delta_bias) -> tuple[Tensor, ...]:
    """Gradients of (x, delta, delta_weight, A, B, C, D, delta_bias)."""
    _, tiles = _tiles(x)
    (batch_size, *_, channels), n_states = x.shape, A.shape[-1]
    dy = _whole_vectors(dy).flatten(1, 2)
    inputs = _inputs(x, delta, delta_weight, A, B, C, D, delta_bias)
    dx, dD = torch.zeros_like(dy), dy.new_zeros(batch_size, 4, dy.shape[-1])
    dA, dbias = dy.new_empty(batch_size, 4, n_states, dy.shape[-1]), torch.zeros_like(dD)
    dB = dy.new_empty(tiles, *dy.shape[:2], 4, n_states)
    dC = torch.empty_like(dB)
    walk_back = _one_state if n_states == 1 else _many_states
    ddelta, dweight = walk_back(x, delta, delta_weight, dy, states, inputs, dx, dA, dB, dC, dD, dbias)
    dA, dD, dbias = (grad.sum(0)[..., :channels] for grad in (dA, dD, dbias))
    dB, dC = dB.sum(0).reshape(B.shape), dC.sum(0).reshape(C.shape)
    return dx[..., :channels].reshape(x.shape), ddelta, dweight, dA.transpose(1, 2), dB, dC, dD, dbias


def _many_states(x, delta, delta_weight, dy, states, inputs, dx, *sums) -> tuple[Tensor, Tensor]:
    """Fills the other gradients, and returns those of delta and delta_weight: products of the steps' gradients."""
    width, tiles = _tiles(x)
    dsteps = dy.new_empty(4, *dy.shape)
    arrays = _arrays(_order(*x.shape[1:3]), dy, states, *inputs, dx, dsteps, *sums)
    threads.run(lambda *jobs: numba_kernels.backward(*jobs, width, *arrays), len(x) * tiles)
    dsteps = dsteps[..., : x.shape[-1]].reshape(4, *x.shape)
    return project_backward(dsteps.movedim(0, 3), delta, delta_weight)


def _one_state(x, delta, delta_weight, dy, states, inputs, dx, *sums) -> tuple[Tensor, Tensor]:
    """The same for one state, whose kernel takes those products itself, in parts where delta is of low rank."""
    width, tiles = _tiles(x)
    rank = inputs[2].shape[1]
    ddelta = dy.new_empty(tiles if rank else 1, *dy.shape[:2], 4, -(-delta.shape[-1] // VECTOR) * VECTOR)
    dweight = dy.new_zeros(len(x), 4, rank, dy.shape[-1])
    arrays = _arrays(_order(*x.shape[1:3]), dy, states, *inputs, dx, ddelta, *sums, dweight)
    threads.run(lambda *jobs: numba_one_state.backward(*jobs, width, *arrays), len(x) * tiles)
    ddelta = ddelta.sum(0) if rank else ddelta[0]
    dweight = dweight.sum(0)[..., : x.shape[-1]].transpose(1, 2)
    return ddelta[..., : delta.shape[-1]].reshape(delta.shape), dweight if rank else dweight.flatten()


def states_shape(x: Tensor, A: Tensor) -> tuple[int, ...]:
    """The shape of the states that `forward` keeps for x (b, h, w, d) and A (4, d, n)."""
    batch, height, width, channels = x.shape
    return batch, 4, -(-height * width // numba_kernels.STEPS), A.shape[-1], -(-channels // VECTOR) * VECTOR


_order = lru_cache(maxsize=64)(order)


def _tiles(x: Tensor) -> tuple[int, int]:
    """The channels of a tile, and the number of tiles of an image.

    A tile is as wide as WIDEST_TILE allows, and narrower where a thread would have no work.
    """
    vectors = -(-x.shape[-1] // VECTOR)
    threads_at_least = max(torch.get_num_threads(), 2)  # not 1, so that one thread and two give the same sums
    tiles = max(-(-vectors * VECTOR // WIDEST_TILE), -(-threads_at_least // len(x)))
    per_tile = -(-vectors // tiles)
    return per_tile * VECTOR, -(-vectors // per_tile)


def _inputs(x, delta, delta_weight, A, B, C, D, delta_bias) -> list[Tensor]:
    """The arrays that the kernels read, with the pixels of an image in one axis."""
    if delta_weight is None:
        delta, delta_weight = _whole_vectors(delta), D.new_empty(4, D.shape[1], 0)
    x, D, delta_bias = (_whole_vectors(tensor) for tensor in (x, D, delta_bias))
    A, delta_weight = (_whole_vectors(tensor.transpose(1, 2)) for tensor in (A, delta_weight))
    x, delta, B, C = (tensor.flatten(1, 2) for tensor in (x, delta, B, C))
    return [x, delta, delta_weight, A.transpose(1, 2), B, C, D, delta_bias]


def _whole_vectors(tensor: Tensor) -> Tensor:
    """Contiguous, with zeros for the channels that the last vector lacks."""
    missing = -tensor.shape[-1] % VECTOR
    return F.pad(tensor, (0, missing)) if missing else tensor.contiguous()


def _arrays(*tensors: Tensor) -> list:
    return [tensor.detach().numpy() for tensor in tensors]
