"""VM-UNet (arXiv 2402.02491) for stock nnU-Net. Importing this package loads nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .prediction.model import Model, Result, load_model

__version__ = "0.1.0"
__all__ = ["Model", "Result", "__version__", "load_model"]


def __getattr__(name: str):
    """`load_model` and what it gives, imported when they are first asked for: torch and nnU-Net take seconds."""
    if name in ("Model", "Result", "load_model"):
        from .prediction import model

        return getattr(model, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
