"""Swin-UMamba† (arXiv 2402.03302, SwinUMambaD in JiarunLiu/Swin-UMamba): the scan in encoder and decoder, four outputs.

Skips are what a stage gives, after its blocks. The depths are those of VMamba-T, so that its weights fill all of the
encoder.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from .concat_decoder import ConcatDecoder, refuse_other_dims
from .network import UShapedNetwork, drop_path_rates, initialise_linear
from .vmunet import Encoder

PATCH_EMBEDDING = "encoder.patch_embed.proj"
HE_SLOPE = 0.01  # nnU-Net's, of the leaky ReLU that its initialisation assumes


class OutputSkipsEncoder(Encoder):
    """`Encoder`, whose skips are the outputs of all stages but the deepest."""

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        _, outputs = self.stage_by_stage(image)
        return outputs[-1], outputs[:-1]


class SwinUMambaDDecoder(ConcatDecoder):
    """The logits at full resolution; with deep supervision those of every stage too, finest first.

    `seg_layers` are coarsest first, as the stages are; the last is that of full resolution.
    """

    def __init__(self, num_classes, dims, rates, d_state, deep_supervision) -> None:
        super().__init__(dims, rates, d_state)
        self.seg_layers = nn.ModuleList(nn.Conv2d(dim, num_classes, kernel_size=1) for dim in (*dims, dims[-1]))
        self.deep_supervision = deep_supervision  # nnU-Net's name: it switches it off to validate

    def forward(self, x: Tensor, skips: list[Tensor]) -> Tensor | list[Tensor]:
        outputs = self.stage_by_stage(x, skips)
        logits = self.seg_layers[-1](self.final_up(outputs[-1]).permute(0, 3, 1, 2))
        if not self.deep_supervision:
            return logits
        coarser = [layer(y.permute(0, 3, 1, 2)) for layer, y in zip(self.seg_layers, outputs, strict=False)]
        return [logits, *reversed(coarser)]


class SwinUMambaD(UShapedNetwork):
    """(b, input_channels, h, w) to logits (b, num_classes, h, w), for any h and w.

    With the defaults, 3 channels and N classes it has 27,489,984 + 772 N parameters.

    Args:
        input_channels: of the image, any number.
        num_classes: output channels.
        depths: VSS blocks of each encoder stage.
        depths_decoder: VSS blocks of each decoder stage, deepest first; there is none at the encoder's deepest.
        dims: channels of each encoder stage, each twice the one before.
        d_state: states N of the scan.
        drop_path_rate: stochastic depth, from 0 up to this over the encoder's blocks and back over the decoder's.
        deep_supervision: give a list of logits, at 1/1, 1/4, 1/8 and 1/16 of the resolution.

    Raises:
        ValueError: sizes that do not fit each other, or, in `forward`, an image of another shape.
    """

    title = "Swin-UMamba†"
    output_scales = (1, 1 / 4, 1 / 8, 1 / 16)

    def __init__(
        self,
        input_channels: int,
        num_classes: int,
        depths: Sequence[int] = (2, 2, 9, 2),
        depths_decoder: Sequence[int] = (2, 2, 2),
        dims: Sequence[int] = (96, 192, 384, 768),
        d_state: int = 16,
        drop_path_rate: float = 0.2,
        deep_supervision: bool = False,
    ) -> None:
        super().__init__(input_channels, len(depths), deep_supervision)
        refuse_other_dims(dims)
        self.output_scales = (1, *(1 / 2**i for i in range(2, len(depths) + 1)))
        self.encoder = OutputSkipsEncoder(input_channels, depths, dims, d_state, drop_path_rate)
        rates = [stage[::-1] for stage in drop_path_rates(depths_decoder[::-1], drop_path_rate)][::-1]
        self.decoder = SwinUMambaDDecoder(num_classes, dims[-2::-1], rates, d_state, deep_supervision)
        self._initialise()

    def _initialise(self) -> None:
        """The original's: VMamba's for the encoder, torch's own for the decoder's linear layers, nnU-Net's for all
        convolutions, also where a SiLU follows.

        But the patch embedding keeps torch's bias, which the original sets to 0: pixels of 0, as around an image, would
        become tokens of 0, at which each norm makes a gradient up to 300 times as large, until it overflows.
        """
        self.encoder.apply(initialise_linear)
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, a=HE_SLOPE)
                if module.bias is not None and name != PATCH_EMBEDDING:
                    nn.init.zeros_(module.bias)
