"""The compiled backward pass of the numba backend for one state per channel, which VMamba v2 has.

One state's recurrence is so short that what lies around it counts: passes over small arrays, sums over states that are
none, a second exponential for the sigmoid, and the gradients of all steps, which are four times the size of x. So here
each vector of channels goes through a block once there and once back, with its state and sums in registers, and a
block's gradients are taken to delta's low rank before they leave the cache. The forward pass gains nothing from this.

Shapes, blocks and tiles are those of `numba_kernels`, with n = 1. numba's cache of compiled code does not notice
changes in that file: touch this one too.
"""

import numpy as np

from .numba_kernels import (
    LOG2_E,
    STEPS,
    add,
    channels_of,
    compiled,
    exp,
    exp2,
    gather_deltas,
    gather_scalars,
    kernel,
    log1p,
    minus_magnitude,
)
from .simd import fill, lane_sum, lanes, load, maximum, store, where_negative


@kernel
def backward(
    first_job, last_job, width, order, dy, states, x, delta, delta_weight, A, B, C, D, delta_bias,
    dx, ddelta, dA, dB, dC, dD, dbias, dweight,
):  # fmt: skip
    """As `numba_kernels.backward`, and delta's gradients themselves.

    With a delta_weight it adds to its gradient, dweight (b, 4, r, d), and writes the tile's part of delta's,
    ddelta[part] (b, l, 4, r or more); without one it writes all of ddelta[0] (b, l, 4, d).
    """
    for job in range(first_job, last_job):
        image, tile = channels_of(job, width, x)
        part = tile.start // width
        scan_back(
            image, tile, order, dy, states, x, delta, delta_weight, A, B, C, D, delta_bias,
            dx, ddelta, dA, dB[part, image], dC[part, image], dD, dbias, dweight[image], part,
        )  # fmt: skip


