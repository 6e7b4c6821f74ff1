"""Whether a file is a whole PyTorch checkpoint, told without opening it as one where that is possible."""

from __future__ import annotations

import zipfile
from pathlib import Path


def why_no_checkpoint(file: Path) -> str | None:
    """None for a file as torch.save writes it: a zip archive whose checksums fit, or the form before torch 1.6."""
    return _why_no_zip(file) if begins_as_zip(file) else _why_no_pickle(file)


def begins_as_zip(file: Path) -> bool:
    return _begin(file, 2) == b"PK"


def _begin(file: Path, count: int) -> bytes:
    with open(file, "rb") as opened:
        return opened.read(count)


def _why_no_zip(file: Path) -> str | None:
    try:
        with zipfile.ZipFile(file) as archive:
            if not any(name.endswith("/data.pkl") for name in archive.namelist()):
                return "a zip archive without tensors"
            damaged = archive.testzip()
    except Exception as error:  # zipfile raises nearly anything for damaged files
        return f"a damaged zip archive: {error}"
    return f"damaged at {damaged}" if damaged else None


def _why_no_pickle(file: Path) -> str | None:
    if _begin(file, 1) != b"\x80":
        return "it does not begin as one"
    import torch

    try:
        torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # so does torch
        return f"{type(error).__name__} on opening it"
    return None
