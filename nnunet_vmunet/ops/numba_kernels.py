"""The compiled loops of the numba backend: one image's channel tile at a time, four walks over its pixels.

A walk goes in blocks of STEPS pixels. The rows of a block are first gathered into arrays that stay in the first-level
cache; then the recurrence runs over them for one state and one vector of channels at a time, in registers.

Shapes: as in `nnunet_vmunet.ops.ss2d_scan`, with the pixels of an image in one axis of length l, delta (b, l, 4, r)
with delta_weight (4, r, d), or (b, l, 4, d) with (4, 0, d), and d a whole number of vectors. order (4, l) lists each
direction's pixels. `tile` is a range of channels, `width` long; t ≤ STEPS steps of one block.
"""

import math

import numpy as np
from numba import njit, types
from numba.extending import overload

from .simd import add_to_exponent, by_lane, fill, lane_sum, lanes, load, maximum, store, where_negative

STEPS = 32  # per block: forward keeps the state at each block's start, backward rebuilds those in between

compiled = njit(error_model="numpy", inline="always")


def kernel(function):
    """Compiled without Python's lock, and kept on disk: beside this file, else in the user's cache, else not at all."""
    try:
        return njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # numba found no folder that it may write to
        return njit(nogil=True, error_model="numpy")(function)


@kernel
def forward(first_job, last_job, width, order, x, delta, delta_weight, A, B, C, D, delta_bias, y, states):
    """Adds to y and, unless it is empty, writes states: of each job's image the job's channels. See `channels_of`."""
    for job in range(first_job, last_job):
        image, tile = channels_of(job, width, x)
        scan(image, tile, order, x, delta, delta_weight, A, B, C, D, delta_bias, y, states)


@kernel
def backward(
    first_job, last_job, width, order, dy, states, x, delta, delta_weight, A, B, C, D, delta_bias,
    dx, ddelta, dA, dB, dC, dD, dbias,
):  # fmt: skip
    """Walk the channels of each job's tile backward.

    It adds to dx (b, l, d), dD and dbias (b, 4, d). It writes ddelta (4, b, l, d), dA (b, 4, n, d), and the tile's part
    of the sums over all channels, dB[part] and dC[part].
    """
    for job in range(first_job, last_job):
        image, tile = channels_of(job, width, x)
        part = tile.start // width
        scan_back(
            image, tile, order, dy, states, x, delta, delta_weight, A, B, C, D, delta_bias,
            dx, ddelta, dA, dB[part, image], dC[part, image], dD, dbias,
        )  # fmt: skip


