"""Mamba-UNet (arXiv 2402.05079, code ziyangwang007/Mamba-UNet).

VM-UNet's encoder with a norm at the bottom, concatenated skips, and a last expansion that keeps all channels.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from .concat_decoder import ConcatDecoder, refuse_other_dims
from .layers import LayerNorm
from .network import UShapedNetwork, drop_path_rates, initialise_linear
from .vmunet import Encoder


class MambaUNetEncoder(Encoder):
    """`Encoder` with a norm at the bottom; the input of the deepest stage is no skip."""

    def __init__(self, input_channels, depths, dims, d_state, drop_path_rate) -> None:
        super().__init__(input_channels, depths, dims, d_state, drop_path_rate)
        self.norm = LayerNorm(dims[-1])

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        inputs, outputs = self.stage_by_stage(image)
        return self.norm(outputs[-1]), inputs[:-1]


class MambaUNetDecoder(ConcatDecoder):
    """Decode the bottom and the skips, shallowest first, to logits (b, num_classes, h, w)."""

    def __init__(self, num_classes, dims, rates, d_state) -> None:
        super().__init__(dims, rates, d_state)
        self.norm = LayerNorm(dims[-1])
        self.seg_layers = nn.ModuleList([nn.Conv2d(dims[-1], num_classes, kernel_size=1, bias=False)])

    def forward(self, x: Tensor, skips: list[Tensor]) -> Tensor:
        x = self.norm(self.stage_by_stage(x, skips)[-1])
        return self.seg_layers[0](self.final_up(x).permute(0, 3, 1, 2))


class MambaUNet(UShapedNetwork):
    """(b, input_channels, h, w) to logits (b, num_classes, h, w), for any h and w.

    With the defaults, 3 channels and N classes it has 19,121,280 + 96 N parameters. The original repeats an image of
    one channel three times; here the network takes one.

    Args:
        input_channels: of the image, any number.
        num_classes: output channels.
        depths: VSS blocks of each encoder stage, and of the decoder's stage at the same resolution.
        dims: channels of each encoder stage, each twice the one before.
        d_state: states N of the scan.
        drop_path_rate: stochastic depth, from 0 up to this over the encoder's blocks; the decoder's have the same
            rates in the same order, as in the original.
        deep_supervision: nnU-Net passes it; Mamba-UNet has one output, so it must be False.

    Raises:
        ValueError: sizes that do not fit each other, deep supervision, or, in `forward`, an image of another shape.
    """

    title = "Mamba-UNet"

    def __init__(
        self,
        input_channels: int,
        num_classes: int,
        depths: Sequence[int] = (2, 2, 2, 2),
        dims: Sequence[int] = (96, 192, 384, 768),
        d_state: int = 16,
        drop_path_rate: float = 0.2,
        deep_supervision: bool = False,
    ) -> None:
        super().__init__(input_channels, len(depths), deep_supervision)
        refuse_other_dims(dims)
        self.encoder = MambaUNetEncoder(input_channels, depths, dims, d_state, drop_path_rate)
        rates = drop_path_rates(depths, drop_path_rate)[-2::-1]
        self.decoder = MambaUNetDecoder(num_classes, dims[-2::-1], rates, d_state)
        self.apply(initialise_linear)
