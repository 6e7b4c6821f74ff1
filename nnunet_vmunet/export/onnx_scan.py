"""The four-direction selective scan in ONNX: what `ops/naive.py` computes, as a function that the model calls.

ONNX's own Scan operator walks the pixels, with six small nodes for a step. Directions 2 and 3 are directions 0 and 1
read from the end, which Scan does by itself: nothing is copied in reverse. onnxscript compiles these functions: their
bodies are programs of ONNX, with Python's words.

Shapes: b batch, h rows, w columns, l = h·w steps, d channels, n states, r rank of delta; the 4 is the direction. A walk
has two of them, one by rows and one by columns.
"""

# mypy: ignore-errors

from onnxscript import FLOAT, graph, script, values
from onnxscript import opset18 as op

DOMAIN = values.Opset("nnunet_vmunet", 1)


@script(DOMAIN, default_opset=op)
def softplus(x: FLOAT[...]) -> FLOAT[...]:
    """ONNX's own, which takes onnxruntime 12 ns for a value; these five operators take 3."""
    largest = op.Constant(value_float=80.0)  # whose exponential is a float32: above it softplus is x
    return op.Max(x, op.Log(1.0 + op.Exp(op.Min(x, largest))))


@script(DOMAIN, default_opset=op)
def walk(rows: FLOAT[...], columns: FLOAT[...]) -> FLOAT[...]:
    """(b, h, w, c) of the direction by rows and of the one by columns, to (l, b, 2, c)."""
    steps = op.Concat([-1], op.Shape(rows, start=0, end=1), [1], op.Shape(rows, start=3), axis=0)
    by_rows = op.Reshape(op.Transpose(rows, perm=[1, 2, 0, 3]), steps)
    by_columns = op.Reshape(op.Transpose(columns, perm=[2, 1, 0, 3]), steps)
    return op.Concat(by_rows, by_columns, axis=2)


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
) -> FLOAT[...]:
    """Arguments and result as `nnunet_vmunet.ops.ss2d_scan`, with a weight."""
    # The steps Δ, and what they bring into the states, for all directions at once: (4, b·h·w, d).
    to_rows = op.Concat([4, -1], op.Shape(delta, start=4), axis=0)
    ranks = op.Reshape(op.Transpose(delta, perm=[3, 0, 1, 2, 4]), to_rows)
    flat_steps = softplus(op.MatMul(ranks, op.Transpose(weight, perm=[0, 2, 1])) + op.Unsqueeze(bias, [1]))
    flat_inputs = flat_steps * op.Reshape(x, op.Concat([1, -1], op.Shape(x, start=3), axis=0))
    to_pixels = op.Concat([4], op.Shape(x), axis=0)
    step_0, step_1, step_2, step_3 = op.Split(op.Reshape(flat_steps, to_pixels), num_outputs=4, axis=0)
    input_0, input_1, input_2, input_3 = op.Split(op.Reshape(flat_inputs, to_pixels), num_outputs=4, axis=0)
    B_0, B_1, B_2, B_3 = op.Split(B, num_outputs=4, axis=3)
    C_0, C_1, C_2, C_3 = op.Split(C, num_outputs=4, axis=3)
    A_forth, A_back = op.Split(op.Transpose(A, perm=[0, 2, 1]), num_outputs=2, axis=0)  # (2, n, d) each

    n_and_d = op.Shape(A_forth, start=1)
    start = op.ConstantOfShape(op.Concat(op.Shape(x, start=0, end=1), [2], n_and_d, axis=0))

    @graph()
    def step_forth(h, dt, u, B_t, C_t):
        """h (b, 2, n, d), dt and u (b, 2, 1, d), B_t (b, 2, n, 1) and C_t (b, 2, 1, n)."""
        h_t = op.Exp(dt * A_forth) * h + op.MatMul(B_t, u)
        y_t = op.MatMul(C_t, h_t)
        return h_t, y_t

    @graph()
    def step_back(h, dt, u, B_t, C_t):
        h_t = op.Exp(dt * A_back) * h + op.MatMul(B_t, u)
        y_t = op.MatMul(C_t, h_t)
        return h_t, y_t

    _, y_forth = op.Scan(
        start,
        op.Unsqueeze(walk(op.Squeeze(step_0, [0]), op.Squeeze(step_1, [0])), [3]),
        op.Unsqueeze(walk(op.Squeeze(input_0, [0]), op.Squeeze(input_1, [0])), [3]),
        op.Unsqueeze(walk(op.Squeeze(B_0, [3]), op.Squeeze(B_1, [3])), [4]),
        op.Unsqueeze(walk(op.Squeeze(C_0, [3]), op.Squeeze(C_1, [3])), [3]),
        body=step_forth,
        num_scan_inputs=4,
    )
    _, y_back = op.Scan(
        start,
        op.Unsqueeze(walk(op.Squeeze(step_2, [0]), op.Squeeze(step_3, [0])), [3]),
        op.Unsqueeze(walk(op.Squeeze(input_2, [0]), op.Squeeze(input_3, [0])), [3]),
        op.Unsqueeze(walk(op.Squeeze(B_2, [3]), op.Squeeze(B_3, [3])), [4]),
        op.Unsqueeze(walk(op.Squeeze(C_2, [3]), op.Squeeze(C_3, [3])), [3]),
        body=step_back,
        num_scan_inputs=4,
        scan_input_directions=[1, 1, 1, 1],
        scan_output_directions=[1],
    )
    by_rows, by_columns = op.Split(op.Squeeze(y_forth + y_back, [3]), num_outputs=2, axis=2)  # (l, b, 1, d) each
    b, h, w, d = op.Split(op.Shape(x), num_outputs=4)
    rows = op.Transpose(op.Reshape(by_rows, op.Concat(h, w, b, d, axis=0)), perm=[2, 0, 1, 3])
    columns = op.Transpose(op.Reshape(by_columns, op.Concat(w, h, b, d, axis=0)), perm=[2, 1, 0, 3])
    return rows + columns + x * op.ReduceSum(D, [0], keepdims=0)


@script(DOMAIN, default_opset=op)
def no_states() -> FLOAT[...]:
    """The operator's second output, which nobody reads."""
    return op.ConstantOfShape([0])


FUNCTIONS = (softplus, walk, ss2d_scan, no_states)
