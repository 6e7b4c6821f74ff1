"""Weights of others, loaded into our VM-UNet: the original implementation's, VMamba's, nnU-Net's checkpoints."""

from .filling import LoadReport, load_original
from .names import rename

__all__ = ["LoadReport", "load_original", "rename"]
