"""VM-UNet (arXiv 2402.02491): a U-shaped encoder and decoder of VSS blocks with additive skips."""

from collections.abc import Sequence

from torch import Tensor, nn

from .layers import PatchEmbedding, PatchExpanding, PatchMerging
from .network import PATCH, UShapedNetwork, drop_path_rates, initialise_linear
from .ss2d import VSSBlock


class EncoderStage(nn.Module):
    """(b, h, w, dim) to the blocks' output, as large, and to (b, h/2, w/2, next_dim), unless it is the deepest."""

    def __init__(self, blocks: Sequence[nn.Module], downsample: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        self.downsample = downsample

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.blocks(x)
        return y, self.downsample(y)


class Encoder(nn.Module):
    """Patch embedding, then stages of blocks with patch merging between them.

    A subclass may take other parts, and other skips.
    """

    embedding_class: type[nn.Module] = PatchEmbedding
    block_class: type[nn.Module] = VSSBlock
    downsampling_class: type[nn.Module] = PatchMerging

    def __init__(self, input_channels, depths, dims, d_state, drop_path_rate) -> None:
        super().__init__()
        self.patch_embed = self.embedding_class(input_channels, dims[0])
        rates = drop_path_rates(depths, drop_path_rate)
        self.stages = nn.ModuleList(
            EncoderStage(
                [self.block_class(dim, d_state, rate) for rate in stage_rates],
                self.downsampling_class(dim, next_dim) if next_dim else nn.Identity(),
            )
            for dim, next_dim, stage_rates in zip(dims, (*dims[1:], None), rates, strict=True)
        )

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Encode (b, c, h, w), h and w multiples of `size_divisor`, to deep features (b, h/32, w/32, 768) and skips.

        The skips are every stage's *input*, shallowest first: (b, h/4, w/4, 96) and so on. Sizes are the paper's.
        """
        inputs, outputs = self.stage_by_stage(image)
        return outputs[-1], inputs

    def stage_by_stage(self, image: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Every stage's input and, before it is made smaller, its output, shallowest first."""
        x, inputs, outputs = self.patch_embed(image), [], []
        for stage in self.stages:
            inputs.append(x)
            output, x = stage(x)
            outputs.append(output)
        return inputs, outputs


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
        rates = [stage[::-1] for stage in drop_path_rates(depths[::-1], drop_path_rate)][::-1]
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


class VMUNet(UShapedNetwork):
    """(b, input_channels, h, w) to logits (b, num_classes, h, w), for any h and w.

    With the defaults, 3 channels and 1 class it has the paper's 27,427,561 parameters.

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

    title = "VM-UNet"
    encoder_class: type[Encoder] = Encoder
    decoder_class = Decoder

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
        super().__init__(input_channels, len(depths), deep_supervision)
        _check(depths, depths_decoder, dims)
        self.encoder = self.encoder_class(input_channels, depths, dims, d_state, drop_path_rate)
        self.decoder = self.decoder_class(num_classes, depths_decoder, dims[::-1], d_state, drop_path_rate)
        self.apply(initialise_linear)


def _check(depths, depths_decoder, dims) -> None:
    if not len(depths) == len(depths_decoder) == len(dims):
        raise ValueError(
            "depths, depths_decoder and dims need one entry per stage each, "
            f"got {tuple(depths)}, {tuple(depths_decoder)} and {tuple(dims)}"
        )
    if dims[0] % PATCH:
        raise ValueError(f"dims[0] must be divisible by {PATCH}, got {dims[0]}")
