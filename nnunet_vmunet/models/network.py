"""What the networks here have in common: an encoder, a decoder, and images of any size."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .autocast import own_autocast

PATCH = 4  # pixels a side of a token


class UShapedNetwork(nn.Module):
    """(b, input_channels, h, w) to logits (b, num_classes, h, w), for any h and w.

    A subclass makes `encoder`, which takes an image and gives the deepest features and the skips, and `decoder`, which
    takes those and gives the logits. Its signature is nnU-Net's: a plans file can name the class, and gives everything
    after `input_channels` and `num_classes` as `arch_kwargs`.

    Args:
        input_channels: of the image, any number.
        stages: of the encoder, each at half of the resolution of the one before.
        deep_supervision: nnU-Net passes it; it must be False for a network of one output.

    Raises:
        ValueError: deep supervision that the network does not have, or, in `forward`, an image of another shape.
    """

    title: str  # as its paper calls it
    output_scales: tuple[float, ...] = (1,)  # with deep supervision: of height and width of each output, finest first
    autocast_dtype: torch.dtype | None = None  # under autocast; None: as the caller says
    encoder: nn.Module
    decoder: nn.Module

    def __init__(self, input_channels: int, stages: int, deep_supervision: bool = False) -> None:
        super().__init__()
        if deep_supervision and self.output_scales == (1,):
            raise ValueError(f"{type(self).__name__} has one output: deep_supervision must be False")
        self.input_channels = input_channels
        self.size_divisor = PATCH * 2 ** (stages - 1)

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """With deep supervision a list: logits at each of `output_scales`, in nnU-Net's rounding."""
        if image.ndim != 4 or image.shape[1] != self.input_channels:
            expected = f"(batch, {self.input_channels}, height, width)"
            raise ValueError(f"expected an image {expected}, got {tuple(image.shape)}")
        height, width = image.shape[2:]
        padded = F.pad(image, (0, -width % self.size_divisor, 0, -height % self.size_divisor))
        with own_autocast(image.device.type, self.autocast_dtype):
            logits = self.decoder(*self.encoder(padded))
        if isinstance(logits, Tensor):
            return logits[:, :, :height, :width]
        return [
            output[:, :, : round(height * scale), : round(width * scale)]
            for output, scale in zip(logits, self.output_scales, strict=True)
        ]


def drop_path_rates(depths: Sequence[int], maximum: float) -> list[list[float]]:
    """Rates that rise linearly from 0 to `maximum` over all blocks, grouped by stage."""
    rates = torch.linspace(0, maximum, sum(depths), device="cpu").split(list(depths))
    return [stage.tolist() for stage in rates]


def initialise_linear(module: nn.Module) -> None:
    """VMamba's initialisation, for `nn.Module.apply`: weights of standard deviation 0.02, biases 0."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
