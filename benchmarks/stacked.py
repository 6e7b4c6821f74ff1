"""The original SS2D on a GPU: four stacked copies of the pixels, scanned by mamba-ssm's extension.

Where the extension is missing, this package's blocked scan takes its place. Around the scan, too, it does what the
original does (`SS2D.forward` in `models/vmunet/vmamba.py`), and keeps for the backward pass what that keeps.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nnunet_vmunet.models.ss2d import SS2D
from nnunet_vmunet.ops import backends, blocked
from nnunet_vmunet.ops.directions import to_pixels, to_sequences


def ss2d_forward_original(layer: SS2D, u: Tensor) -> Tensor:
    """In place of `SS2D.forward`: one product for x and z, x made contiguous channels first, SiLU(z) kept."""
    x, z = layer.in_proj(u).chunk(2, dim=-1)
    x = F.silu(layer.conv2d(x.permute(0, 3, 1, 2).contiguous())).permute(0, 2, 3, 1)
    return layer.out_proj(layer.out_norm(layer.scan(x)) * F.silu(z))


def ss2d_scan_stacked(x, delta, A, B, C, D, delta_bias, delta_weight=None) -> Tensor:
    """Arguments as `nnunet_vmunet.ops.ss2d_scan`. Autograd keeps the copies of x, delta, B and C, and the outputs."""
    if delta_weight is not None:
        delta = torch.einsum("bhwkr,kdr->bhwkd", delta, delta_weight)
    x, delta, B, C = (tensor.float() for tensor in (x, delta, B, C))  # last: autocast narrows what einsum gives
    height, width, channels = x.shape[1:]
    walks = [to_sequences(each).permute(1, 2, 3, 0) for each in (x.unsqueeze(3).expand_as(delta), delta, B, C)]
    u, dt, B, C = (each.contiguous() for each in walks)
    ys = _StackedScan.apply(u.flatten(1, 2), dt.flatten(1, 2), A.flatten(0, 1), B, C, D.flatten(), delta_bias.flatten())
    return to_pixels(ys.unflatten(1, (4, channels)).permute(3, 0, 1, 2), height, width).sum(3)


class _StackedScan(torch.autograd.Function):
    """u and dt (b, 4·d, l), A (4·d, n), B and C (b, 4, n, l), D and bias (4·d) to (b, 4·d, l)."""

    @staticmethod
    def forward(ctx, u, dt, A, B, C, D, bias):
        if backends.why_not_mamba_ssm(u.device) is None:
            import selective_scan_cuda

            y, states = selective_scan_cuda.fwd(u, dt, A, B, C, D, None, bias, True)
        else:
            sequences = _blocked_sequences(u, dt, A, B, C, D, bias)
            states = u.new_empty(-(-u.shape[-1] // blocked.STEPS), *sequences.A.shape)
            y = blocked._forward(sequences, states).permute(1, 2, 0).reshape_as(u)
        ctx.save_for_backward(u, dt, A, B, C, D, bias, states)
        return y

    @staticmethod
    def backward(ctx, dy):
        u, dt, A, B, C, D, bias, states = ctx.saved_tensors
        dy = dy.contiguous()
        if backends.why_not_mamba_ssm(u.device) is None:
            import selective_scan_cuda

            return tuple(
                selective_scan_cuda.bwd(u, dt, A, B, C, D, None, bias, dy, states, None, None, True, False)[:7]
            )
        sequences = _blocked_sequences(u, dt, A, B, C, D, bias)
        dys = _group(dy)
        du, ddt, dA, dB, dC = blocked._backward(sequences, dys, states)
        summed = (dA.transpose(1, 2), (dys * sequences.x).sum(0), ddt.sum(0))
        dA, dD, dbias = (each.unflatten(0, (-1, 4)).sum(0).flatten(0, 1) for each in summed)
        du, ddt = (each.permute(1, 2, 0).reshape_as(u) for each in (du, ddt))
        dB, dC = (each.permute(1, 2, 0).reshape_as(B) for each in (dB, dC))
        return du, ddt, dA, dB, dC, dD, dbias


def _group(walks: Tensor) -> Tensor:
    """(b, 4·d, l) to (l, b·4, d)."""
    return walks.unflatten(1, (4, -1)).flatten(0, 1).permute(2, 0, 1).contiguous()


def _blocked_sequences(u, dt, A, B, C, D, bias) -> blocked.Sequences:
    dt = F.softplus(dt + bias[:, None])
    return blocked.Sequences(
        x=_group(u),
        delta=_group(dt),
        A=A.unflatten(0, (4, -1)).transpose(1, 2).repeat(len(u), 1, 1),
        B=B.flatten(0, 1).permute(2, 0, 1).contiguous(),
        C=C.flatten(0, 1).permute(2, 0, 1).contiguous(),
        D=D.unflatten(0, (4, -1)).repeat(len(u), 1),
    )
