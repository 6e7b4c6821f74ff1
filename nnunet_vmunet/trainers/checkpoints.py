"""The checkpoints that a training leaves in its folder, and what to do about one that is damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import InputError

PARTIAL = ".partial"  # ends the name of a checkpoint that is being written
IN_ORDER = ("checkpoint_final.pth", "checkpoint_latest.pth", "checkpoint_best.pth")  # in which --c looks for them


def saved(file: Path, key: str) -> Any:
    """What a training saved under `key`; None if the file is not there or is damaged."""
    try:
        return torch.load(file, map_location="cpu", weights_only=False, mmap=True)[key]
    except Exception:  # a damaged file can fail anywhere
        return None


def plain(value: Any) -> Any:
    """The same value with Python's numbers in place of NumPy's, in lists and dictionaries too."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [plain(entry) for entry in value]
    return value.item() if isinstance(value, np.generic) else value


def refuse_unusable(file: Path) -> None:
    """Raise InputError if it is the file's fault that it could not be loaded."""
    try:
        checkpoint = torch.load(file, map_location="cpu", weights_only=False)
    except (OSError, ImportError, AttributeError, MemoryError):  # not the bytes are at fault
        return
    except Exception as error:  # as above
        raise InputError(
            f"{file} is cut off or damaged ({file.stat().st_size:,} bytes): delete it, {_way_out(file)}"
        ) from error
    if "optimizer_state" not in checkpoint:
        raise InputError(
            f"{file} holds weights and no training that could be continued: start one with -pretrained_weights {file}"
        )


def _way_out(damaged: Path) -> str:
    for name in IN_ORDER:
        epochs = saved(damaged.with_name(name), "current_epoch")
        if epochs is not None:
            return f"and --c goes on from {name}, which has {epochs} epochs"
    return "and start again without --c, as no other checkpoint is left"
