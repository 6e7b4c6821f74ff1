"""VM-UNet, its family and their parts, primitives upward: layers, ss2d, network, then a file for each network."""

from .mamba_unet import MambaUNet
from .swin_umamba import SwinUMambaD
from .vmamba2 import VMamba2Encoder, VMamba2UNet
from .vmunet import VMUNet

__all__ = ["MambaUNet", "SwinUMambaD", "VMUNet", "VMamba2Encoder", "VMamba2UNet"]
