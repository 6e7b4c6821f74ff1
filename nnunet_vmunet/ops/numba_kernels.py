"""The compiled loops of the numba backend: one image's channel tile at a time, four walks over its pixels.

The states of a tile are laid out (n, tile), channels innermost: LLVM turns the loop over channels into vector
instructions, and b and c are scalars in it. `exp` and `softplus` live here too, because numba's cache of compiled
code notices a change in this file only.

Shapes as in `nnunet_vmunet.ops.ss2d_scan`, but delta is (4, b, h, w, d); `tile` is a slice of the channels;
t ≤ STEPS steps of one block.
"""

import math

import numpy as np
from numba import njit, types
from numba.extending import overload

STEPS = 64  # per block: forward keeps the state at each block's start, backward rebuilds those in between

# Contraction, a·b + c in one instruction, costs no accuracy. Reassociation does, and would undo the rounding trick in
# `exp` if `exp` allowed it: only the loops that sum over channels need it, to be vectorised.
compiled = njit(error_model="numpy", fastmath={"contract", "nsz"})
compiled_sums = njit(error_model="numpy", fastmath={"contract", "nsz", "reassoc"})


def kernel(function):
    """Compiled without Python's lock, and kept on disk: beside this file, else in the user's cache, else not at all."""
    try:
        return njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # numba found no folder that it may write to
        return njit(nogil=True, error_model="numpy")(function)


ZERO, ONE = np.float32(0), np.float32(1)  # not 0 and 1: numba makes a float64 of a float32 and an integer


