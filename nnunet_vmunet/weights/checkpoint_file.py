"""The file of a checkpoint: opened without running anything in it, written, and told from others by its SHA-256.

A small file must not fill the memory of whoever opens it either.
"""

from __future__ import annotations

import codecs
import hashlib
import pickle
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..requirement import Requirement

ZIP, PICKLE = b"PK", b"\x80"  # how torch.save's files begin, today's and those from before torch 1.6
PICKLES_BEFORE_1_6 = 5  # magic number, version, machine, what was saved, names of storages
CUT_OFF = "is cut off or damaged: download or copy it again"
NUMBER_BYTES = 16  # more than one of NumPy's numbers has
# What NumPy's numbers of 4 and 8 bytes and its truth values call themselves.
NUMBERS = ("f4", "f8", "i4", "i8", "b1")
# Steps of a pickle, a letter each. torch.load builds bytes with e and b though it executes nothing else, and a few of
# them in a row give any number of bytes.
STEPS = {
    ("GLOBAL", "_codecs encode"): "e",
    ("GLOBAL", "builtins bytearray"): "b",
    ("GLOBAL", "__builtin__ bytearray"): "b",
    ("BINUNICODE", "latin1"): "l",
    ("TUPLE2", None): "2",
    ("REDUCE", None): "r",
}


def read(file: Path, *, trust: bool = False) -> Any:
    """What torch.save wrote into `file`: tensors, plain values and NumPy's numbers, which become Python's.

    Args:
        trust: let `torch.load` build whatever objects the file asks for, which can run any code.

    Raises:
        InputError: the file cannot be read, is damaged, holds anything else, or unpacks to more than it has bytes for.
    """
    try:
        with open(file, "rb") as opened:
            beginning = opened.read(2)
    except OSError as error:
        raise InputError(f"{file} cannot be read, check the path ({error.strerror})") from error
    if not beginning.startswith((ZIP, PICKLE)):
        what = "is empty" if not beginning else "is no PyTorch checkpoint"
        raise InputError(f"{file} {what}: give a file that torch.save wrote (.pth, .pt)")
    if beginning == ZIP:
        _refuse_inflated(file)
    if not trust and (name := _builds_bytes(file, beginning == ZIP)):
        raise InputError(f"{file} {_more_than_tensors(name)}")
    try:
        with warnings.catch_warnings(), _safe_globals():
            warnings.simplefilter("ignore")  # torch's, about files that it then refuses: one line is enough
            return torch.load(file, map_location="cpu", weights_only=not trust)
    except Exception as error:  # a damaged file can fail anywhere, a trusted one in code of its own
        raise InputError(f"{file} {_why_it_failed(error)}") from error


def write(content: dict[str, Any], file: Path) -> None:
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


