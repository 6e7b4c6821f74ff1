"""VM-UNet (arXiv 2402.02491): a U-shaped encoder and decoder of VSS blocks with additive skips."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .autocast import own_autocast
from .layers import PatchEmbedding, PatchExpanding, PatchMerging
from .ss2d import VSSBlock

PATCH = 4  # pixels a side of a token


class EncoderStage(nn.Module):
    """(b, h, w, dim) to (b, h/2, w/2, next_dim); the deepest, without a next one, keeps its shape."""

    def __init__(self, dim: int, next_dim: int | None, drop_path_rates, d_state: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(VSSBlock(dim, d_state, rate) for rate in drop_path_rates))
        self.downsample = PatchMerging(dim, next_dim) if next_dim else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.downsample(self.blocks(x))


class Encoder(nn.Module):
    """Patch embedding, then stages of VSS blocks with patch merging between them."""

    def __init__(self, input_channels, depths, dims, d_state, drop_path_rate) -> None:
        super().__init__()
        self.patch_embed = PatchEmbedding(input_channels, dims[0])
        rates = _drop_path_rates(depths, drop_path_rate)
        self.stages = nn.ModuleList(
            EncoderStage(dim, next_dim, stage_rates, d_state)
            for dim, next_dim, stage_rates in zip(dims, (*dims[1:], None), rates, strict=True)
        )

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Encode (b, c, h, w), h and w multiples of `size_divisor`, to deep features (b, h/32, w/32, 768) and skips.

        The skips are every stage's *input*, shallowest first: (b, h/4, w/4, 96) and so on. Sizes are the paper's.
        """
        x, skips = self.patch_embed(image), []
        for stage in self.stages:
            skips.append(x)
            x = stage(x)
        return x, skips


class DecoderStage(nn.Module):
    """(b, h, w, previous_dim) to (b, 2·h, 2·w, dim); the deepest, without a previous one, keeps its shape."""

    def __init__(self, previous_dim: int | None, dim: int, drop_path_rates, d_state: int) -> None:
        super().__init__()
        self.upsample = PatchExpanding(previous_dim, dim, scale=2) if previous_dim else nn.Identity()
        self.blocks = nn.Sequential(*(VSSBlock(dim, d_state, rate) for rate in drop_path_rates))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.upsample(x))


class Decoder(nn.Module):
    """Stages of VSS blocks with patch expanding before each but the first, then full resolution and the logits.

    `dims` are deepest first. The output layer is called seg_layers because nnU-Net's -pretrained_weights skips it.
    """

    def __init__(self, num_classes, depths, dims, d_state, drop_path_rate) -> None:
        super().__init__()
        rates = [stage[::-1] for stage in _drop_path_rates(depths[::-1], drop_path_rate)][::-1]
        self.stages = nn.ModuleList(
            DecoderStage(previous_dim, dim, stage_rates, d_state)
            for previous_dim, dim, stage_rates in zip((None, *dims[:-1]), dims, rates, strict=True)
        )
        self.final_up = PatchExpanding(dims[-1], dims[-1] // PATCH, scale=PATCH)
        self.seg_layers = nn.ModuleList([nn.Conv2d(dims[-1] // PATCH, num_classes, kernel_size=1)])

    def forward(self, x: Tensor, skips: list[Tensor]) -> Tensor:
        """Decode the deepest features and the encoder's skips (shallowest first) to logits (b, num_classes, h, w)."""
        x = self.stages[0](x)
        for j in range(1, len(self.stages)):
            # One skip deeper than in a usual U-Net: stage j is handed the input of encoder stage -j, which has the
            # resolution from before its expansion.
            x = self.stages[j](x + skips[-j])
        return self.seg_layers[0](self.final_up(x).permute(0, 3, 1, 2))


class VMUNet(nn.Module):
    """(b, input_channels, h, w) to logits (b, num_classes, h, w), for any h and w.

    The signature is nnU-Net's: a plans file can name this class or a subclass, and gives everything after the first
    two arguments as `arch_kwargs`. With the defaults, 3 channels and 1 class it has the paper's 27,427,561 parameters.

    Args:
        input_channels: of the image, any number.
        num_classes: output channels.
        depths: VSS blocks of each encoder stage.
        depths_decoder: VSS blocks of each decoder stage, deepest first.
        dims: channels of each encoder stage; the first must be divisible by 4.
        d_state: states N of the scan.
        drop_path_rate: stochastic depth, from 0 up to this over the encoder's blocks and back over the decoder's.
        deep_supervision: nnU-Net passes it; VM-UNet has one output, so it must be False.

    Raises:
        ValueError: sizes that do not fit each other, deep supervision, or, in `forward`, an image of another shape.
    """

    encoder_class = Encoder
    decoder_class = Decoder
    autocast_dtype: torch.dtype | None = None  # under autocast; None: as the caller says

    def __init__(
        self,
        input_channels: int,
        num_classes: int,
        depths: Sequence[int] = (2, 2, 2, 2),
        depths_decoder: Sequence[int] = (2, 2, 2, 1),
        dims: Sequence[int] = (96, 192, 384, 768),
        d_state: int = 16,
        drop_path_rate: float = 0.2,
        deep_supervision: bool = False,
    ) -> None:
        super().__init__()
        _check(depths, depths_decoder, dims, deep_supervision)
        self.input_channels = input_channels
        self.size_divisor = PATCH * 2 ** (len(depths) - 1)
        self.encoder = self.encoder_class(input_channels, depths, dims, d_state, drop_path_rate)
        self.decoder = self.decoder_class(num_classes, depths_decoder, dims[::-1], d_state, drop_path_rate)
        self.apply(_initialize_linear)

    def forward(self, image: Tensor) -> Tensor:
        if image.ndim != 4 or image.shape[1] != self.input_channels:
            expected = f"(batch, {self.input_channels}, height, width)"
            raise ValueError(f"expected an image {expected}, got {tuple(image.shape)}")
        height, width = image.shape[2:]
        padded = F.pad(image, (0, -width % self.size_divisor, 0, -height % self.size_divisor))
        with own_autocast(image.device.type, self.autocast_dtype):
            bottom, skips = self.encoder(padded)
            return self.decoder(bottom, skips)[:, :, :height, :width]


def _drop_path_rates(depths: Sequence[int], maximum: float) -> list[list[float]]:
    """Rates that rise linearly from 0 to `maximum` over all blocks, grouped by stage."""
    rates = torch.linspace(0, maximum, sum(depths)).split(list(depths))
    return [stage.tolist() for stage in rates]


def _initialize_linear(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)


def _check(depths, depths_decoder, dims, deep_supervision) -> None:
    if not len(depths) == len(depths_decoder) == len(dims):
        raise ValueError(
            "depths, depths_decoder and dims need one entry per stage each, "
            f"got {tuple(depths)}, {tuple(depths_decoder)} and {tuple(dims)}"
        )
    if dims[0] % PATCH:
        raise ValueError(f"dims[0] must be divisible by {PATCH}, got {dims[0]}")
    if deep_supervision:
        raise ValueError("VM-UNet has one output: deep_supervision must be False (nnUNetTrainerVMUNet switches it off)")
