"""Tensors whose shape depends on the dataset: the patch embedding's input and the output layer."""

from __future__ import annotations

import torch
from torch import Tensor

PATCH_EMBEDDING = "encoder.patch_embed.proj.weight"
OUTPUT_LAYER = "decoder.seg_layers.0."


def adapt(name: str, tensor: Tensor, shape: torch.Size) -> tuple[Tensor | None, str]:
    """Bring `tensor` into the wanted shape.

    Args:
        name: ours.

    Returns:
        The tensor and how it was adapted ("" if it fitted), or None and why it cannot be.
    """
    if tensor.shape == shape:
        return tensor, ""
    if name == PATCH_EMBEDDING and _differ_in_input_channels_only(tensor.shape, shape):
        return _with_input_channels(tensor, shape[1])
    if name.startswith(OUTPUT_LAYER) and len(tensor) == 1 and shape[0] == 2:
        return _two_heads(tensor), "1 output channel to 2 heads, background logit 0"
    return None, f"has shape {tuple(tensor.shape)}, this model {tuple(shape)}"


def _differ_in_input_channels_only(ours: torch.Size, wanted: torch.Size) -> bool:
    return len(ours) == 4 and (ours[0], *ours[2:]) == (wanted[0], *wanted[2:])


def _with_input_channels(weight: Tensor, channels: int) -> tuple[Tensor, str]:
    """(dim, c, 4, 4) for another c. A sum equals the one channel repeated, as the original feeds it."""
    given = weight.shape[1]
    if channels == 1:
        return weight.sum(1, keepdim=True), f"{given} input channels summed to 1"
    repeated = weight[:, torch.arange(channels) % given]
    return repeated * (given / channels), f"{given} input channels repeated to {channels} and scaled by their ratio"


def _two_heads(sigmoid_head: Tensor) -> Tensor:
    """Logits (0, z) for z. Their difference is z to the last bit, so sigmoid of it is the original's probability."""
    return torch.cat([torch.zeros_like(sigmoid_head), sigmoid_head])
