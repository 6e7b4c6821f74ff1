"""The four-direction selective scan in ONNX: what `ops/naive.py` computes, as functions that the model calls.

ONNX's own Scan operator walks the pixels, with seven small nodes for a step, which cost onnxruntime time before they
compute anything. So several directions walk together, as far as `walks_together` says: their matrices are then blocks
of larger ones. An outer Scan takes images and groups one after the other: products of matrices with two axes are the
fastest. onnxscript compiles these functions: their bodies are programs of ONNX, with Python's words.

Shapes: b batch, h rows, w columns, l = h·w steps, d channels, n states, r rank of delta; k directions walk together, in
g = 4 / k groups.
"""

# mypy: ignore-errors

import torch
from onnxscript import FLOAT, INT64, graph, script, values
from onnxscript import opset18 as op

from ..ops.directions import order

DOMAIN = values.Opset("nnunet_vmunet", 1)
DIRECTIONS = 4
OF_ONE_THREAD = 2**16  # products in a matrix product that onnxruntime computes on one thread; others slow a step down


def walks_together(n_states: int, channels: int) -> int:
    """k, as large as one thread allows: the largest matrix product of a step is (k·n, k) by (k, d)."""
    return next((k for k in (4, 2) if k * k * n_states * channels <= OF_ONE_THREAD), 1)


