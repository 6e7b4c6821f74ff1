"""The selective scan step by step: the truth that every other backend is held against."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .directions import to_pixels, to_sequences

SOFTPLUS_LINEAR_ABOVE = 50  # torch's own 20 is off by 2e-9 there, which float64 would notice


def scan(
    x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor,
    delta_weight: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Arguments and result as `nnunet_vmunet.ops.ss2d_scan`; plain autograd differentiates it."""
    if delta_weight is not None:
        delta = torch.einsum("bhwkr,kdr->bhwkd", delta, delta_weight)
    height, width = x.shape[1:3]
    u = to_sequences(x.unsqueeze(3).expand_as(delta))
    dt = F.softplus(to_sequences(delta) + delta_bias, threshold=SOFTPLUS_LINEAR_ABOVE)
    state = x.new_zeros(*dt.shape[1:], A.shape[-1])  # (b, 4, d, n)
    ys = []
    for dt_t, u_t, B_t, C_t in zip(*(each.unbind() for each in (dt, u, to_sequences(B), to_sequences(C))), strict=True):
        state = torch.exp(dt_t.unsqueeze(-1) * A) * state + (dt_t * u_t).unsqueeze(-1) * B_t.unsqueeze(-2)
        ys.append((state * C_t.unsqueeze(-2)).sum(-1) + D * u_t)
    return to_pixels(torch.stack(ys), height, width).sum(3)