@compiled
def channels_of(job, width, x):
    """A job's image and tile: jobs are numbered image by image, tile by tile."""
    channels = x.shape[-1]
    tiles = -(-channels // width)
    first = job % tiles * width
    return job // tiles, slice(first, min(first + width, channels))


@compiled
def scan(image, tile, order, x, delta, delta_weight, A, B, C, D, delta_bias, y, states):
    """One image's tile of channels in all four directions: adds to y (b, l, d), and keeps the state before each block
    in states (b, 4, blocks, n, d) unless that is empty.
    """
    length, n_states, width, dtype = x.shape[1], A.shape[-1], tile.stop - tile.start, x.dtype
    per_state, per_step, scalars = (n_states, width), (STEPS, width), (STEPS, n_states)
    At, h = np.empty(per_state, dtype), np.empty(per_state, dtype)
    deltas, dt = np.empty(per_step, dtype), np.empty(per_step, dtype)
    du, ys = np.empty(per_step, dtype), np.empty(per_step, dtype)
    Bs, Cs = np.empty(scalars, dtype), np.empty(scalars, dtype)
    for k in range(4):
        At[:] = A[k, tile].T
        h[:] = 0
        for first in range(0, length, STEPS):
            pixels = order[k, first : first + STEPS]
            if states.size:
                states[image, k, first // STEPS, :, tile] = h
            gather_scalars(image, pixels, k, B, C, Bs, Cs)
            gather_deltas(image, pixels, k, tile.start, width, delta, delta_weight, delta_bias, deltas)
            for t, pixel in enumerate(pixels):
                for i in range(0, width, lanes(x)):
                    channel = tile.start + i
                    x_t, dt_t = load(x, (image, pixel, channel)), softplus(load(deltas, (t, i)))
                    store(dt, (t, i), dt_t)
                    store(du, (t, i), dt_t * x_t)
                    store(ys, (t, i), load(y, (image, pixel, channel)) + load(D, (k, channel)) * x_t)
            for n in range(n_states):
                for i in range(0, width, lanes(x)):
                    advance(len(pixels), n, i, dt, du, At, Bs, Cs, h, ys)
            for t, pixel in enumerate(pixels):
                for i in range(0, width, lanes(x)):
                    store(y, (image, pixel, tile.start + i), load(ys, (t, i)))


@compiled
def scan_back(
    image, tile, order, dy, states, x, delta, delta_weight, A, B, C, D, delta_bias, dx, ddelta, dA, dB, dC, dD, dbias
):
    """The gradients of `scan`, block by block from the end; dB and dC (l, 4, n) are this image's and tile's part."""
    length, n_states, width, dtype = x.shape[1], A.shape[-1], tile.stop - tile.start, x.dtype
    per_state, per_step, per_vector = (n_states, width), (STEPS, width), (STEPS, lanes(x))
    # of every state: A, its value before the block, the gradient of the state after the block, the gradient of A
    At, h = np.empty(per_state, dtype), np.empty(per_state, dtype)
    carry, dAt = np.empty(per_state, dtype), np.empty(per_state, dtype)
    # of every step: inputs, dt = softplus(delta), du = dt·x, the gradients of du and, through the decays alone, of dt
    deltas, dys = np.empty(per_step, dtype), np.empty(per_step, dtype)
    dt, du = np.empty(per_step, dtype), np.empty(per_step, dtype)
    ddu, ddt = np.empty(per_step, dtype), np.empty(per_step, dtype)
    Bs, Cs = np.empty((STEPS, n_states), dtype), np.empty((STEPS, n_states), dtype)
    # of one state in one vector of channels: before every step its value and decay; the terms of dB and dC
    before, decay = np.empty(per_vector, dtype), np.empty(per_vector, dtype)
    dBs, dCs = np.empty(per_vector, dtype), np.empty(per_vector, dtype)
    for k in range(4):
        At[:] = A[k, tile].T
        carry[:] = 0
        dAt[:] = 0
        for block in range((length - 1) // STEPS, -1, -1):
            pixels = order[k, block * STEPS : (block + 1) * STEPS]
            h[:] = states[image, k, block, :, tile]
            gather_scalars(image, pixels, k, B, C, Bs, Cs)
            gather_deltas(image, pixels, k, tile.start, width, delta, delta_weight, delta_bias, deltas)
            for t, pixel in enumerate(pixels):
                for i in range(0, width, lanes(x)):
                    channel = tile.start + i
                    dt_t = softplus(load(deltas, (t, i)))
                    store(dt, (t, i), dt_t)
                    store(du, (t, i), dt_t * load(x, (image, pixel, channel)))
                    store(dys, (t, i), load(dy, (image, pixel, channel)))
            ddu[:] = 0
            ddt[:] = 0
            for n in range(n_states):
                dBs[:] = 0
                dCs[:] = 0
                for i in range(0, width, lanes(x)):
                    replay(len(pixels), n, i, dt, du, dys, At, Bs, h, before, decay, dCs)
                    retreat(len(pixels), n, i, dt, du, dys, At, Bs, Cs, before, decay, carry, ddu, ddt, dBs, dAt)
                for t, pixel in enumerate(pixels):
                    dB[pixel, k, n] = lane_sum(load(dBs, (t, 0)))
                    dC[pixel, k, n] = lane_sum(load(dCs, (t, 0)))
            for t, pixel in enumerate(pixels):
                for i in range(0, width, lanes(x)):
                    channel = tile.start + i
                    x_t, dy_t, ddu_t = load(x, (image, pixel, channel)), load(dys, (t, i)), load(ddu, (t, i))
                    ddelta_t = (load(ddt, (t, i)) + ddu_t * x_t) * sigmoid(load(deltas, (t, i)))
                    store(ddelta, (k, image, pixel, channel), ddelta_t)
                    add(dx, (image, pixel, channel), dy_t * load(D, (k, channel)) + ddu_t * load(dt, (t, i)))
                    add(dD, (image, k, channel), dy_t * x_t)
                    add(dbias, (image, k, channel), ddelta_t)
        dA[image, k, :, tile] = dAt


@compiled
def gather_scalars(image, pixels, k, B, C, Bs, Cs):
    """B and C (b, l, 4, n) of the block's pixels into Bs and Cs (STEPS, n)."""
    whole_vectors = B.shape[-1] // lanes(Bs) * lanes(Bs)
    for t, pixel in enumerate(pixels):
        for n in range(0, whole_vectors, lanes(Bs)):
            store(Bs, (t, n), load(B, (image, pixel, k, n)))
            store(Cs, (t, n), load(C, (image, pixel, k, n)))
        for n in range(whole_vectors, B.shape[-1]):
            Bs[t, n] = B[image, pixel, k, n]
            Cs[t, n] = C[image, pixel, k, n]


@compiled
def gather_deltas(image, pixels, k, first, width, delta, delta_weight, delta_bias, deltas):
    """The steps before softplus. In full they are the largest tensor of a scan, several times the size of x: of a
    low rank they are made here, and never leave the cache.
    """
    if delta_weight.shape[1]:
        project_deltas(image, pixels, k, first, width, delta, delta_weight, delta_bias, deltas)
    else:
        for t, pixel in enumerate(pixels):
            for i in range(0, width, lanes(deltas)):
                channel = first + i
                store(deltas, (t, i), load(delta_bias, (k, channel)) + load(delta, (image, pixel, k, channel)))


@compiled
def project_deltas(image, pixels, k, first, width, delta, delta_weight, delta_bias, deltas):
    """Four steps at a time: a sum over the rank waits for each of its terms, and four run side by side.

    Past the last step the last is repeated, into rows of `deltas` that nobody reads.
    """
    last = len(pixels) - 1
    for t in range(0, len(pixels), 4):
        a, b = delta[image, pixels[t], k], delta[image, pixels[min(t + 1, last)], k]
        c, d = delta[image, pixels[min(t + 2, last)], k], delta[image, pixels[min(t + 3, last)], k]
        for i in range(0, width, lanes(deltas)):
            at_a = at_b = at_c = at_d = load(delta_bias, (k, first + i))
            for r in range(delta_weight.shape[1]):
                weight = load(delta_weight, (k, r, first + i))
                at_a = at_a + weight * a[r]
                at_b = at_b + weight * b[r]
                at_c = at_c + weight * c[r]
                at_d = at_d + weight * d[r]
            store(deltas, (t, i), at_a)
            store(deltas, (t + 1, i), at_b)
            store(deltas, (t + 2, i), at_c)
            store(deltas, (t + 3, i), at_d)


@compiled
def advance(steps, n, i, dt, du, A, b, c, h, y):
    """One state over a block's steps: h ← exp(dt A) h + du b, y += c·h."""
    A_n, h_t = load(A, (n, i)) * LOG2_E, load(h, (n, i))
    for t in range(steps):
        h_t = exp2(load(dt, (t, i)) * A_n) * h_t + load(du, (t, i)) * b[t, n]
        add(y, (t, i), h_t * c[t, n])
    store(h, (n, i), h_t)


@compiled
def replay(steps, n, i, dt, du, dy, A, b, h, before, decay, dc):
    """One state over a block's steps: keeps what `retreat` needs, and adds up c's gradient."""
    A_n, h_t = load(A, (n, i)) * LOG2_E, load(h, (n, i))
    for t in range(steps):
        decay_t = exp2(load(dt, (t, i)) * A_n)
        store(before, (t, 0), h_t)
        store(decay, (t, 0), decay_t)
        h_t = decay_t * h_t + load(du, (t, i)) * b[t, n]
        add(dc, (t, 0), load(dy, (t, i)) * h_t)


@compiled
def retreat(steps, n, i, dt, du, dy, A, b, c, before, decay, carry, ddu, ddt, db, dA):
    """One state over a block's steps, backwards; carry is the gradient of the state after the block."""
    A_n, dA_n, g = load(A, (n, i)), load(dA, (n, i)), load(carry, (n, i))
    for t in range(steps - 1, -1, -1):
        g = g + load(dy, (t, i)) * c[t, n]  # the gradient of the state after step t
        add(db, (t, 0), g * load(du, (t, i)))
        add(ddu, (t, i), g * b[t, n])
        g = g * load(decay, (t, 0))
        dexponent = g * load(before, (t, 0))  # of dt·A
        add(ddt, (t, i), dexponent * A_n)
        dA_n = dA_n + dexponent * load(dt, (t, i))
    store(carry, (n, i), g)
    store(dA, (n, i), dA_n)


@compiled
def add(array, index, vector):
    store(array, index, load(array, index) + vector)


@compiled
def softplus(x):
    return maximum(x, 0.0) + log1p(exp(minus_magnitude(x)))


@compiled
def sigmoid(x):
    e = exp(minus_magnitude(x))
    return where_negative(x, e, fill(x, 1.0)) / (e + 1.0)


@compiled
def minus_magnitude(x):
    return where_negative(x, x, 0.0 - x)


@compiled
def exp(x):
    return exp2(x * LOG2_E)


def exp2(x):
    """2^x for x ≤ 0; float32 stops at 2^-125, the smallest that keeps full precision."""
    raise NotImplementedError


@overload(exp2, inline="always")
def _exp2(x):
    if x.dtype == types.float64:
        exp2_64 = by_lane(lambda x: 2.0**x)
        return lambda x: exp2_64(x)

    def exp2_32(x):
        """2^x = 2^m 2^r, m integer and |r| ≤ ½; the polynomial is within 1.7e-7, and exact for tiny r."""
        x = maximum(x, -125.0)
        shifted = x + ROUNDER  # its last bits are m
        r = x - (shifted - ROUNDER)
        p = r * 0.001326472731307149 + 0.009671512991189957
        p = p * r + 0.05550733581185341
        p = p * r + 0.24022242426872253
        p = p * r + 0.6931470036506653
        p = p * r + 1.0
        return add_to_exponent(p, shifted)

    return exp2_32


LOG2_E = 1 / math.log(2)
ROUNDER = 1.5 * 2**23  # adding it rounds a float32 to an integer


def log1p(x):
    """log(1 + x); float32 for 0 ≤ x ≤ 1 only."""
    raise NotImplementedError


@overload(log1p, inline="always")
def _log1p(x):
    if x.dtype == types.float64:
        log1p_64 = by_lane(lambda x: math.log1p(x))
        return lambda x: log1p_64(x)

    def log1p_32(x):
        """A polynomial within 4e-8, relative; exact for tiny x."""
        p = x * 0.0053648185 - 0.0300657693
        p = p * x + 0.0792044997
        p = p * x - 0.137537986
        p = p * x + 0.191536531
        p = p * x - 0.248571634
        p = p * x + 0.33321324
        p = p * x - 0.499996483
        p = p * x + 1.0
        return p * x

    return log1p_32
