"""Autocast to a network's own dtype, for its calls alone.

nnU-Net calls every network under autocast, with whatever dtype torch has at that moment. To change that one would
change it for all networks of the process.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def own_autocast(device_type: str, dtype: torch.dtype | None) -> AbstractContextManager:
    """Autocast to `dtype` where the caller autocasts at all; with float32 nothing is cast, and None changes nothing."""
    if dtype is None or not torch.is_autocast_enabled(device_type):
        return nullcontext()
    return torch.autocast(device_type, dtype, enabled=dtype != torch.float32)
