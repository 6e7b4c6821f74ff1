"""The selective scan fused for NVIDIA GPUs, in Triton: no nvcc, nothing stacked or flipped.

A program walks a tile of channels of one image in one direction (see `triton_kernels`). Where that makes too few
programs for the GPU (see `triton_launch`), a walk is cut into chunks, in three steps: what each chunk adds to the
state, what each starts from, and the scan itself.

No atomics, so results repeat bit by bit. What several programs add to (y and dx over the four directions, dB and dC
over tiles, the parameters' gradients over images and chunks) each writes as its own part, and the parts are added in a
fixed order. In units of x's size, at 16 states: the forward pass moves 4 of delta, up to 4 of x, and 4 written, 4 read
and 1 written for y. Were one program to walk all four directions it would save 2 of these and leave three quarters of
the GPU idle; walking a direction and its reverse together, chunk by chunk, would save 4 but always pay the second
exponential, and exponentials are the floor already. In the backward pass the parts are 8 for dx and 8 for dB and dC, of
about 35 in all, and instructions, not memory, are its floor.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from . import triton_kernels as kernels
from . import triton_launch as launches
from .triton_launch import Launch, Problem

CHAIN_BLOCK = 4  # chunks whose ends are loaded together
SERIES_TERMS = {torch.float32: 7, torch.float64: 16}  # of softplus' series, whose terms fall by 9: to the last bits


def forward(x, delta, A, B, C, D, delta_bias, save_states: bool) -> tuple[Tensor, Tensor]:
    """The scan's output (b, h, w, d) and, if asked for, the state at every span's start (b, 4, spans, n, d).

    Raises:
        RuntimeError: more than 64 states, or an image whose elements 32 bits cannot count.
    """
    inputs = _prepared(x, delta, A, B, C, D, delta_bias)
    return _run("forward", _forward, *inputs, save_states)


def backward(dy, states, x, delta, A, B, C, D, delta_bias) -> tuple[Tensor, ...]:
    """Gradients of (x, delta, A, B, C, D, delta_bias)."""
    inputs = _prepared(x, delta, A, B, C, D, delta_bias)
    dx, ddelta, dA, dB, dC, dD, dbias = _run("backward", _backward, *inputs, dy.contiguous(), states)
    n = A.shape[-1]
    grads = (dx, ddelta, dA[..., :n], dB[..., :n], dC[..., :n], dD, dbias)
    return tuple(grad.to(like.dtype) for grad, like in zip(grads, (x, delta, A, B, C, D, delta_bias), strict=True))


def states_shape(x: Tensor, A: Tensor) -> tuple[int, ...]:
    """Of the states that `forward` keeps for x (b, h, w, d) and A (4, d, n)."""
    batch, height, width, channels = x.shape
    return batch, 4, -(-height * width // launches.SPAN), _padded(A.shape[-1]), channels


def _padded(n: int) -> int:
    """The states that the kernels see: a power of two, and at least what 4 channels per thread leave to a thread."""
    return max(4, 1 << (n - 1).bit_length())


def _prepared(x, delta, A, B, C, D, delta_bias) -> list[Tensor]:
    """Contiguous, and with as many states as the kernels want: those that B never feeds stay 0.

    B and C are views of one projection whose rows are not aligned. Their copies cost a tenth of the traffic, and save
    three quarters of the loads. They are made wide: all lanes of a warp need all of B and C, and to widen them there
    would take a sixth of the forward pass' instructions.
    """
    _, height, width, channels = x.shape
    n = _padded(A.shape[-1])
    if n > 64:
        raise RuntimeError(f"the scan backend 'triton' takes at most 64 states, got {A.shape[-1]}")
    if height * width * max(channels, 4 * n) >= 2**31:
        raise RuntimeError(f"the scan backend 'triton' counts an image's elements in 32 bits, got x {tuple(x.shape)}")
    if n > A.shape[-1]:  # to pad by nothing is to copy
        A, B, C = (F.pad(tensor, (0, n - tensor.shape[-1])) for tensor in (A, B, C))
    B, C = (tensor.to(_float(x.dtype)) for tensor in (B, C))
    return [tensor.contiguous() for tensor in (x, delta, A, B, C, D, delta_bias)]


def _run(kernel: str, function, x: Tensor, delta: Tensor, A: Tensor, *others):
    """`function`, launched as `triton_launch` says."""
    capability, multiprocessors = 0, 1
    if x.is_cuda:
        properties = torch.cuda.get_device_properties(x.device)
        capability, multiprocessors = 10 * properties.major + properties.minor, properties.multi_processor_count
    batch, height, width, channels = x.shape
    problem = Problem(kernel, capability, multiprocessors, batch, height, width, channels, A.shape[-1], x.dtype)

    def run(launch: Launch):
        return function(launch, problem, x, delta, A, *others)

    with torch.cuda.device_of(x):  # Triton launches on the current device
        return run(launches.choose(problem, run))


def _constants(problem: Problem) -> dict:
    """What every kernel is compiled for."""
    import triton.language as tl

    return {
        "N": problem.states,
        "TILE": problem.tile,
        "FULL": problem.channels % problem.tile == 0,
        "FLOAT": tl.float64 if problem.dtype == torch.float64 else tl.float32,
        "num_warps": 1,
        "num_stages": 1,
        "enable_fp_fusion": True,  # off by default from Triton 3.9 on
    }


def _walking(launch: Launch, problem: Problem) -> dict:
    """What the kernels that visit pixels are compiled for besides."""
    return {
        "BLOCK": launch.block,
        "STRAIGHT": problem.height % launch.block == 0 and problem.width % launch.block == 0,
        "TERMS": SERIES_TERMS[_float(problem.dtype)],
    }


def _float(dtype: torch.dtype) -> torch.dtype:
    """What is computed in, and parts are written in, whatever x comes in."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def _forward(launch, problem, x, delta, A, B, C, D, bias, save_states) -> tuple[Tensor, Tensor]:
    tiles, chunks, chunk = launches.layout(launch, problem)
    batch, height, width, channels = x.shape
    initial = _starts(launch, problem, x, delta, A, B, bias, adjoint=False) if chunks > 1 else None
    y = x.new_empty((4, *x.shape), dtype=_float(x.dtype))
    states = x.new_empty(states_shape(x, A) if save_states else 0, dtype=_float(x.dtype))
    kernels.scan[tiles, 4 * batch, chunks](
        x, delta, A, B, C, D, bias, initial, y, states, height, width, channels, chunk,
        SPAN=launches.SPAN, CHUNKED=chunks > 1, SAVE=save_states, **_walking(launch, problem), **_constants(problem),
    )  # fmt: skip
    return y.sum(0), states


