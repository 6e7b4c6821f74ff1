"""The decoder that Swin-UMamba† and Mamba-UNet share: skips are concatenated, after the expansion."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from .layers import PatchExpanding
from .network import PATCH
from .ss2d import VSSBlock


class ConcatStage(nn.Module):
    """(b, h, w, 2·dim) and a skip (b, 2·h, 2·w, dim) to (b, 2·h, 2·w, dim)."""

    def __init__(self, dim: int, drop_path_rates: Sequence[float], d_state: int) -> None:
        super().__init__()
        self.upsample = PatchExpanding(2 * dim, dim, scale=2)
        self.merge = nn.Linear(2 * dim, dim)
        self.blocks = nn.Sequential(*(VSSBlock(dim, d_state, rate) for rate in drop_path_rates))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.blocks(self.merge(torch.cat([self.upsample(x), skip], dim=-1)))


class ConcatDecoder(nn.Module):
    """Stages from 1/32 to 1/4 of the image, and the expansion to full resolution. A subclass adds the output layers.

    Args:
        dims: of the stages' outputs, deepest first, each half of the one before; the bottom has twice the first.
        rates: of stochastic depth, for every stage one for each block.
        d_state: states N of the scan.
    """

    def __init__(self, dims: Sequence[int], rates: Sequence[Sequence[float]], d_state: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            ConcatStage(dim, stage_rates, d_state) for dim, stage_rates in zip(dims, rates, strict=True)
        )
        self.final_up = PatchExpanding(dims[-1], dims[-1], scale=PATCH)

    def stage_by_stage(self, x: Tensor, skips: Sequence[Tensor]) -> list[Tensor]:
        """The stages' outputs, deepest first. skips: one for each stage, shallowest first, channels last."""
        outputs = []
        for stage, skip in zip(self.stages, reversed(skips), strict=True):
            x = stage(x, skip)
            outputs.append(x)
        return outputs


def refuse_other_dims(dims: Sequence[int]) -> None:
    """Raise ValueError for widths that the expansions cannot give: each stage has twice the one before."""
    if any(deeper != 2 * dim for dim, deeper in pairwise(dims)):
        raise ValueError(f"dims must double from stage to stage, got {tuple(dims)}")