def walks(height: int, width: int, together: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Where the walks pass: indices of pixels numbered by rows, of a pixel's four directions, and back.

    pixels: (g, l, k), the pixel of each step. rows: (g, l, k) of (h·w·4), with the direction. places: (4, h·w), where
    among (g·l·k) each direction met each pixel.
    """
    steps, groups = height * width, DIRECTIONS // together
    numbered = torch.arange(groups * steps * together).view(groups, steps, together)
    pixels = order(height, width).view(groups, together, steps).transpose(1, 2)
    direction = torch.arange(DIRECTIONS).view(groups, 1, together)
    places = torch.empty(DIRECTIONS * steps, dtype=torch.int64)
    places[(direction * steps + pixels).flatten()] = numbered.flatten()
    return pixels.contiguous(), pixels * DIRECTIONS + direction, places.view(DIRECTIONS, steps)


@script(DOMAIN, default_opset=op)
def softplus(x: FLOAT[...]) -> FLOAT[...]:
    """ONNX's own, which takes onnxruntime 12 ns for a value; these five operators take 3."""
    largest = op.Constant(value_float=80.0)  # whose exponential is a float32: above it softplus is x
    return op.Max(x, op.Log(1.0 + op.Exp(op.Min(x, largest))))


@script(DOMAIN, default_opset=op)
def on_walks(values: FLOAT[...], indices: INT64[...]) -> FLOAT[...]:
    """(b, h, w, ..., c) to (b, g, l, k, c): what each step meets."""
    flat = op.Concat(op.Shape(values, start=0, end=1), [-1], op.Shape(values, start=-1), axis=0)
    return op.Gather(op.Reshape(values, flat), indices, axis=1)


@script(DOMAIN, default_opset=op)
def blocks(rows: FLOAT[...], k: INT64[...]) -> FLOAT[...]:
    """(..., k, c) to (..., k, k·c): each row in its own columns, with zeros in the others."""
    square = op.Concat(k, k, axis=0)
    own = op.Unsqueeze(op.EyeLike(op.ConstantOfShape(square)), [2])
    spread = op.Unsqueeze(rows, [-2]) * own  # (..., k, k, c)
    shape = op.Concat(op.Shape(rows, end=-1), [-1], axis=0)
    return op.Reshape(spread, shape)


@script(DOMAIN, default_opset=op)
def steps(ranks: FLOAT[...], weight: FLOAT[...], bias: FLOAT[...]) -> FLOAT[...]:
    """Δ (b, g, l, k, d) of the ranks (b, g, l, k, r): side by side, times the directions' matrices on a diagonal."""
    k, d, rank = op.Shape(ranks, start=3, end=4), op.Shape(weight, start=1, end=2), op.Shape(weight, start=2)
    by_rank = op.Reshape(op.Transpose(weight, perm=[2, 0, 1]), op.Concat(rank, [-1], k, d, axis=0))  # (r, g, k, d)
    diagonal = op.Transpose(blocks(by_rank, k), perm=[1, 2, 0, 3])  # (g, k, r, k·d)
    matrix = op.Reshape(diagonal, op.Concat([-1], k * rank, k * d, axis=0))
    side_by_side = op.Reshape(ranks, op.Concat(op.Shape(ranks, end=3), [-1], axis=0))
    shifts = op.Reshape(bias, op.Concat([-1], [1], k * d, axis=0))
    of_steps = op.Concat(op.Shape(ranks, end=4), d, axis=0)
    return op.Reshape(softplus(op.MatMul(side_by_side, matrix) + shifts), of_steps)


@script(DOMAIN, default_opset=op)
def walk_together(dt: FLOAT[...], u: FLOAT[...], B: FLOAT[...], C: FLOAT[...], A: FLOAT[...]) -> FLOAT[...]:
    """dt (l, k, 1, d), u (l, k, d), B and C (l, k, k·n), A (k, n, d) to y (l, k, d)."""
    states = op.Concat([-1], op.Shape(A, start=2), axis=0)
    start = op.ConstantOfShape(op.Concat(op.Shape(B, start=2), op.Shape(A, start=2), axis=0))

    @graph()
    def step(h, dt_t, u_t, B_t, C_t):
        h_t = op.Gemm(B_t, u_t, op.Exp(op.Reshape(dt_t * A, states)) * h, transA=1)
        y_t = op.MatMul(C_t, h_t)
        return h_t, y_t

    _, y = op.Scan(start, dt, u, B, C, body=step, num_scan_inputs=4)
    return y


@script(DOMAIN, default_opset=op)
def ss2d_scan(
    x: FLOAT[...],
    delta: FLOAT[...],
    weight: FLOAT[...],
    A: FLOAT[...],
    B: FLOAT[...],
    C: FLOAT[...],
    D: FLOAT[...],
    bias: FLOAT[...],
    pixels: INT64[...],
    rows: INT64[...],
    places: INT64[...],
) -> FLOAT[...]:
    """Arguments and result as `nnunet_vmunet.ops.ss2d_scan`, with a weight, and with the indices of `walks`."""
    k = op.Shape(pixels, start=2)
    b, d, n = op.Shape(x, end=1), op.Shape(x, start=3), op.Shape(A, start=2)
    walked = on_walks(x, pixels)
    dt = steps(on_walks(delta, rows), weight, bias)
    u = dt * walked
    of_groups = op.Reshape(op.Transpose(A, perm=[0, 2, 1]), op.Concat([1], [-1], k, n, d, axis=0))
    of_images = op.Expand(of_groups, op.Concat(b, [1], [1], [1], [1], axis=0))  # (b, g, k, n, d)
    items = op.Concat([-1], op.Shape(pixels, start=1), axis=0)  # (b·g, l, k)

    @graph()
    def item(dt_i, u_i, B_i, C_i, A_i):
        y_i = walk_together(dt_i, u_i, B_i, C_i, A_i)
        return y_i

    y = op.Scan(
        op.Reshape(dt, op.Concat(items, [1], d, axis=0)),
        op.Reshape(u, op.Concat(items, d, axis=0)),
        op.Reshape(blocks(on_walks(B, rows), k), op.Concat(items, k * n, axis=0)),
        op.Reshape(blocks(on_walks(C, rows), k), op.Concat(items, k * n, axis=0)),
        op.Reshape(of_images, op.Concat([-1], k, n, d, axis=0)),
        body=item,
        num_scan_inputs=5,
    )
    of_pixels = op.Gather(op.Reshape(y, op.Concat(b, [-1], d, axis=0)), places, axis=1)  # (b, 4, h·w, d)
    summed = op.Reshape(op.ReduceSum(of_pixels, [1], keepdims=0), op.Shape(x))
    return summed + x * op.ReduceSum(D, [0], keepdims=0)


@script(DOMAIN, default_opset=op)
def no_states() -> FLOAT[...]:
    """The operator's second output, which nobody reads."""
    return op.ConstantOfShape([0])


FUNCTIONS = (softplus, on_walks, blocks, steps, walk_together, ss2d_scan, no_states)
