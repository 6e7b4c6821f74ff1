"""SS2D, the 2D selective scan layer, and the VSS block around it (section 3.2 of VM-UNet, 4 of VMamba).

Parameters keep the names and shapes of the original (`models/vmunet/vmamba.py`), so that its weights load.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops import ss2d_scan
from .layers import DropPath, LayerNorm, silu_gate

DIRECTIONS = 4
DT_MIN, DT_MAX, DT_FLOOR = 1e-3, 1e-1, 1e-4  # Mamba's range for the initial step Δ


class SS2D(nn.Module):
    """(b, h, w, dim) to (b, h, w, dim): depthwise convolution and four-direction selective scan, gated or not.

    Args:
        dim: channels C of input and output.
        d_state: states N per channel.
        ratio: the scan runs on D = ratio·C channels.
        gated: multiply the scan's output by SiLU(z), z as wide; VMamba v2 does not, nor has its convolution a bias.
    """

    def __init__(self, dim: int, d_state: int = 16, ratio: int = 2, *, gated: bool = True) -> None:
        super().__init__()
        d_inner = ratio * dim
        self.dt_rank = math.ceil(dim / 16)
        self.d_state = d_state
        self.gated = gated
        self.in_proj = nn.Linear(dim, (1 + gated) * d_inner, bias=False)
        self.conv2d = nn.Conv2d(d_inner, d_inner, kernel_size=3, padding=1, groups=d_inner, bias=gated)
        self.x_proj_weight = nn.Parameter(torch.empty(DIRECTIONS, self.dt_rank + 2 * d_state, d_inner))
        self.dt_projs_weight = nn.Parameter(torch.empty(DIRECTIONS, d_inner, self.dt_rank))
        self.dt_projs_bias = nn.Parameter(torch.empty(DIRECTIONS, d_inner))
        self.A_logs = nn.Parameter(torch.empty(DIRECTIONS * d_inner, d_state))
        self.Ds = nn.Parameter(torch.empty(DIRECTIONS * d_inner))
        self.out_norm = LayerNorm(d_inner)
        self.out_proj = nn.Linear(d_inner, dim, bias=False)
        self._initialize_scan()

    def _initialize_scan(self) -> None:
        """Mamba's initialisation: A = -(1..N), D = 1, steps Δ log-uniform in [DT_MIN, DT_MAX]."""
        for weight in (self.x_proj_weight, self.dt_projs_weight):
            bound = weight.shape[-1] ** -0.5  # of the inputs, as nn.Linear's default
            nn.init.uniform_(weight, -bound, bound)
        with torch.no_grad():
            log_dt = torch.empty_like(self.dt_projs_bias).uniform_(math.log(DT_MIN), math.log(DT_MAX))
            dt = log_dt.exp().clamp(min=DT_FLOOR)
            self.dt_projs_bias.copy_(dt + torch.log(-torch.expm1(-dt)))  # the inverse of softplus
            self.A_logs.copy_(torch.arange(1, self.d_state + 1).log().expand_as(self.A_logs))
        nn.init.ones_(self.Ds)

    def forward(self, u: Tensor) -> Tensor:
        # Two products, not one cut in two: the halves would be copied here, and joined again in the backward pass.
        x, *z = (F.linear(u, weight) for weight in self.in_proj.weight.chunk(1 + self.gated))
        x = F.silu(self.conv2d(x.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
        y = self.out_norm(self.scan(x).to(self.out_norm.weight.dtype))  # a network of half precision goes on in it
        return self.out_proj(silu_gate(y, *z) if self.gated else y)

    def scan(self, x: Tensor) -> Tensor:
        """The selective scan of x (b, h, w, D), whose Δ, B and C are linear in x, to (b, h, w, D).

        In float32, also under autocast and of half precision; float64 stays so. The original's `forward_core`, its
        four directions summed.
        """
        projected = F.linear(x, self.x_proj_weight.flatten(0, 1)).unflatten(-1, (DIRECTIONS, -1))
        dt, B, C = projected.split([self.dt_rank, self.d_state, self.d_state], dim=-1)
        A_logs = self.A_logs.to(torch.promote_types(self.A_logs.dtype, torch.float32))
        A = -torch.exp(A_logs).unflatten(0, (DIRECTIONS, -1))
        D = self.Ds.unflatten(0, (DIRECTIONS, -1))
        return ss2d_scan(x, dt, A, B, C, D, self.dt_projs_bias, self.dt_projs_weight)


class VSSBlock(nn.Module):
    """x + DropPath(SS2D(LayerNorm(x))) on (b, h, w, dim) (section 3.2 of the paper).

    Args:
        dim: channels C.
        d_state: states N of the scan.
        drop_path_rate: probability, in training, that a sample goes past the block.
    """

    def __init__(self, dim: int, d_state: int, drop_path_rate: float) -> None:
        super().__init__()
        self.norm = LayerNorm(dim)
        self.ss2d = SS2D(dim, d_state)
        self.drop_path = DropPath(drop_path_rate)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop_path(self.ss2d(self.norm(x)))
