"""The one loader: find the network's tensors in what a file holds, and tell whose they are."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from .checkpoint_file import checked_sha256, read, refuse_unreal
from .names import (
    PATCH_EMBEDDING,
    PREFIX,
    VMAMBA_PATCH_EMBEDDINGS,
    Kind,
    describe_vmamba,
    is_swin_umamba,
    is_vmamba_v0,
    is_vmamba_v2,
    places,
)

# What training scripts wrap a state dict in; of several the first is taken. The paper's authors took VMamba's `model`.
CONTAINERS = ("network_weights", "model_state_dict", "state_dict", "model", "model_ema")
EMA = "model_ema"
COUNTERS = ("total_ops", "total_params")  # thop leaves them in checkpoints of networks whose operations it counted
OURS = "encoder.stages.0.blocks.0.ss2d.x_proj_weight"
BLOCK = re.compile(r"((vssm_encoder\.)?layers|layers_up|(en|de)coder\.stages)\.[0-3]\.blocks\.\d{1,3}\.")
PROVENANCE = ("source", "kind", "sha256")  # what of it is read
REQUIREMENT = ("version", "trainer")
NOT_IN_FINGERPRINT = ".seg_layers."  # nnU-Net's -pretrained_weights skips these: a training's are not the file's


@dataclass(frozen=True)
class Checkpoint:
    """A network's tensors that were recognised."""

    source: Path | str  # the file, or what messages call the state dict
    sha256: str  # of the file; empty for a state dict
    kind: Kind
    description: str
    container: str | None  # the key that the tensors were taken from; None for a bare state dict
    tensors: dict[str, Tensor]  # names as in the file, without prefixes
    provenance: dict  # what `weights import` wrote into the file; empty for others
    requirement: dict  # what our trainers and `--as-model` wrote into it; empty for others

    def places(self, name: str, network: nn.Module) -> list[str]:
        """Our names for a tensor in this network, which need not have them all."""
        return places(name, self.kind, network)


def open_checkpoint(file: str | Path, *, trust: bool = False, ema: bool = False) -> Checkpoint:
    """Read a checkpoint of VMamba, of a network of the family as its authors published it, or of ours.

    Args:
        trust: let `torch.load` build whatever objects the file asks for, which can run any code.
        ema: take VMamba's moving average (`model_ema`) instead of `model`.

    Raises:
        InputError: the file cannot be read, holds more than tensors, or is of another network.
    """
    file = Path(file)
    sha256 = checked_sha256(file) if file.is_file() else ""  # no file: the next line says so
    content = read(file, trust=trust)
    if not isinstance(content, Mapping):
        raise InputError(f"{file} is no checkpoint: it holds a {type(content).__name__} instead of named tensors")
    container, tensors = _tensors(file, content, ema)
    refuse_unreal(file, tensors)
    return _recognised(file, sha256, content, container, tensors)


def recognise(state_dict: Mapping[str, Any]) -> Checkpoint:
    """The same for what `torch.load` returned. An InputError says if it is of another network."""
    container, tensors = _tensors("the state dict", state_dict, ema=False)
    return _recognised("the state dict", "", state_dict, container, tensors)


def fingerprint(state_dict: Mapping[str, Tensor]) -> str:
    """A name by which a log and a file are seen to mean the same weights, whatever their output layer.

    12 hexadecimal digits of the SHA-256 of names and values.
    """
    digest = hashlib.sha256()
    for name in sorted(name for name in state_dict if NOT_IN_FINGERPRINT not in name):
        digest.update(name.encode())
        values = state_dict[name].detach().to("cpu", torch.float32).contiguous()
        digest.update(values.numpy().data)
    return digest.hexdigest()[:12]


def _tensors(source: Path | str, content: Mapping, ema: bool) -> tuple[str | None, dict[str, Tensor]]:
    """The container, and the tensors in it by their names without prefixes."""
    found = [key for key in CONTAINERS if isinstance(content.get(key), Mapping)]
    if ema and EMA not in found:
        raise InputError(f"{source} holds no {EMA}: leave out --ema")
    container = EMA if ema else found[0] if found else None
    named = content if container is None else content[container]
    tensors = {re.sub(PREFIX, "", str(name)): value for name, value in named.items() if isinstance(value, Tensor)}
    return container, {name: value for name, value in tensors.items() if name.rpartition(".")[2] not in COUNTERS}


def _recognised(
    source: Path | str, sha256: str, content: Mapping, container: str | None, tensors: dict[str, Tensor]
) -> Checkpoint:
    kind, description = _identify(source, tensors)
    init_args = content.get("init_args")
    requires = init_args.get("requires") if isinstance(init_args, dict) else None
    provenance = _printable(content.get("provenance"), PROVENANCE)
    return Checkpoint(
        source, sha256, kind, description, container, tensors, provenance, _printable(requires, REQUIREMENT)
    )


def _printable(entry: Any, keys: tuple[str, ...]) -> dict:
    """The entry, or an empty one if it is not as we write it: the values of these keys are printed."""
    if not isinstance(entry, dict):
        return {}
    values = [entry.get(key) for key in keys]
    return entry if all(isinstance(value, str) and value.isprintable() for value in values) else {}


def _identify(source: Path | str, tensors: Mapping[str, Tensor]) -> tuple[Kind, str]:
    if not tensors:
        raise InputError(f"{source} holds no named tensors: it is no checkpoint of a network")
    if any("relative_position_bias_table" in name for name in tensors):
        raise InputError(f"{source} holds weights of a Swin Transformer, which has no place for them in VM-UNet")
    kind = _kind(tensors)
    if kind is None:
        raise InputError(
            f"{source} is of another network, neither VMamba nor one of this plugin's: its tensors begin with "
            f"{next(iter(tensors))}"
        )
    _refuse_misshapen(source, tensors)
    if kind is Kind.VMAMBA:
        return kind, describe_vmamba(tensors)
    return kind, describe_vmamba(tensors, "v2") if kind is Kind.VMAMBA2 else kind.value


def _kind(tensors: Mapping[str, Tensor]) -> Kind | None:
    """By the names of the tensors; None for another network's."""
    if is_vmamba_v2(tensors):
        return Kind.VMAMBA2
    if is_swin_umamba(tensors):
        return Kind.SWIN_UMAMBA
    if OURS in tensors:
        return Kind.OURS
    if not is_vmamba_v0(tensors):
        return None
    if any(name.startswith("concat_back_dim.") for name in tensors):
        return Kind.MAMBA_UNET
    return Kind.ORIGINAL if any(name.startswith(("layers_up.", "final_up.")) for name in tensors) else Kind.VMAMBA


def _refuse_misshapen(source: Path | str, tensors: Mapping[str, Tensor]) -> None:
    """Raise InputError for what no version of these networks has, whatever its sizes."""
    for name, tensor in tensors.items():
        is_embedding = name in VMAMBA_PATCH_EMBEDDINGS or PATCH_EMBEDDING.fullmatch(name)
        axes = 4 if is_embedding else tensor.dim()
        if tensor.numel() == 0 or axes != tensor.dim() or axes == 0:
            raise InputError(f"{source} holds {name} of shape {tuple(tensor.shape)}: it is damaged, take another copy")
        if ".blocks." in name and not BLOCK.match(name):
            raise InputError(f"{source} has {name:.80}, which lies outside the four stages: take another checkpoint")
