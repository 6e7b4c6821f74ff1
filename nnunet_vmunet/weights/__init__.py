"""Weights of others, loaded into our VM-UNet: the original implementation's, VMamba's, nnU-Net's checkpoints."""

from .original import LoadReport, load_original, rename

__all__ = ["LoadReport", "load_original", "rename"]
