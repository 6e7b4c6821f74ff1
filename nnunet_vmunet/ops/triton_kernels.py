"""The Triton kernels of the fused scan; `triton_gpu` launches them.

A program is one warp. It takes a tile of channels of one image in one direction over one chunk of the walk, and keeps
the tile's states in registers. Pixels are read where they lie: a direction is only another walk over them.

Tensors are contiguous; l = h·w pixels, in pixel order. `k` is the direction, `sequence` = 4·image + k, and a_ptr points
to a's data. Offsets are 64 bits wide up to an image's first element, and 32 within it. Exponentials are powers of 2,
with log2(e) folded into A. A block is BLOCK steps, loaded together, so that memory answers once for all of them.

A block is STRAIGHT where both sides of the image are multiples of it: it lies on one line, and no walk ends within it.
That spares a step 6 instructions forward and 35 backward. Elsewhere, steps past the walk's end, in a last block that is
not full, read the image's first pixel, reach no state that anybody reads, and store nothing. Channels past the last, in
a tile that is not full, are 0.
"""

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)
LN_2 = tl.constexpr(0.6931471805599453)
WIDEST = tl.constexpr(4)  # channels of a thread: in float32 16 bytes, the widest access


@triton.jit
def _pixels(step, k, height, width, BLOCK: tl.constexpr, STRAIGHT: tl.constexpr):
    """The pixels that direction k visits from `step` on, as a tuple of BLOCK."""
    rows = k % 2 == 0
    sign = tl.where(k < 2, 1, -1)
    line = tl.where(rows, width, height)  # the pixels of a row or column, as the direction follows them
    along, across = tl.where(rows, 1, width), tl.where(rows, width, 1)
    q = tl.where(k < 2, step, height * width - 1 - step).to(tl.uint32)  # divides in half as many instructions
    index, place = (q // line.to(tl.uint32)).to(tl.int32), (q % line.to(tl.uint32)).to(tl.int32)
    pixel = index * across + place * along
    ps = ()
    for i in tl.static_range(BLOCK):
        if STRAIGHT:
            ps += (pixel + i * sign * along,)
        else:
            ps += (tl.where(step + i < height * width, pixel, 0),)
            place += sign
            over = (place == line) | (place < 0)
            pixel += sign * tl.where(over, across - (line - 1) * along, along)
            place -= tl.where(over, sign * line, 0)
    return ps


@triton.jit
def _within(mask, step, pixels, STRAIGHT: tl.constexpr):
    """`mask` where `step` is one of the walk's."""
    # A comparison in the mask's shape: Triton's interpreter takes no single truth value.
    return mask if STRAIGHT else mask & (step + tl.zeros(mask.shape, tl.int32) < pixels)


@triton.jit
def _softplus(v, TERMS: tl.constexpr):
    """log(1 + exp(v)) and its derivative, the sigmoid, to the last bits for every v, tiny results included.

    With e = exp(-|v|) ≤ 1 it is max(v, 0) + log(1 + e), and log(1 + e) = 2 artanh(z) with z = e / (2 + e) ≤ 1/3, a
    series in z². The GPU's logarithm is fast near 1, and wrong.
    """
    e = tl.exp2(-tl.abs(v) * LOG2_E)
    z = e / (2 + e)
    square = z * z
    series = tl.full(v.shape, 1.0 / (2 * TERMS - 1), v.dtype)
    for term in tl.static_range(TERMS - 1, 0, -1):
        series = series * square + 1.0 / (2 * term - 1)
    return tl.maximum(v, 0) + 2 * z * series, tl.where(v >= 0, 1.0, e) / (1 + e)


@triton.jit(do_not_specialize=["height", "width", "chunk"])
def chunk_ends(
    x_ptr, delta_ptr, A_ptr, B_ptr, bias_ptr, ends_ptr, steps_ptr, height, width, channels, chunk,
    N: tl.constexpr, TILE: tl.constexpr, BLOCK: tl.constexpr, ADJOINT: tl.constexpr,
    FULL: tl.constexpr, STRAIGHT: tl.constexpr, TERMS: tl.constexpr, FLOAT: tl.constexpr,
):  # fmt: skip
    """What each chunk adds to the state that it hands on: ends (b, 4, chunks, n, d), and its ΣΔ: (b, 4, chunks, d).

    A state goes through a chunk as exp(A ΣΔ), so this is all that `chain_chunks` needs. ADJOINT walks backwards with
    the gradient of the state, x being dy and B being C. The walk's last chunk hands nothing on and has no program.
    """
    pixels = height * width
    sequence, chunks = tl.program_id(1).to(tl.int64), tl.num_programs(2) + 1
    c = tl.program_id(2) + (1 if ADJOINT else 0)
    k, image, images = tl.program_id(1) % 4, sequence // 4, tl.num_programs(1) // 4
    d = tl.program_id(0) * TILE + tl.arange(0, TILE)[None, :]
    inside = tl.full([1, TILE], True, tl.int1) if FULL else d < channels
    n = tl.arange(0, N)[:, None]
    A = tl.load(A_ptr + (k * channels + d) * N + n, mask=inside, other=0).to(FLOAT) * LOG2_E
    bias = tl.load(bias_ptr + k * channels + d, mask=inside, other=0).to(FLOAT)
    x_ptr += image * pixels * channels
    delta_ptr += (k * images + image) * pixels * channels
    B_ptr += (image * pixels * 4 + k) * N

    h = tl.zeros([N, TILE], FLOAT)
    total = tl.zeros([1, TILE], FLOAT)
    begin = c * chunk
    steps = tl.cdiv(tl.minimum(chunk, pixels - begin), BLOCK) * BLOCK
    for done in range(0, steps, BLOCK):
        step = begin + (steps - BLOCK - done if ADJOINT else done)
        ps = _pixels(step, k, height, width, BLOCK, STRAIGHT)
        xs, deltas, Bs = (), (), ()
        for i in tl.static_range(BLOCK):
            p = ps[BLOCK - 1 - i] if ADJOINT else ps[i]
            real = _within(inside, step + (BLOCK - 1 - i if ADJOINT else i), pixels, STRAIGHT)
            xs += (tl.load(x_ptr + p * channels + d, mask=real, other=0).to(FLOAT),)
            deltas += (tl.load(delta_ptr + p * channels + d, mask=inside, other=0).to(FLOAT),)
            Bs += (tl.load(B_ptr + p * 4 * N + n).to(FLOAT),)
        for i in tl.static_range(BLOCK):
            dt, _ = _softplus(deltas[i] + bias, TERMS)
            decay = tl.exp2(dt * A)
            h = decay * (h + xs[i] * Bs[i]) if ADJOINT else decay * h + (dt * xs[i]) * Bs[i]
            total += dt
    slot = sequence * chunks + c
    tl.store(ends_ptr + (slot * N + n) * channels + d, h, mask=inside)
    tl.store(steps_ptr + slot * channels + d, total, mask=inside)


@triton.jit(do_not_specialize=["chunks"])
def chain_chunks(
    A_ptr, ends_ptr, steps_ptr, channels, chunks,
    N: tl.constexpr, TILE: tl.constexpr, BLOCK: tl.constexpr, ADJOINT: tl.constexpr,
    FULL: tl.constexpr, FLOAT: tl.constexpr,
):  # fmt: skip
    """Turns what each chunk adds into the state that each starts from, in place, one chunk after the other."""
    sequence = tl.program_id(1).to(tl.int64)
    k = tl.program_id(1) % 4
    d = tl.program_id(0) * TILE + tl.arange(0, TILE)[None, :]
    inside = tl.full([1, TILE], True, tl.int1) if FULL else d < channels
    n = tl.arange(0, N)[:, None]
    A = tl.load(A_ptr + (k * channels + d) * N + n, mask=inside, other=0).to(FLOAT) * LOG2_E
    h = tl.zeros([N, TILE], FLOAT)
    for first in range(0, chunks, BLOCK):
        slots, ends, steps = (), (), ()
        for i in tl.static_range(BLOCK):
            real = inside & (first + i + 0 * d < chunks - 1)  # the last hands nothing on
            slots += (sequence * chunks + (chunks - 1 - first - i if ADJOINT else first + i),)
            ends += (tl.load(ends_ptr + (slots[i] * N + n) * channels + d, mask=real, other=0),)
            steps += (tl.load(steps_ptr + slots[i] * channels + d, mask=real, other=0),)
        for i in tl.static_range(BLOCK):
            tl.store(ends_ptr + (slots[i] * N + n) * channels + d, h, mask=inside & (first + i + 0 * d < chunks))
            h = tl.exp2(steps[i] * A) * h + ends[i]


@triton.jit(do_not_specialize=["height", "width", "chunk"])
def scan(
    x_ptr, delta_ptr, A_ptr, B_ptr, C_ptr, D_ptr, bias_ptr, initial_ptr, y_ptr, states_ptr,
    height, width, channels, chunk,
    N: tl.constexpr, TILE: tl.constexpr, BLOCK: tl.constexpr, SPAN: tl.constexpr, CHUNKED: tl.constexpr,
    SAVE: tl.constexpr, FULL: tl.constexpr, STRAIGHT: tl.constexpr, TERMS: tl.constexpr, FLOAT: tl.constexpr,
):  # fmt: skip
    """Each direction's y (4, b, l, d), and the state before every SPAN-th step (b, 4, spans, n, d).

    States are (n, d) with the channels across the lanes, so that the sum over n needs no exchange between them.
    """
    pixels = height * width
    sequence, c, chunks = tl.program_id(1).to(tl.int64), tl.program_id(2), tl.num_programs(2)
    k, image, images = tl.program_id(1) % 4, sequence // 4, tl.num_programs(1) // 4
    d = tl.program_id(0) * TILE + tl.arange(0, TILE)[None, :]
    inside = tl.full([1, TILE], True, tl.int1) if FULL else d < channels
    n = tl.arange(0, N)[:, None]
    A = tl.load(A_ptr + (k * channels + d) * N + n, mask=inside, other=0).to(FLOAT) * LOG2_E
    D = tl.load(D_ptr + k * channels + d, mask=inside, other=0).to(FLOAT)
    bias = tl.load(bias_ptr + k * channels + d, mask=inside, other=0).to(FLOAT)
    x_ptr += image * pixels * channels
    delta_ptr += (k * images + image) * pixels * channels
    y_ptr += (k * images + image) * pixels * channels
    B_ptr += (image * pixels * 4 + k) * N
    C_ptr += (image * pixels * 4 + k) * N

    h = tl.zeros([N, TILE], FLOAT)
    if CHUNKED:
        h = tl.load(initial_ptr + ((sequence * chunks + c) * N + n) * channels + d, mask=inside, other=0)
    begin = c * chunk
    for step in range(begin, tl.minimum(begin + chunk, pixels), BLOCK):
        if SAVE and step % SPAN == 0:
            slot = sequence * tl.cdiv(pixels, SPAN) + step // SPAN
            tl.store(states_ptr + (slot * N + n) * channels + d, h, mask=inside)
        ps = _pixels(step, k, height, width, BLOCK, STRAIGHT)
        xs, deltas, Bs, Cs = (), (), (), ()
        for i in tl.static_range(BLOCK):
            xs += (tl.load(x_ptr + ps[i] * channels + d, mask=inside, other=0).to(FLOAT),)
            deltas += (tl.load(delta_ptr + ps[i] * channels + d, mask=inside, other=0).to(FLOAT),)
            Bs += (tl.load(B_ptr + ps[i] * 4 * N + n).to(FLOAT),)
            Cs += (tl.load(C_ptr + ps[i] * 4 * N + n).to(FLOAT),)
        for i in tl.static_range(BLOCK):
            dt, _ = _softplus(deltas[i] + bias, TERMS)
            h = tl.exp2(dt * A) * h + (dt * xs[i]) * Bs[i]
            y = tl.sum(h * Cs[i], 0, keep_dims=True) + D * xs[i]
            tl.store(y_ptr + ps[i] * channels + d, y, mask=_within(inside, step + i, pixels, STRAIGHT))


@triton.jit(do_not_specialize=["height", "width", "chunk"])
def scan_backward(
    dy_ptr, states_ptr, x_ptr, delta_ptr, A_ptr, B_ptr, C_ptr, D_ptr, bias_ptr, final_ptr, scratch_ptr,
    dx_ptr, ddelta_ptr, dA_ptr, dB_ptr, dC_ptr, dD_ptr, dbias_ptr,
    height, width, channels, chunk,
    N: tl.constexpr, TILE: tl.constexpr, BLOCK: tl.constexpr, SPAN: tl.constexpr, CHUNKED: tl.constexpr,
    FULL: tl.constexpr, STRAIGHT: tl.constexpr, TERMS: tl.constexpr, FLOAT: tl.constexpr,
):  # fmt: skip
    """Gradients: ddelta whole, and the parts of dx, dA, dB, dC, dD and dbias that this program sees.

    Span by span from the walk's end: first walk the span from its saved state to have every block's first state and
    every step's Δ, in a scratch that stays in the cache; then block by block from the end, rebuild the block's states
    in registers and take their gradients.

    The second part sums over channels (dB, dC) and over states (dx, ddelta). A warp that spreads the channels over all
    its lanes exchanges 160 numbers a step for that; one that spreads both exchanges 40. So a tile is seen there as
    (channels of a thread, states of a thread, lanes of states, lanes of channels); a thread has 4 channels, or fewer if
    it has fewer states. Triton lays tensors out by what is contiguous in memory: what has no state axis of its own is
    read and written once per lane of states, and what has no channel axis once per lane of channels, all with the same
    value, so that every tensor has one layout.
    """
    STATES_PER_THREAD: tl.constexpr = N * TILE // 32
    CHANNELS_PER_THREAD: tl.constexpr = WIDEST if STATES_PER_THREAD >= WIDEST else STATES_PER_THREAD
    N_PER_THREAD: tl.constexpr = STATES_PER_THREAD // CHANNELS_PER_THREAD
    D_LANES: tl.constexpr = TILE // CHANNELS_PER_THREAD
    N_LANES: tl.constexpr = N // N_PER_THREAD
    pixels = height * width
    tile, sequence, c, chunks = tl.program_id(0), tl.program_id(1).to(tl.int64), tl.program_id(2), tl.num_programs(2)
    k, image, images = tl.program_id(1) % 4, sequence // 4, tl.num_programs(1) // 4
    x_ptr += image * pixels * channels
    dy_ptr += image * pixels * channels
    delta_ptr += (k * images + image) * pixels * channels
    ddelta_ptr += (k * images + image) * pixels * channels
    dx_ptr += (k * images + image) * pixels * channels
    B_ptr += (image * pixels * 4 + k) * N
    C_ptr += (image * pixels * 4 + k) * N
    dB_ptr += ((tile * images + image) * pixels * 4 + k) * N
    dC_ptr += ((tile * images + image) * pixels * 4 + k) * N
    states_ptr += sequence * tl.cdiv(pixels, SPAN) * N * channels
    program = (sequence * chunks + c) * tl.num_programs(0) + tile
    first_states_ptr = scratch_ptr + program * (SPAN // BLOCK * N + 2 * SPAN) * TILE  # (blocks, n, tile)
    dt_ptr = first_states_ptr + SPAN // BLOCK * N * TILE  # (steps, 2, tile): Δ and its derivative by v

    j_row = tl.arange(0, TILE)[None, :]
    d_row = tile * TILE + j_row
    inside_row = tl.full([1, TILE], True, tl.int1) if FULL else d_row < channels
    n_column = tl.arange(0, N)[:, None]

    of_thread = tl.arange(0, CHANNELS_PER_THREAD)[:, None, None, None]
    of_lane = tl.arange(0, D_LANES)[None, None, None, :]
    every_n_lane = tl.zeros([1, 1, N_LANES, 1], tl.int32)
    every_d_lane = tl.zeros([1, 1, 1, D_LANES], tl.int32)
    j = of_lane * CHANNELS_PER_THREAD + of_thread + every_n_lane
    d = tile * TILE + j
    inside = tl.full([CHANNELS_PER_THREAD, 1, N_LANES, D_LANES], True, tl.int1) if FULL else d < channels
    n = tl.arange(0, N_LANES)[None, None, :, None] * N_PER_THREAD + tl.arange(0, N_PER_THREAD)[None, :, None, None]
    n_everywhere = n + every_d_lane
    every_n = tl.full(n_everywhere.shape, True, tl.int1)
    A = tl.load(A_ptr + (k * channels + d) * N + n, mask=inside, other=0).to(FLOAT) * LOG2_E

    g = tl.zeros([CHANNELS_PER_THREAD, N_PER_THREAD, N_LANES, D_LANES], FLOAT)  # gradient of the state
    if CHUNKED:
        g = tl.load(final_ptr + (sequence * chunks + c) * N * channels + (n * channels + d), mask=inside, other=0)
    dA = tl.zeros([CHANNELS_PER_THREAD, N_PER_THREAD, N_LANES, D_LANES], FLOAT)
    dD = tl.zeros([1, TILE], FLOAT)
    dbias = tl.zeros([CHANNELS_PER_THREAD, 1, N_LANES, D_LANES], FLOAT)
    begin = c * chunk
    end = tl.minimum(begin + chunk, pixels)
    spans = tl.cdiv(end - begin, SPAN)
    for spans_done in range(spans):
        first = begin + (spans - 1 - spans_done) * SPAN
        blocks = tl.cdiv(tl.minimum(end - first, SPAN), BLOCK)

        # Loaded once a span: kept over the second part, they would push its states out of the registers.
        A_row = tl.load(A_ptr + (k * channels + d_row) * N + n_column, mask=inside_row, other=0).to(FLOAT) * LOG2_E
        bias = tl.load(bias_ptr + k * channels + d_row, mask=inside_row, other=0).to(FLOAT)
        row = first // SPAN * N + n_column
        h_row = tl.load(states_ptr + row * channels + d_row, mask=inside_row, other=0)
        for block in range(blocks):
            ps = _pixels(first + block * BLOCK, k, height, width, BLOCK, STRAIGHT)
            tl.store(first_states_ptr + (block * N + n_column) * TILE + j_row, h_row)
            for i in tl.static_range(BLOCK):
                p = ps[i]
                real = _within(inside_row, first + block * BLOCK + i, pixels, STRAIGHT)
                dy = tl.load(dy_ptr + p * channels + d_row, mask=real, other=0).to(FLOAT)
                x = tl.load(x_ptr + p * channels + d_row, mask=inside_row, other=0).to(FLOAT)
                v = tl.load(delta_ptr + p * channels + d_row, mask=inside_row, other=0).to(FLOAT) + bias
                B = tl.load(B_ptr + p * 4 * N + n_column).to(FLOAT)
                dt, sigmoid = _softplus(v, TERMS)
                tl.store(dt_ptr + (block * BLOCK + i) * 2 * TILE + j_row, dt)
                tl.store(dt_ptr + (block * BLOCK + i) * 2 * TILE + TILE + j_row, sigmoid)
                dD += dy * x
                h_row = tl.exp2(dt * A_row) * h_row + (dt * x) * B
        tl.debug_barrier()  # one lane reads what another wrote

        for blocks_done in range(blocks):
            block = blocks - 1 - blocks_done
            step = first + block * BLOCK
            h = tl.load(first_states_ptr + (block * N + n) * TILE + j)
            ps = _pixels(step, k, height, width, BLOCK, STRAIGHT)
            hs = ()
            for i in tl.static_range(BLOCK):
                p = ps[i]
                hs += (h,)
                x = tl.load(x_ptr + p * channels + d, mask=inside, other=0).to(FLOAT)
                dt = tl.load(dt_ptr + (block * BLOCK + i) * 2 * TILE + j)
                B = tl.load(B_ptr + p * 4 * N + n_everywhere).to(FLOAT)
                h = tl.exp2(dt * A) * h + (dt * x) * B
            hs += (h,)
            for i in tl.static_range(BLOCK - 1, -1, -1):  # loads all again, from the cache, to leave registers to hs
                p = ps[i]
                real = _within(inside, step + i, pixels, STRAIGHT)
                D = tl.load(D_ptr + k * channels + d, mask=inside, other=0).to(FLOAT)
                real_n = _within(every_n, step + i, pixels, STRAIGHT)
                x = tl.load(x_ptr + p * channels + d, mask=inside, other=0).to(FLOAT)
                dt = tl.load(dt_ptr + (block * BLOCK + i) * 2 * TILE + j)
                sigmoid = tl.load(dt_ptr + (block * BLOCK + i) * 2 * TILE + TILE + j)
                dy = tl.load(dy_ptr + p * channels + d, mask=real, other=0).to(FLOAT)
                B = tl.load(B_ptr + p * 4 * N + n_everywhere).to(FLOAT)
                C = tl.load(C_ptr + p * 4 * N + n_everywhere).to(FLOAT)
                dC = tl.sum(tl.sum(hs[i + 1] * dy, 0, keep_dims=True), 3, keep_dims=True)
                tl.store(dC_ptr + p * 4 * N + n_everywhere, dC, mask=real_n)
                g += dy * C
                dB = tl.sum(tl.sum(g * (dt * x), 0, keep_dims=True), 3, keep_dims=True)
                tl.store(dB_ptr + p * 4 * N + n_everywhere, dB, mask=real_n)
                du = tl.sum(tl.sum(g * B, 1, keep_dims=True), 2, keep_dims=True)
                g *= tl.exp2(dt * A)
                dexponent = g * hs[i]
                dA += dexponent * dt
                ddecay = tl.sum(tl.sum(dexponent * A, 1, keep_dims=True), 2, keep_dims=True) * LN_2
                ddelta = tl.where(real, (ddecay + du * x) * sigmoid, 0)
                dbias += ddelta
                tl.store(ddelta_ptr + p * channels + d, ddelta, mask=real)
                tl.store(dx_ptr + p * channels + d, du * dt + dy * D, mask=real)
        tl.debug_barrier()  # nobody overwrites the scratch while another reads it
    slot = (image * chunks + c) * 4 + k
    tl.store(dA_ptr + slot * N * channels + (n * channels + d), dA, mask=inside)
    tl.store(dD_ptr + slot * channels + d_row, dD, mask=inside_row)
    tl.store(dbias_ptr + slot * channels + d, dbias, mask=inside)