@kernel
def forward(batch, tile, x, delta, A, B, C, D, delta_bias, y, states):
    """Adds to y[batch, :, :, tile], and writes states[batch, ..., tile] unless states is empty."""
    _, height, width, _ = x.shape
    dtype, shape = x.dtype, (A.shape[-1], tile.stop - tile.start)
    h, At = np.empty(shape, dtype), np.empty(shape, dtype)
    dt, du = np.empty(shape[1], dtype), np.empty(shape[1], dtype)
    for k in range(4):
        h[:] = 0
        At[:] = A[k, tile].T
        for step in range(height * width):
            if states.size and step % STEPS == 0:
                states[batch, k, step // STEPS, :, tile] = h
            row, column = pixel(k, step, height, width)
            x_t, y_t = x[batch, row, column, tile], y[batch, row, column, tile]
            begin_step(x_t, delta[k, batch, row, column, tile], delta_bias[k, tile], dt, du)
            add_product(x_t, D[k, tile], y_t)
            advance(dt, du, At, B[batch, row, column, k], C[batch, row, column, k], h, y_t)


@kernel
def backward(batch, tile, part, dy, states, x, delta, A, B, C, D, delta_bias, dx, ddelta, dA, dB, dC, dD, dbias):
    """Adds to one tile of one image's dx (b, h, w, d), dD and dbias (b, 4, d); writes its ddelta (4, b, h, w, d) and
    dA (b, 4, n, d), and its part of the sums over the channels, dB[part, batch] and dC[part, batch].
    """
    _, height, width, _ = x.shape
    length, n_states, channels, dtype = height * width, A.shape[-1], tile.stop - tile.start, x.dtype
    per_state, per_step, scalars = (n_states, channels), (STEPS, channels), (n_states, STEPS)
    # of every state: A, the gradient of the state after the step at hand, the gradient of A
    At, carry, dAt = np.empty(per_state, dtype), np.empty(per_state, dtype), np.empty(per_state, dtype)
    # of every step in the block: inputs, du = dt·x, and the gradients of du and, through the decays alone, of dt
    xs, dys, dt, du = (
        np.empty(per_step, dtype), np.empty(per_step, dtype), np.empty(per_step, dtype), np.empty(per_step, dtype),
    )  # fmt: skip
    ddu, ddt = np.empty(per_step, dtype), np.empty(per_step, dtype)
    # of one state: its value, and before every step its value and decay
    h, before, decay = np.empty(channels, dtype), np.empty(per_step, dtype), np.empty(per_step, dtype)
    Bs, Cs, dBs, dCs = (
        np.empty(scalars, dtype), np.empty(scalars, dtype), np.empty(scalars, dtype), np.empty(scalars, dtype),
    )  # fmt: skip
    # LLVM tests at run time that arrays do not overlap; where a loop counts down the test fails, and the loop runs
    # unvectorised, three times slower. It cannot see that this list counts down.
    backwards = np.arange(STEPS - 1, -1, -1)
    for k in range(4):
        At[:] = A[k, tile].T
        carry[:] = 0
        dAt[:] = 0
        for block in range((length - 1) // STEPS, -1, -1):
            first = block * STEPS
            steps = min(STEPS, length - first)
            for t in range(steps):
                row, column = pixel(k, first + t, height, width)
                copy(x[batch, row, column, tile], xs[t])
                copy(dy[batch, row, column, tile], dys[t])
                copy(B[batch, row, column, k], Bs[:, t])
                copy(C[batch, row, column, k], Cs[:, t])
                begin_step(xs[t], delta[k, batch, row, column, tile], delta_bias[k, tile], dt[t], du[t])
            ddu[:] = 0
            ddt[:] = 0
            for n in range(n_states):
                copy(states[batch, k, block, n, tile], h)
                replay(steps, At[n], Bs[n], dt, du, dys, h, before, decay, dCs[n])
                retreat(
                    backwards[STEPS - steps :], At[n], Bs[n], Cs[n], dt, du, dys, before, decay,
                    carry[n], ddu, ddt, dBs[n], dAt[n],
                )  # fmt: skip
            for t in range(steps):
                row, column = pixel(k, first + t, height, width)
                copy(dBs[:, t], dB[part, batch, row, column, k])
                copy(dCs[:, t], dC[part, batch, row, column, k])
                add_product(dys[t], D[k, tile], dx[batch, row, column, tile])
                add_product(dys[t], xs[t], dD[batch, k, tile])
                add_product(ddu[t], dt[t], dx[batch, row, column, tile])
                end_step(
                    delta[k, batch, row, column, tile], delta_bias[k, tile], xs[t], ddu[t], ddt[t],
                    ddelta[k, batch, row, column, tile], dbias[batch, k, tile],
                )  # fmt: skip
        dA[batch, k, :, tile] = dAt


@compiled
def pixel(k, step, height, width):
    """Row and column of direction k's step: see `directions`."""
    if k >= 2:
        step = height * width - 1 - step
    if k % 2 == 0:
        return step // width, step % width
    return step % height, step // height


@compiled
def begin_step(x, delta, delta_bias, dt, du):
    """dt = softplus(delta + delta_bias) and du = dt·x."""
    for i in range(len(dt)):
        dt[i] = softplus(delta[i] + delta_bias[i])
        du[i] = dt[i] * x[i]


@compiled
def advance(dt, du, A, b, c, h, y):
    """One step of all states: h ← exp(dt A) h + du b, y += c·h."""
    for n in range(len(h)):
        b_n, c_n = b[n], c[n]
        for i in range(len(dt)):
            h_i = exp(dt[i] * A[n, i]) * h[n, i] + du[i] * b_n
            h[n, i] = h_i
            y[i] += h_i * c_n


@compiled_sums
def replay(steps, A, b, dt, du, dy, state, before, decay, dc):
    """One state over a block's steps: keeps what `retreat` needs, and sums c's gradient over the channels."""
    for t in range(steps):
        b_t, dt_t, du_t, dy_t, before_t, decay_t, dc_t = b[t], dt[t], du[t], dy[t], before[t], decay[t], ZERO
        for i in range(len(A)):
            before_t[i] = state[i]
            decay_t[i] = exp(dt_t[i] * A[i])
            h = decay_t[i] * state[i] + du_t[i] * b_t
            state[i] = h
            dc_t += dy_t[i] * h
        dc[t] = dc_t


@compiled_sums
def retreat(backwards, A, b, c, dt, du, dy, before, decay, carry, ddu, ddt, db, dA):
    """One state over a block's steps, backwards; carry is the gradient of the state after the block."""
    for t in backwards:
        b_t, c_t, dt_t, du_t, dy_t, before_t, decay_t, db_t = b[t], c[t], dt[t], du[t], dy[t], before[t], decay[t], ZERO
        ddu_t, ddt_t = ddu[t], ddt[t]
        for i in range(len(A)):
            g = carry[i] + dy_t[i] * c_t  # the gradient of the state after step t
            db_t += g * du_t[i]
            ddu_t[i] += g * b_t
            g *= decay_t[i]
            carry[i] = g
            g *= before_t[i]  # the gradient of the exponent dt·A
            ddt_t[i] += g * A[i]
            dA[i] += g * dt_t[i]
        db[t] = db_t


@compiled
def end_step(delta, delta_bias, x, ddu, ddt, ddelta, dbias):
    """The gradients of delta and its bias from those of du and, through the decays, of dt."""
    for i in range(len(x)):
        g = (ddt[i] + ddu[i] * x[i]) * sigmoid(delta[i] + delta_bias[i])
        ddelta[i] = g
        dbias[i] += g


@compiled
def copy(source, target):
    """As target[:] = source, less numba's code for lengths that differ, which is slow to run and to compile."""
    for i in range(len(target)):
        target[i] = source[i]


@compiled
def add_product(a, b, total):
    for i in range(len(total)):
        total[i] += a[i] * b[i]


def exp(x):
    """exp(x) for x ≤ 0; float32 stops at 1e-37, the smallest that keeps full precision."""
    raise NotImplementedError


@overload(exp, jit_options={"fastmath": {"contract"}, "forceinline": True})
def _exp(x):
    if x == types.float64:
        return lambda x: math.exp(x)

    def exp32(x):
        """exp(x) = 2^m exp(r), m integer and |r| ≤ ln(2)/2; the polynomial is within 1.1e-7, and exact for tiny r."""
        x = LOWEST if x < LOWEST else x  # so written, NaN stays NaN
        shifted = x * LOG2_E + ROUNDER  # its last bits are m
        r = x - (shifted - ROUNDER) * LN_2
        p = np.float32(0.00831247773)
        p = p * r + np.float32(0.0418905504)
        p = p * r + np.float32(0.166671157)
        p = p * r + np.float32(0.499992281)
        p = p * r + np.float32(1.0)
        p = p * r + np.float32(1.0)
        exponent = np.float32(shifted).view(np.int32) << 23
        return np.int32(np.float32(p).view(np.int32) + exponent).view(np.float32)

    return exp32


LOWEST = np.float32(-86.0)
LOG2_E = np.float32(1.44269504)
LN_2 = np.float32(0.693147182)
ROUNDER = np.float32(1.5 * 2**23)  # adding it rounds a float32 to an integer


def log1p(x):
    """log(1 + x); float32 for 0 ≤ x ≤ 1 only."""
    raise NotImplementedError


@overload(log1p, jit_options={"fastmath": {"contract"}, "forceinline": True})
def _log1p(x):
    if x == types.float64:
        return lambda x: math.log1p(x)

    def log1p32(x):
        """A polynomial within 4e-8, relative; exact for tiny x."""
        p = np.float32(0.0053648185)
        p = p * x - np.float32(0.0300657693)
        p = p * x + np.float32(0.0792044997)
        p = p * x - np.float32(0.137537986)
        p = p * x + np.float32(0.191536531)
        p = p * x - np.float32(0.248571634)
        p = p * x + np.float32(0.33321324)
        p = p * x - np.float32(0.499996483)
        p = p * x + np.float32(1.0)
        return p * x

    return log1p32


@compiled
def softplus(x):
    return max(x, ZERO) + log1p(exp(-abs(x)))


@compiled
def sigmoid(x):
    e = exp(-abs(x))
    return (e if x < ZERO else ONE) / (e + ONE)
