"""VM-UNet and its parts, primitives upward: layers, ss2d, vmunet."""

from .vmunet import VMUNet

__all__ = ["VMUNet"]
