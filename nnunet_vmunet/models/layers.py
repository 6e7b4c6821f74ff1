"""What the networks are made of besides the scan. Everything is channels last: (batch, height, width, channels)."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


class LayerNorm(nn.LayerNorm):
    """torch's, over the channels. Trained in half precision on a CPU, it computes in float32.

    torch's kernel there adds up the weight's gradients of all pixels in half precision, and loses half of them.
    """

    def forward(self, x: Tensor) -> Tensor:
        is_half = self.weight.dtype in (torch.bfloat16, torch.float16)
        if not (is_half and x.device.type == "cpu" and torch.is_grad_enabled()):
            return super().forward(x)
        weight, bias = self.weight.float(), self.bias.float()
        return F.layer_norm(x.float(), self.normalized_shape, weight, bias, self.eps).to(x.dtype)


class PatchEmbedding(nn.Module):
    """(b, c, h, w) to (b, h/4, w/4, dim): one token per 4×4 pixels (section 3.1 of the paper)."""

    def __init__(self, input_channels: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(input_channels, dim, kernel_size=4, stride=4)
        self.norm = LayerNorm(dim)

    def forward(self, image: Tensor) -> Tensor:
        return self.norm(self.proj(image).permute(0, 2, 3, 1))


class ConvolutionalStem(nn.Module):
    """(b, c, h, w) to (b, h/4, w/4, dim), rounded up: two convolutions that overlap. VMamba v2's patch embedding."""

    def __init__(self, input_channels: int, dim: int) -> None:
        super().__init__()
        self.proj1 = nn.Conv2d(input_channels, dim // 2, kernel_size=3, stride=2, padding=1)
        self.norm1 = LayerNorm(dim // 2)
        self.proj2 = nn.Conv2d(dim // 2, dim, kernel_size=3, stride=2, padding=1)
        self.norm2 = LayerNorm(dim)

    def forward(self, image: Tensor) -> Tensor:
        x = F.gelu(self.norm1(self.proj1(image).permute(0, 2, 3, 1)))
        return self.norm2(self.proj2(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))


class ConvolutionalDownsampling(nn.Module):
    """(b, h, w, dim) to (b, h/2, w/2, dim_out), rounded up: VMamba v2's, between the stages."""

    def __init__(self, dim: int, dim_out: int) -> None:
        super().__init__()
        self.reduction = nn.Conv2d(dim, dim_out, kernel_size=3, stride=2, padding=1)
        self.norm = LayerNorm(dim_out)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.reduction(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))


class MLP(nn.Module):
    """(b, h, w, dim) to the same shape, each token for itself, over `ratio` times as many channels."""

    def __init__(self, dim: int, ratio: int = 4) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, ratio * dim)
        self.fc2 = nn.Linear(ratio * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class PatchMerging(nn.Module):
    """(b, h, w, dim) to (b, h/2, w/2, dim_out): each 2×2 cell becomes one token. The original's PatchMerging2D.

    h and w are even: `UShapedNetwork` pads the image to where they are.
    """

    def __init__(self, dim: int, dim_out: int) -> None:
        super().__init__()
        self.norm = LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, dim_out, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        # The column is the slower index, (0,0), (1,0), (0,1), (1,1): the order that the original's weights expect.
        cells = rearrange(x, "b (h row) (w column) c -> b h w (column row c)", row=2, column=2)
        return self.reduction(self.norm(cells))


class PatchExpanding(nn.Module):
    """(b, h, w, dim) to (b, scale·h, scale·w, dim_out): each token becomes a cell of scale×scale tokens.

    The original's PatchExpand2D, with scale 2, and Final_PatchExpand2D, with scale 4.
    """

    def __init__(self, dim: int, dim_out: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.expand = nn.Linear(dim, scale * scale * dim_out, bias=False)
        self.norm = LayerNorm(dim_out)

    def forward(self, x: Tensor) -> Tensor:
        cells = self.expand(x)
        return self.norm(
            rearrange(cells, "b h w (row column c) -> b (h row) (w column) c", row=self.scale, column=self.scale)
        )


def silu_gate(y: Tensor, z: Tensor) -> Tensor:
    """y · SiLU(z), elementwise, for y and z of one shape."""
    return _SiLUGate.apply(y, z)


class _SiLUGate(torch.autograd.Function):
    """Keeps y and z for the backward pass. Autograd would keep SiLU(z) too: a twelfth of what a block keeps."""

    @staticmethod
    def forward(ctx, y, z):  # with `setup_context` torch 2.4 could not export it
        ctx.save_for_backward(y, z)
        return y * F.silu(z)

    @staticmethod
    def backward(ctx, grad):
        y, z = ctx.saved_tensors
        return grad * F.silu(z), torch.ops.aten.silu_backward(grad * y, z)


class DropPath(nn.Module):
    """Stochastic depth (arXiv 1603.09382): in training, drops a residual branch per sample with probability `rate`.

    (b, ...) to the same shape. What is kept is divided by 1 - rate, so that the mean stays.

    A distributed training sets `share`: the first of this process's samples in the whole batch, and their number there.
    Processes that draw with one seed then drop what a single process would.
    """

    share: tuple[int, int] | None = None

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return branch
        keep = 1 - self.rate
        first, samples = self.share or (0, len(branch))
        kept = torch.empty(samples, *[1] * (branch.ndim - 1), dtype=branch.dtype, device=branch.device)
        return branch * kept.bernoulli_(keep)[first : first + len(branch)] / keep

    def extra_repr(self) -> str:
        return f"rate={self.rate:.3f}"
