"""The selective scan fused and compiled for the CPU: pixels are read where they lie, nothing is stacked or flipped.

The work is cut into tiles of channels, which the recurrence never mixes. A job is one tile of one image, walked in
all four directions, so no two jobs write to the same place. Only dB and dC sum over channels: each tile writes its
own part of them, and the parts are added in a fixed order. So results repeat bit by bit.
"""

import torch
from torch import Tensor

from . import numba_kernels as kernels
from . import threads

WIDEST_TILE = 96  # channels; the states of 96 channels stay in the first-level cache


def forward(x, delta, A, B, C, D, delta_bias, save_states: bool) -> tuple[Tensor, Tensor]:
    """The scan's output (b, h, w, d), and every block's initial state (b, 4, blocks, n, d) if asked for."""
    x, delta, A, D, delta_bias = _contiguous(x, delta, A, D, delta_bias)
    tiles = _tiles(x)
    y = torch.zeros_like(x)
    states = x.new_empty(states_shape(x, A) if save_states else (0, 0, 0, 0, 0))
    arrays = _arrays(x, delta, A, B, C, D, delta_bias, y, states)

    def job(index):
        batch, part = divmod(index, len(tiles))
        kernels.forward(batch, tiles[part], *arrays)

    threads.run(job, len(x) * len(tiles))
    return y, states if save_states else states.flatten()


def backward(dy, states, x, delta, A, B, C, D, delta_bias) -> tuple[Tensor, ...]:
    """Gradients of (x, delta, A, B, C, D, delta_bias)."""
    dy, x, delta, A, D, delta_bias = _contiguous(dy, x, delta, A, D, delta_bias)
    tiles = _tiles(x)
    batch_size = len(x)
    dx, ddelta = torch.zeros_like(x), torch.empty_like(delta)
    dA = A.new_empty(batch_size, *A.transpose(1, 2).shape)
    dB, dC = B.new_empty(len(tiles), *B.shape), C.new_empty(len(tiles), *C.shape)
    dD, dbias = D.new_zeros(batch_size, *D.shape), D.new_zeros(batch_size, *D.shape)
    arrays = _arrays(dy, states, x, delta, A, B, C, D, delta_bias, dx, ddelta, dA, dB, dC, dD, dbias)

    def job(index):
        batch, part = divmod(index, len(tiles))
        kernels.backward(batch, tiles[part], part, *arrays)

    threads.run(job, batch_size * len(tiles))
    return dx, ddelta, dA.sum(0).transpose(1, 2), dB.sum(0), dC.sum(0), dD.sum(0), dbias.sum(0)


def states_shape(x: Tensor, A: Tensor) -> tuple[int, ...]:
    batch, height, width, channels = x.shape
    return batch, 4, -(-height * width // kernels.STEPS), A.shape[-1], channels


def _tiles(x: Tensor) -> list[slice]:
    """Slices of the channels: as wide as WIDEST_TILE allows, narrower where a thread would have no work."""
    batch, *_, channels = x.shape
    jobs = max(torch.get_num_threads(), 2)  # not 1, so that one thread and two give the same sums
    tiles = max(-(-channels // WIDEST_TILE), -(-jobs // batch))
    width = -(-channels // (16 * tiles)) * 16  # 16 float32 are a vector
    return [slice(start, min(start + width, channels)) for start in range(0, channels, width)]


def _contiguous(*tensors: Tensor) -> list[Tensor]:
    """B and C need not be: they are views of one projection, and read a scalar at a time."""
    return [tensor.contiguous() for tensor in tensors]


def _arrays(*tensors: Tensor) -> list:
    return [tensor.detach().numpy() for tensor in tensors]
