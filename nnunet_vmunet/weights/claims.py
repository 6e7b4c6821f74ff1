"""A weights file must hold what it claims to: or a small one fills the memory, or the time, of whoever opens it."""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..errors import InputError

# torch.load builds bytes with these though it executes nothing else, and a few of them in a row give any number.
BUILD_BYTES = {"_codecs encode", "builtins bytearray", "__builtin__ bytearray"}
PICKLES_BEFORE_1_6 = 5  # magic number, version, machine, what was saved, names of storages
OF_TENSORS = ("torch", "collections")  # modules whose names stand in every checkpoint


def refuse_inflated(file: Path) -> None:
    """Raise InputError if the archive `file` unpacks to more than its own size: torch.save does not compress."""
    size = file.stat().st_size
    try:
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
        return  # torch.load tells what is wrong with it
    if unpacked > size:
        raise InputError(f"{file} has {size:,} bytes and unpacks to {unpacked:,}: no checkpoint that torch.save wrote")


def builds_bytes(file: Path) -> str | None:
    """The first thing beyond tensors that the file asks for, if it can make bytes without end."""
    asked = list(_globals(file))
    if BUILD_BYTES.isdisjoint(asked):
        return None
    return next(name for name in asked if not name.startswith(OF_TENSORS)).replace(" ", ".")


def refuse_unreal(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raise InputError for tensors that have more values than `file` has bytes for, or are not plain ones."""
    size = file.stat().st_size
    for name, tensor in tensors.items():
        if not name.isprintable():
            raise InputError(f"{file} names a tensor {name[:40]!r}: no network's tensors are called so")
        shape = "x".join(map(str, tensor.shape))
        if not _is_plain(tensor):
            raise InputError(f"{file} holds {name} ({shape}) in a form other than plain numbers: save it as such")
        stored = tensor.untyped_storage().nbytes()
        if tensor.numel() * tensor.element_size() > stored or stored > size:
            raise InputError(f"{file} says that {name} is {shape}, and does not hold as many values: take another file")


def _is_plain(tensor: Tensor) -> bool:
    return tensor.layout is torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized


def _globals(file: Path) -> Iterator[str]:
    """Every "module name" that the pickles in `file` ask for, as far as they can be read."""
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                for entry in archive.namelist():
                    if entry.endswith(".pkl"):
                        with archive.open(entry) as opened:
                            yield from _globals_of_one(opened)
        else:
            with open(file, "rb") as opened:
                for _ in range(PICKLES_BEFORE_1_6):
                    yield from _globals_of_one(opened)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, IndexError):
        return  # as above


def _globals_of_one(pickle) -> Iterator[str]:
    for opcode, argument, _ in pickletools.genops(pickle):
        if opcode.name == "GLOBAL":
            yield str(argument)
