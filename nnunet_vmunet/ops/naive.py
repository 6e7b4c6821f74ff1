"""The selective scan step by step: the truth that every other backend is held against."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .directions import to_pixels, to_sequences


def scan(x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor) -> Tensor:
    """Arguments and result as `nnunet_vmunet.ops.ss2d_scan`; plain autograd differentiates it."""
    height, width = x.shape[1:3]
    u = to_sequences(x.unsqueeze(3).expand_as(delta))
    dt = F.softplus(to_sequences(delta) + delta_bias)
    Bs, Cs = to_sequences(B), to_sequences(C)
    state = x.new_zeros(*dt.shape[1:], A.shape[-1])  # (b, 4, d, n)
    ys = []
    for t in range(len(u)):
        decay = torch.exp(dt[t].unsqueeze(-1) * A)
        state = decay * state + (dt[t] * u[t]).unsqueeze(-1) * Bs[t].unsqueeze(-2)
        ys.append((state * Cs[t].unsqueeze(-2)).sum(-1) + D * u[t])
    return to_pixels(torch.stack(ys), height, width).sum(3)