@compiled
def scan_back(
    image, tile, order, dy, states, x, delta, delta_weight, A, B, C, D, delta_bias,
    dx, ddelta, dA, dB, dC, dD, dbias, dweight, part,
):  # fmt: skip
    """The gradients of `numba_kernels.scan`, block by block from the end; dB and dC (l, 4, 1) are this tile's part."""
    length, width, dtype = x.shape[1], tile.stop - tile.start, x.dtype
    per_scalar, per_vector = (STEPS, 1), (STEPS, lanes(x))
    Bs, Cs = np.empty(per_scalar, dtype), np.empty(per_scalar, dtype)
    deltas, carry = np.empty((STEPS, width), dtype), np.empty(width, dtype)
    # of every step in one vector of channels: dt = softplus(delta), its slope, the decay, and the state before the step
    dt, slope = np.empty(per_vector, dtype), np.empty(per_vector, dtype)
    decay, before = np.empty(per_vector, dtype), np.empty(per_vector, dtype)
    dBs, dCs = np.empty(per_vector, dtype), np.empty(per_vector, dtype)  # the terms of dB and dC
    rank = delta_weight.shape[1]
    weights = np.zeros((width, -(-rank // lanes(x)) * lanes(x)), dtype)  # whole vectors of ranks
    for k in range(4):
        for r in range(rank):
            weights[:, r] = delta_weight[k, r, tile]
        carry[:] = 0
        dA[image, k, 0, tile] = 0
        for block in range((length - 1) // STEPS, -1, -1):
            pixels = order[k, block * STEPS : (block + 1) * STEPS]
            gather_scalars(image, pixels, k, B, C, Bs, Cs)
            gather_deltas(image, pixels, k, tile.start, width, delta, delta_weight, delta_bias, deltas)
            dBs[:] = 0
            dCs[:] = 0
            for i in range(0, width, lanes(x)):
                channel = tile.start + i
                h = load(states, (image, k, block, 0, channel))
                replay(image, pixels, k, channel, i, h, x, dy, deltas, A, Bs, dt, slope, decay, before, dCs)
                retreat(
                    image, pixels, k, channel, i, x, dy, A, Bs, Cs, D, dt, slope, decay, before, carry,
                    dx, deltas, dA, dBs, dD, dbias,
                )  # fmt: skip
            if rank:
                project_back(image, pixels, k, tile.start, deltas, delta, weights, ddelta[part, image], dweight)
            else:
                for t, pixel in enumerate(pixels):
                    for i in range(0, width, lanes(x)):
                        store(ddelta, (0, image, pixel, k, tile.start + i), load(deltas, (t, i)))
            for t, pixel in enumerate(pixels):
                dB[pixel, k, 0] = lane_sum(load(dBs, (t, 0)))
                dC[pixel, k, 0] = lane_sum(load(dCs, (t, 0)))


@compiled
def replay(image, pixels, k, channel, i, h, x, dy, deltas, A, b, dt, slope, decay, before, dc):
    """One vector of channels over a block's steps: keeps what `retreat` needs, and adds up c's gradient."""
    A_i = load(A, (k, channel, 0)) * LOG2_E
    for t, pixel in enumerate(pixels):
        dt_t, slope_t = softplus_and_slope(load(deltas, (t, i)))
        decay_t = exp2(dt_t * A_i)
        store(dt, (t, 0), dt_t)
        store(slope, (t, 0), slope_t)
        store(decay, (t, 0), decay_t)
        store(before, (t, 0), h)
        h = decay_t * h + dt_t * load(x, (image, pixel, channel)) * b[t, 0]
        add(dc, (t, 0), load(dy, (image, pixel, channel)) * h)


@compiled
def retreat(
    image, pixels, k, channel, i, x, dy, A, b, c, D, dt, slope, decay, before, carry, dx, ddelta, dA, db, dD, dbias
):
    """One vector of channels over a block's steps, backwards; carry is the gradient of the state after the block."""
    A_i, D_i, g = load(A, (k, channel, 0)), load(D, (k, channel)), load(carry, (i,))
    dA_i, dD_i = load(dA, (image, k, 0, channel)), load(dD, (image, k, channel))
    dbias_i = load(dbias, (image, k, channel))
    for t in range(len(pixels) - 1, -1, -1):
        at = (image, pixels[t], channel)
        x_t, dy_t, dt_t = load(x, at), load(dy, at), load(dt, (t, 0))
        g = g + dy_t * c[t, 0]  # the gradient of the state after step t
        add(db, (t, 0), g * (dt_t * x_t))
        ddu_t = g * b[t, 0]  # the gradient of dt·x
        g = g * load(decay, (t, 0))
        dexponent = g * load(before, (t, 0))  # of dt·A
        ddelta_t = (dexponent * A_i + ddu_t * x_t) * load(slope, (t, 0))
        store(ddelta, (t, i), ddelta_t)
        add(dx, at, dy_t * D_i + ddu_t * dt_t)
        dA_i = dA_i + dexponent * dt_t
        dD_i = dD_i + dy_t * x_t
        dbias_i = dbias_i + ddelta_t
    store(carry, (i,), g)
    store(dA, (image, k, 0, channel), dA_i)
    store(dD, (image, k, channel), dD_i)
    store(dbias, (image, k, channel), dbias_i)


@compiled
def project_back(image, pixels, k, first, ddeltas, delta, weights, ddelta, dweight):
    """From the gradients of a block's steps (STEPS, d), those of delta and of its weight, here weights (d, r or more).

    Four steps at a time, as in `project_deltas`. Past the last step the last is repeated, with gradients of 0; its own
    are stored after those.
    """
    ddeltas[len(pixels) :] = 0
    last, width, rank = len(pixels) - 1, weights.shape[0], delta.shape[-1]
    for t in range(0, len(pixels), 4):
        p, q = pixels[t], pixels[min(t + 1, last)]
        v, w = pixels[min(t + 2, last)], pixels[min(t + 3, last)]
        a, b, c, d = delta[image, p, k], delta[image, q, k], delta[image, v, k], delta[image, w, k]
        for i in range(0, width, lanes(ddeltas)):
            at_a, at_b = load(ddeltas, (t, i)), load(ddeltas, (t + 1, i))
            at_c, at_d = load(ddeltas, (t + 2, i)), load(ddeltas, (t + 3, i))
            for r in range(rank):
                add(dweight, (k, r, first + i), at_a * a[r] + at_b * b[r] + at_c * c[r] + at_d * d[r])
        for r in range(0, weights.shape[1], lanes(ddeltas)):
            at_a = at_b = at_c = at_d = fill(load(weights, (0, r)), 0.0)
            for i in range(width):
                weight = load(weights, (i, r))
                at_a = at_a + weight * ddeltas[t, i]
                at_b = at_b + weight * ddeltas[t + 1, i]
                at_c = at_c + weight * ddeltas[t + 2, i]
                at_d = at_d + weight * ddeltas[t + 3, i]
            store(ddelta, (w, k, r), at_d)
            store(ddelta, (v, k, r), at_c)
            store(ddelta, (q, k, r), at_b)
            store(ddelta, (p, k, r), at_a)


@compiled
def softplus_and_slope(x):
    """softplus and its derivative, the sigmoid, from one exponential."""
    e = exp(minus_magnitude(x))
    return maximum(x, 0.0) + log1p(e), where_negative(x, e, fill(x, 1.0)) / (e + 1.0)