def _backward(launch, problem, x, delta, A, B, C, D, bias, dy, states) -> tuple[Tensor, ...]:
    tiles, chunks, chunk = launches.layout(launch, problem)
    batch, height, width, channels = x.shape
    n, parts = problem.states, batch * chunks
    final = _starts(launch, problem, dy, delta, A, C, bias, adjoint=True) if chunks > 1 else None

    def empty(*shape):
        return x.new_empty(shape, dtype=_float(x.dtype))

    scratch = empty(tiles * 4 * parts * (launches.SPAN // launch.block * n + 2 * launches.SPAN) * problem.tile)
    dx, ddelta = empty(4, *x.shape), torch.empty_like(delta)
    dA, dD, dbias = empty(parts, 4, n, channels), empty(parts, 4, channels), empty(parts, 4, channels)
    dB, dC = empty(tiles, *B.shape), empty(tiles, *C.shape)
    kernels.scan_backward[tiles, 4 * batch, chunks](
        dy, states, x, delta, A, B, C, D, bias, final, scratch, dx, ddelta, dA, dB, dC, dD, dbias,
        height, width, channels, chunk,
        SPAN=launches.SPAN, CHUNKED=chunks > 1, **_walking(launch, problem), **_constants(problem),
    )  # fmt: skip
    return dx.sum(0), ddelta, dA.sum(0).transpose(1, 2), dB.sum(0), dC.sum(0), dD.sum(0), dbias.sum(0)


def _starts(launch, problem, x, delta, A, B, bias, adjoint: bool) -> Tensor:
    """The state that every chunk starts from (b, 4, chunks, n, d); for the adjoint, of dy and C, the gradient's."""
    tiles, chunks, chunk = launches.layout(launch, problem)
    batch, height, width, channels = x.shape
    ends = x.new_empty((batch, 4, chunks, problem.states, channels), dtype=_float(x.dtype))
    steps = x.new_empty((batch, 4, chunks, channels), dtype=_float(x.dtype))
    constants = {"ADJOINT": adjoint, **_constants(problem)}
    kernels.chunk_ends[tiles, 4 * batch, chunks - 1](
        x, delta, A, B, bias, ends, steps, height, width, channels, chunk,
        **_walking(launch, problem), **constants,
    )  # fmt: skip
    kernels.chain_chunks[tiles, 4 * batch](A, ends, steps, channels, chunks, BLOCK=CHAIN_BLOCK, **constants)
    return ends
