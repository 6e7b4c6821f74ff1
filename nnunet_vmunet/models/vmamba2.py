"""VMamba's second version (arXiv 2401.10166, code MzeroMiko/VMamba), and VM-UNet's decoder on top of it.

Its published classifiers are trained better and run faster than those of the first version, which VM-UNet starts from:
one state in the scan, no gate, an MLP in each block, and convolutions that overlap before and between the stages.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from .layers import MLP, ConvolutionalDownsampling, ConvolutionalStem, DropPath, LayerNorm
from .network import initialise_linear
from .ss2d import SS2D
from .vmunet import Encoder, VMUNet


class VMamba2Block(nn.Module):
    """Two residual branches on (b, h, w, dim): the scan, without a gate, and an MLP.

    Args:
        dim: channels C.
        d_state: states N of the scan.
        drop_path_rate: probability, in training, that a sample goes past a branch; drawn for each of them.
        ratio: the scan runs on ratio·C channels; 1 in the variants called s1, 2 in s2.
    """

    def __init__(self, dim: int, d_state: int, drop_path_rate: float, ratio: int = 1) -> None:
        super().__init__()
        self.norm = LayerNorm(dim)
        self.ss2d = SS2D(dim, d_state, ratio, gated=False)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim)
        self.drop_path = DropPath(drop_path_rate)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.ss2d(self.norm(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class VMamba2Encoder(Encoder):
    """(b, input_channels, h, w) to the four stages' outputs, finest first: (b, 96, h/4, w/4) to (b, 768, h/32, w/32).

    Sizes are rounded up, channels come first, and nothing is normalised after the last block. The defaults are those
    of VMamba-T[s1l8]. With 3 channels it has 29,478,528 parameters.

    Args:
        input_channels: of the image, any number.
        depths: blocks of each stage.
        dims: channels of each stage.
        d_state: states N of the scan.
        drop_path_rate: stochastic depth, from 0 up to this over the blocks.
    """

    title = "VMamba v2"
    embedding_class = ConvolutionalStem
    block_class = VMamba2Block
    downsampling_class = ConvolutionalDownsampling

    def __init__(
        self,
        input_channels: int,
        depths: Sequence[int] = (2, 2, 8, 2),
        dims: Sequence[int] = (96, 192, 384, 768),
        d_state: int = 1,
        drop_path_rate: float = 0.2,
    ) -> None:
        super().__init__(input_channels, depths, dims, d_state, drop_path_rate)
        self.apply(initialise_linear)

    def forward(self, image: Tensor) -> list[Tensor]:  # type: ignore[override]  # a backbone's, without skips
        _, outputs = self.stage_by_stage(image)
        return [output.permute(0, 3, 1, 2) for output in outputs]


class SkippingVMamba2Encoder(VMamba2Encoder):
    """The same, which gives what VM-UNet's decoder takes: the last output and all inputs, channels last."""

    def __init__(self, input_channels, depths, dims, d_state_of_decoder, drop_path_rate) -> None:
        super().__init__(input_channels, depths, dims, drop_path_rate=drop_path_rate)

    forward = Encoder.forward  # type: ignore[assignment]  # what it gives differs: that is the point


class VMamba2UNet(VMUNet):
    """(b, input_channels, h, w) to logits (b, num_classes, h, w), for any h and w: VM-UNet on VMamba-T[s1l8].

    Arguments and errors are those of `VMUNet`; `d_state` is the decoder's, the encoder has one state.
    """

    title = "VM-UNet on VMamba v2"
    encoder_class = SkippingVMamba2Encoder

    def __init__(
        self,
        input_channels: int,
        num_classes: int,
        depths: Sequence[int] = (2, 2, 8, 2),
        depths_decoder: Sequence[int] = (2, 2, 2, 1),
        dims: Sequence[int] = (96, 192, 384, 768),
        d_state: int = 16,
        drop_path_rate: float = 0.2,
        deep_supervision: bool = False,
    ) -> None:
        super().__init__(
            input_channels, num_classes, depths, depths_decoder, dims, d_state, drop_path_rate, deep_supervision
        )
