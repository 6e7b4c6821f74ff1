"""The selective scan fused for NVIDIA GPUs, in Triton: no nvcc, nothing stacked or flipped.

A program walks a tile of channels of one image in one direction (see `triton_kernels`). Where that makes too few
programs for the GPU (see `triton_launch`), a walk is cut into chunks, in three steps: what each chunk adds to the
state, what each starts from, and the scan itself.

There are no atomics, so results repeat bit by bit. Several programs add to y and dx (over the four directions), to dB
and dC (over tiles), and to the parameters' gradients (over images and chunks). Each writes a part of its own, and the
parts are added in a fixed order. docs/benchmarks.md counts what that moves through memory.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from . import triton_kernels as kernels
from . import triton_launch as launches
from .projection import project, project_backward
from .triton_launch import Problem, computed_in

CHAIN_BLOCK = 4  # chunks whose ends are loaded together


def forward(x, delta, delta_weight, A, B, C, D, delta_bias, save_states: bool) -> tuple[Tensor, Tensor]:
    """The scan's output (b, h, w, d) and, if asked for, the state at every span's start (b, 4, spans, n, d).

    Raises:
        RuntimeError: more than 64 states, or an image whose elements 32 bits cannot count.
    """
    inputs = _prepared(x, project(delta, delta_weight), A, B, C, D, delta_bias)
    with torch.cuda.device_of(x):  # Triton launches on the current device
        return _forward(_problem("forward", inputs), inputs, save_states)


def backward(dy, states, x, delta, delta_weight, A, B, C, D, delta_bias) -> tuple[Tensor, ...]:
    """Gradients of (x, delta, delta_weight, A, B, C, D, delta_bias)."""
    inputs = _prepared(x, project(delta, delta_weight), A, B, C, D, delta_bias)
    with torch.cuda.device_of(x):
        dx, ddelta, *grads = _backward(_problem("backward", inputs), inputs, dy.contiguous(), states)
    ddelta, dweight = project_backward(ddelta.movedim(0, 3), delta, delta_weight)
    dA, dB, dC = (grad[..., : A.shape[-1]] for grad in grads[:3])
    wide = (dx, dA, dB, dC, *grads[3:])
    dx, *others = (grad.to(like.dtype) for grad, like in zip(wide, (x, A, B, C, D, delta_bias), strict=True))
    return dx, ddelta, dweight, *others


def states_shape(x: Tensor, A: Tensor) -> tuple[int, ...]:
    """The shape of the states that `forward` keeps for x (b, h, w, d) and A (4, d, n)."""
    batch, height, width, channels = x.shape
    return batch, 4, -(-height * width // launches.SPAN), _padded(A.shape[-1]), channels


def _padded(n: int) -> int:
    """The states that the kernels see, a power of two: Triton's tensors have no other sides."""
    return 1 << (n - 1).bit_length()


def _prepared(x, delta, A, B, C, D, delta_bias) -> list[Tensor]:
    """What the kernels read: contiguous, delta (4, b, h, w, d), and with as many states as they want.

    States beyond A's stay 0, because B never feeds them. B and C are views of one projection whose rows are not
    aligned; aligned copies are loaded in fewer instructions. They are widened here, and not by every lane of a warp.
    """
    _, height, width, channels = x.shape
    n = _padded(A.shape[-1])
    if n > 64:
        raise RuntimeError(f"the scan backend 'triton' takes at most 64 states, got {A.shape[-1]}")
    if height * width * max(channels, 4 * n) >= 2**31:
        raise RuntimeError(f"the scan backend 'triton' counts an image's elements in 32 bits, got x {tuple(x.shape)}")
    if n > A.shape[-1]:  # to pad by nothing is to copy
        A, B, C = (F.pad(tensor, (0, n - tensor.shape[-1])) for tensor in (A, B, C))
    B, C = (tensor.to(computed_in(x.dtype)) for tensor in (B, C))
    return [tensor.contiguous() for tensor in (x, delta.movedim(3, 0), A, B, C, D, delta_bias)]


