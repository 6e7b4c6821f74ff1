"""Open a weights file without executing anything in it, and tell what it is."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import torch
from torch import Tensor

from ..errors import InputError
from ..requirement import Requirement
from . import vmamba
from .adapt import PATCH_EMBEDDING
from .claims import builds_bytes, refuse_inflated, refuse_unreal
from .digest import compare_digest
from .original import rename

# What training scripts wrap a state dict in; of several the first is taken. The paper's authors took VMamba's `model`.
CONTAINERS = ("network_weights", "model_state_dict", "state_dict", "model", "model_ema")
EMA = "model_ema"
# DataParallel's, torch.compile's, and the one that published VM-UNet checkpoints carry.
PREFIX = re.compile(r"^(module\.)?(_orig_mod\.)?(vmunet\.)?")
COUNTERS = ("total_ops", "total_params")  # thop leaves them in checkpoints of networks whose operations it counted
OURS = "encoder.stages.0.blocks.0.ss2d.x_proj_weight"
ZIP, PICKLE = b"PK", b"\x80"  # how torch.save's files begin, today's and those from before torch 1.6
PATCH_EMBEDDINGS = (*vmamba.PATCH_EMBEDDINGS, PATCH_EMBEDDING)
BLOCK = re.compile(r"(layers|layers_up|encoder\.stages|decoder\.stages)\.[0-3]\.blocks\.\d{1,3}\.")
PROVENANCE = ("source", "kind", "sha256")  # what of it is read
CUT_OFF = "is cut off or damaged: download or copy it again"

torch.serialization.add_safe_globals([Requirement])  # in the models that --as-model writes; it asks nothing here


class Kind(Enum):
    """Whose weights a file holds; the values are what the user reads."""

    VMAMBA = "VMamba v0, trained on ImageNet"
    ORIGINAL = "VM-UNet, trained with the original implementation"
    OURS = "VM-UNet of this plugin"


@dataclass(frozen=True)
class Checkpoint:
    """A file that was read and recognised."""

    file: Path
    sha256: str
    kind: Kind
    description: str
    container: str | None  # the key that the tensors were taken from; None for a bare state dict
    tensors: dict[str, Tensor]  # names as in the file, without prefixes
    provenance: dict  # what `weights import` wrote into the file; empty for others

    def places(self, name: str) -> list[str]:
        """Our names for a tensor."""
        return vmamba.places(name) if self.kind is Kind.VMAMBA else [rename(name)]


def open_checkpoint(file: str | Path, *, trust: bool = False, ema: bool = False) -> Checkpoint:
    """Read a checkpoint of VMamba v0, of the original VM-UNet or of ours.

    Args:
        trust: let `torch.load` build whatever objects the file asks for, which can run any code. nnU-Net's own
            checkpoints need it, because they hold more than tensors.
        ema: take VMamba's moving average (`model_ema`) instead of `model`.

    Raises:
        InputError: the file cannot be read, holds more than tensors, or is of another network.
    """
    file = Path(file)
    sha256 = compare_digest(file) if file.is_file() else ""  # no file: the next line says so
    content = _load(file, trust)
    if not isinstance(content, Mapping):
        raise InputError(f"{file} is no checkpoint: it holds a {type(content).__name__} instead of named tensors")
    container = _container(file, content, ema)
    named = content if container is None else content[container]
    tensors = {PREFIX.sub("", str(name)): value for name, value in named.items() if isinstance(value, Tensor)}
    tensors = {name: tensor for name, tensor in tensors.items() if name.rpartition(".")[2] not in COUNTERS}
    refuse_unreal(file, tensors)
    kind, description = _identify(file, tensors)
    return Checkpoint(file, sha256, kind, description, container, tensors, _provenance(content))


def _load(file: Path, trust: bool):
    try:
        with open(file, "rb") as opened:
            beginning = opened.read(2)
    except OSError as error:
        raise InputError(f"{file} cannot be read, check the path ({error.strerror})") from error
    if not beginning.startswith((ZIP, PICKLE)):
        what = "is empty" if not beginning else "is no PyTorch checkpoint"
        raise InputError(f"{file} {what}: give a file that torch.save wrote (.pth, .pt)")
    if beginning == ZIP:
        refuse_inflated(file)
    if not trust and (name := builds_bytes(file)):
        raise InputError(f"{file} {_more_than_tensors(name)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, about files that it then refuses: one line is enough
            return torch.load(file, map_location="cpu", weights_only=not trust)
    except Exception as error:  # a damaged file can fail anywhere, a trusted one in code of its own
        raise InputError(f"{file} {_why_it_failed(error)}") from error


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


def _provenance(content: Mapping) -> dict:
    """Empty if it is not as `weights import` writes it: its values are printed."""
    provenance = content.get("provenance")
    if not isinstance(provenance, dict):
        return {}
    values = [provenance.get(key) for key in PROVENANCE]
    return provenance if all(isinstance(value, str) and value.isprintable() for value in values) else {}


def _container(file: Path, content: Mapping, ema: bool) -> str | None:
    found = [key for key in CONTAINERS if isinstance(content.get(key), Mapping)]
    if not ema:
        return found[0] if found else None
    if EMA not in found:
        raise InputError(f"{file} holds no {EMA}: leave out --ema")
    return EMA


def _identify(file: Path, tensors: Mapping[str, Tensor]) -> tuple[Kind, str]:
    if not tensors:
        raise InputError(f"{file} holds no named tensors: it is no checkpoint of a network")
    if any("relative_position_bias_table" in name for name in tensors):
        raise InputError(f"{file} holds weights of a Swin Transformer, which has no place for them in VM-UNet")
    if vmamba.is_v2(tensors):
        raise InputError(
            f"{file} is VMamba of a later version (blocks with an MLP), another architecture: "
            "take a v0 file such as vssmsmall_dp03_ckpt_epoch_238.pth"
        )
    if vmamba.is_v0(tensors) or OURS in tensors:
        _refuse_misshapen(file, tensors)
    if OURS in tensors:
        return Kind.OURS, Kind.OURS.value
    if any(name.startswith(("layers_up.", "final_up.")) for name in tensors) and vmamba.is_v0(tensors):
        return Kind.ORIGINAL, Kind.ORIGINAL.value
    if vmamba.is_v0(tensors):
        return Kind.VMAMBA, vmamba.describe(tensors)
    raise InputError(
        f"{file} is of another network, neither VMamba v0 nor VM-UNet: its tensors begin with {next(iter(tensors))}"
    )


def _refuse_misshapen(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """What no version of these networks has, whatever its sizes."""
    for name, tensor in tensors.items():
        axes = 4 if name in PATCH_EMBEDDINGS else tensor.dim()
        if tensor.numel() == 0 or axes != tensor.dim() or axes == 0:
            raise InputError(f"{file} holds {name} of shape {tuple(tensor.shape)}: it is damaged, take another copy")
        if ".blocks." in name and not BLOCK.match(name):
            raise InputError(f"{file} has {name:.80}, which lies outside the four stages: take another checkpoint")
