"""The scan as VM-UNet's published code formulates it, to be compared with: four stacked copies, two of them flipped.

The layout and the loop are those of VMamba's `SS2D.forward_corev0` and of mamba-ssm's `selective_scan_ref`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def ss2d_scan_original(x, delta, A, B, C, D, delta_bias, delta_weight=None) -> Tensor:
    """As `nnunet_vmunet.ops.ss2d_scan`, the sequences scanned by a loop over their steps."""
    _, height, width, _ = x.shape
    xs = stacked(x)  # (b, 4, d, l)
    deltas = walked(delta)  # (b, 4, d or r, l)
    if delta_weight is not None:
        deltas = torch.einsum("bkrl,kdr->bkdl", deltas, delta_weight)
    ys = selective_scan_loop(xs, deltas, A, walked(B), walked(C), D, delta_bias)
    return merged(ys, height, width)


def stacked(x: Tensor) -> Tensor:
    """(b, h, w, d) to (b, 4, d, l): rows, columns, and both flipped."""
    rows, columns = x.permute(0, 3, 1, 2).flatten(2), x.permute(0, 3, 2, 1).flatten(2)
    two = torch.stack([rows, columns], dim=1)
    return torch.cat([two, two.flip(-1)], dim=1)


def walked(pixels: Tensor) -> Tensor:
    """(b, h, w, 4, c) to (b, 4, c, l), each direction in its own order."""
    rows, columns = pixels.permute(0, 3, 4, 1, 2).flatten(3), pixels.permute(0, 3, 4, 2, 1).flatten(3)
    return torch.stack([rows[:, 0], columns[:, 1], rows[:, 2].flip(-1), columns[:, 3].flip(-1)], dim=1)


def merged(ys: Tensor, height: int, width: int) -> Tensor:
    """(b, 4, d, l) to the sum (b, h, w, d)."""
    forth = ys[:, :2] + ys[:, 2:].flip(-1)
    columns = forth[:, 1].unflatten(-1, (width, height)).transpose(2, 3)
    return (forth[:, 0].unflatten(-1, (height, width)) + columns).permute(0, 2, 3, 1)


def selective_scan_loop(x, delta, A, B, C, D, delta_bias) -> Tensor:
    """(b, 4, d, l), A (4, d, n), B and C (b, 4, n, l): every decay and every input at once, then step by step."""
    delta = F.softplus(delta + delta_bias.unsqueeze(-1))
    decay = torch.exp(torch.einsum("bkdl,kdn->bkdln", delta, A))
    inflow = torch.einsum("bkdl,bknl,bkdl->bkdln", delta, B, x)
    state = x.new_zeros(*x.shape[:3], A.shape[-1])
    ys = []
    # unbind: taken one by one, as in the published loop, every step's gradient would fill a tensor of all steps
    for decay_t, inflow_t, C_t in zip(decay.unbind(-2), inflow.unbind(-2), C.unbind(-1), strict=True):
        state = decay_t * state + inflow_t
        ys.append(torch.einsum("bkdn,bkn->bkd", state, C_t))
    return torch.stack(ys, dim=-1) + x * D.unsqueeze(-1)