def _problem(kernel: str, inputs: list[Tensor]) -> Problem:
    x, _, A, *_ = inputs
    multiprocessors = torch.cuda.get_device_properties(x.device).multi_processor_count if x.is_cuda else 1
    batch, height, width, channels = x.shape
    return Problem(kernel, multiprocessors, batch, height, width, channels, A.shape[-1], x.dtype)


def _forward(problem: Problem, inputs: list[Tensor], save_states: bool) -> tuple[Tensor, Tensor]:
    x, delta, A, B, C, D, bias = inputs
    launch = launches.choose(problem)
    tiles, chunks, chunk = launches.layout(launch, problem)
    batch, height, width, channels = x.shape
    initial = _starts(launch, problem, x, delta, A, B, bias, adjoint=False) if chunks > 1 else None
    y = x.new_empty((4, *x.shape), dtype=computed_in(x.dtype))
    states = x.new_empty(states_shape(x, A) if save_states else 0, dtype=computed_in(x.dtype))
    kernels.scan[tiles, 4 * batch, chunks](
        x, delta, A, B, C, D, bias, initial, y, states, height, width, channels, chunk,
        SPAN=launches.SPAN, CHUNKED=chunks > 1, SAVE=save_states,
        **launches.walking_constants(launch, problem), **launches.constants(problem),
    )  # fmt: skip
    return y.sum(0), states


def _backward(problem: Problem, inputs: list[Tensor], dy: Tensor, states: Tensor) -> tuple[Tensor, ...]:
    """Gradients of the inputs (x, delta, A, B, C, D, bias), that of delta (4, b, h, w, d)."""
    x, delta, A, B, C, D, bias = inputs
    launch = launches.choose(problem)
    tiles, chunks, chunk = launches.layout(launch, problem)
    batch, height, width, channels = x.shape
    n, parts = problem.states, batch * chunks
    final = _starts(launch, problem, dy, delta, A, C, bias, adjoint=True) if chunks > 1 else None

    def empty(*shape):
        return x.new_empty(shape, dtype=computed_in(x.dtype))

    scratch = empty(tiles * 4 * parts * (launches.SPAN // launch.block * n + 2 * launches.SPAN) * problem.tile)
    dx, ddelta = empty(4, *x.shape), torch.empty_like(delta)
    dA, dD, dbias = empty(parts, 4, n, channels), empty(parts, 4, channels), empty(parts, 4, channels)
    dB, dC = empty(tiles, *B.shape), empty(tiles, *C.shape)
    kernels.scan_backward[tiles, 4 * batch, chunks](
        dy, states, x, delta, A, B, C, D, bias, final, scratch, dx, ddelta, dA, dB, dC, dD, dbias,
        height, width, channels, chunk, SPAN=launches.SPAN, CHUNKED=chunks > 1,
        **launches.walking_constants(launch, problem), **launches.constants(problem),
    )  # fmt: skip
    return dx.sum(0), ddelta, dA.sum(0).transpose(1, 2), dB.sum(0), dC.sum(0), dD.sum(0), dbias.sum(0)


def _starts(launch, problem, x, delta, A, B, bias, adjoint: bool) -> Tensor:
    """The state that every chunk starts from (b, 4, chunks, n, d).

    With `adjoint`, dy in place of x and C in place of B, it is the gradient of the state.
    """
    tiles, chunks, chunk = launches.layout(launch, problem)
    batch, height, width, channels = x.shape
    ends = x.new_empty((batch, 4, chunks, problem.states, channels), dtype=computed_in(x.dtype))
    steps = x.new_empty((batch, 4, chunks, channels), dtype=computed_in(x.dtype))
    constants = {"ADJOINT": adjoint, **launches.constants(problem)}
    kernels.chunk_ends[tiles, 4 * batch, chunks - 1](
        x, delta, A, B, bias, ends, steps, height, width, channels, chunk,
        **launches.walking_constants(launch, problem), **constants,
    )  # fmt: skip
    kernels.chain_chunks[tiles, 4 * batch](A, ends, steps, channels, chunks, BLOCK=CHAIN_BLOCK, **constants)
    return ends