def refuse_unreal(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raise InputError for tensors that have more values than `file` has bytes for, or are not plain ones."""
    size = file.stat().st_size
    for name, tensor in tensors.items():
        if not name.isprintable():
            raise InputError(f"{file} names a tensor {name[:40]!r}: no network's tensors are called so")
        shape = "x".join(map(str, tensor.shape))
        if tensor.layout is not torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
            raise InputError(f"{file} holds {name} ({shape}) in a form other than plain numbers: save it as such")
        stored = tensor.untyped_storage().nbytes()
        if tensor.numel() * tensor.element_size() > stored or stored > size:
            raise InputError(f"{file} says that {name} is {shape}, and does not hold as many values: take another file")


def why_damaged(file: Path) -> str:
    """What keeps `file` from being a whole checkpoint, such as "is cut off or damaged"; "" if nothing does."""
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                if damaged := archive.testzip():
                    return f"is damaged at {damaged}"
        read(file)
    except InputError as error:
        return str(error).removeprefix(f"{file} ").partition(":")[0]
    except Exception as error:  # zipfile raises nearly anything for damaged files
        return f"is a damaged zip archive ({error})"
    return ""


def sha256(file: Path) -> str:
    """The digest of the whole file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(file, "rb") as opened:
        while data := opened.read(2**20):
            digest.update(data)
    return digest.hexdigest()


def record_of(file: Path) -> Path:
    """Where the digest of `file` is recorded, as `sha256sum` writes it; nobody published one to compare with."""
    return file.with_name(f"{file.name}.sha256")


def refuse_other_digest(file: Path, digest: str, what: str, way_out: str) -> None:
    """Raise InputError if another digest is recorded beside `file`; `what` has `digest`."""
    record = record_of(file)
    text = record.read_text(encoding="utf-8", errors="replace") if record.exists() else ""
    recorded = re.search(r"\b[0-9a-f]{64}\b", text.lower())
    if recorded and recorded[0] != digest:
        raise InputError(f"{what} has SHA-256 {digest}, but {record} recorded {recorded[0]}: it has changed, {way_out}")


def checked_sha256(file: Path) -> str:
    """The digest of `file`; an InputError says if another is recorded."""
    digest = sha256(file)
    refuse_other_digest(file, digest, str(file), "delete both and download it again")
    return digest


class _NumberType:
    """Takes the place of numpy.dtype while a file is opened: a type of numbers, and nothing else that has a dtype."""

    def __init__(self, code: str, *flags: bool) -> None:
        if code not in NUMBERS:
            raise pickle.UnpicklingError(f"GLOBAL numpy.dtype({code!r:.20})")
        self.code = code

    def __setstate__(self, state: tuple) -> None:
        self.code = state[1].strip("|") + self.code  # the order of its bytes


def _number(kind: _NumberType, stored: bytes) -> float | int | bool:
    """Takes the place of NumPy's `scalar`, which would make anything of any size."""
    return np.frombuffer(stored, kind.code)[0].item()


def _named(name: str, thing: Any) -> Any:
    """torch asks what it may build for its name."""
    thing.__module__, _, thing.__name__ = name.rpartition(".")
    thing.__qualname__ = thing.__name__
    return thing


SAFE_GLOBALS = [
    Requirement,  # in checkpoints of earlier versions
    _named("_codecs.encode", partial(codecs.encode)),  # torch 2.4 does not allow it by itself
    _named("numpy.dtype", _NumberType),
    _named("numpy.core.multiarray.scalar", partial(_number)),  # NumPy 1
    _named("numpy._core.multiarray.scalar", partial(_number)),  # NumPy 2
]


def _safe_globals() -> AbstractContextManager:
    if hasattr(torch.serialization, "safe_globals"):
        return torch.serialization.safe_globals(SAFE_GLOBALS)
    torch.serialization.add_safe_globals(SAFE_GLOBALS)  # torch 2.4
    return nullcontext()


def _why_it_failed(error: Exception) -> str:
    refused = re.search(r"GLOBAL (\S+)", str(error))
    if refused:
        return _more_than_tensors(refused[1])
    if isinstance(error, (ImportError, AttributeError)):
        return f"holds objects of a package that is not installed here ({error}): install it, or save the weights alone"
    if "TorchScript" in str(error):
        return "is a TorchScript program, not a checkpoint: give the file with the weights"
    if isinstance(error, (RuntimeError, EOFError, OSError, pickle.UnpicklingError, ValueError)):
        return CUT_OFF
    return f"cannot be loaded ({type(error).__name__}): {CUT_OFF}"


def _more_than_tensors(name: str) -> str:
    return (
        f"holds more than tensors ({name}), and building that can run code: "
        "give --trust only if you trust whoever made it"
    )


def _refuse_inflated(file: Path) -> None:
    """Raise InputError if the archive unpacks to more than its own size: torch.save does not compress."""
    size = file.stat().st_size
    try:
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
        return  # torch.load tells what is wrong with it
    if unpacked > size:
        raise InputError(f"{file} has {size:,} bytes and unpacks to {unpacked:,}: no checkpoint that torch.save wrote")


def _builds_bytes(file: Path, zipped: bool) -> str | None:
    """What the file asks for that makes bytes without end, as far as its pickles can be read."""
    with suppress(zipfile.BadZipFile, ValueError, NotImplementedError, OSError):  # torch.load tells what is wrong
        return next(filter(None, map(_maker_of_bytes, _pickles(file, zipped))), None)
    return None


def _pickles(file: Path, zipped: bool) -> Iterator[IO[bytes]]:
    if not zipped:
        with open(file, "rb") as opened:
            yield from repeat(opened, PICKLES_BEFORE_1_6)
        return
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():  # two may have one name
            if entry.filename.endswith(".pkl"):
                with archive.open(entry) as opened:
                    yield opened


def _maker_of_bytes(pickled: IO[bytes]) -> str | None:
    """A bytearray, or an encoding other than that in NumPy's numbers: of a few characters, with latin1."""
    memo: dict[object, str] = {}
    steps: list[str] = []  # what is pushed, a letter each
    with suppress(ValueError, LookupError):  # as above
        for opcode, argument, _ in pickletools.genops(pickled):
            if opcode.name.endswith("PUT"):
                memo[argument] = steps[-1] if steps[-1] in "ebtl" else "."
            elif opcode.name.endswith("GET"):
                steps.append(memo[argument])
            else:
                is_short = opcode.name == "BINUNICODE" and len(str(argument)) <= NUMBER_BYTES
                steps.append(STEPS.get((opcode.name, argument), "t" if is_short else "."))
    found = re.search(r"b|e(?!tl2r|(tl2|tl|t)?$)", "".join(steps))
    return {"b": "bytearray", "e": "_codecs.encode"}[found[0]] if found else None
