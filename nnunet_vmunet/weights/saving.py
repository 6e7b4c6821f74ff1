"""torch.save, with the disk's own errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


def save(content: dict[str, Any], file: Path) -> None:
    """Write a checkpoint.

    Raises:
        OSError: the disk is full or closed to us; torch.save alone makes an obscure RuntimeError of that.
    """
    with open(file, "wb") as opened:
        try:
            torch.save(content, opened)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise
