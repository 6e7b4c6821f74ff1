"""A short name for weights, by which a log and a file are seen to mean the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

SKIPPED = ".seg_layers."  # by nnU-Net's -pretrained_weights: these are not the file's in a training


def fingerprint(state_dict: Mapping[str, Tensor]) -> str:
    """12 hexadecimal digits of the SHA-256 of names and values, the output layer left out."""
    digest = hashlib.sha256()
    for name in sorted(name for name in state_dict if SKIPPED not in name):
        digest.update(name.encode())
        values = state_dict[name].detach().to("cpu", torch.float32).contiguous()
        digest.update(values.numpy().data)
    return digest.hexdigest()[:12]
