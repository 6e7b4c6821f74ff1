"""Which weights a training starts from: a line for its log, and a refusal of files that are not nnU-Net's."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ..errors import InputError, size_text
from ..plans import NETWORKS, PAPERS
from ..weights.checkpoint import fingerprint, open_checkpoint
from ..weights.checkpoint_file import read

OPTION = "-pretrained_weights"  # nnU-Net's
SKIPPED = ".seg_layers."  # what nnU-Net does not take from the file


def advice(network: str) -> str:
    """What to log where none of `plans.NETWORKS`' weights were given."""
    name, option = NETWORKS[network].pretrained, "" if network == PAPERS else f" --network {network}"
    why = "Its authors start from weights trained on ImageNet"
    if network == PAPERS:
        why = "The paper starts from VMamba-S, and its ablation found that stronger pretrained weights segment better"
    return (
        f"Starting from random weights. {why}: run `nnunet-vmunet weights download {name}`, then `nnunet-vmunet "
        f"weights import FILE -o weights.pth --dataset ID{option}`, and train with -pretrained_weights weights.pth"
    )


def describe_start(network: str, initialised: str, state_dict: Mapping[str, Tensor]) -> str:
    """What to log.

    Args:
        network: one of `plans.NETWORKS`.
        initialised: the fingerprint of the network after its initialisation.
        state_dict: what the training starts from.
    """
    current = fingerprint(state_dict)
    if current == initialised:
        return advice(network)
    return f"Starting from given weights, fingerprint {current}{_origin(current)}"


def refuse_foreign_weights(network: str, state_dict: Mapping[str, Tensor], dataset: str) -> None:
    """Raise InputError if the command line's file is not what nnU-Net is about to load into this network.

    Args:
        network: one of `plans.NETWORKS`.
        state_dict: of the network.
        dataset: its name.
    """
    file = typed_file()
    if file is None:
        return
    if not file.is_file():
        raise InputError(f"{OPTION} {file} is no file: check the path")
    option = "" if network == PAPERS else f" --network {network}"
    way_out = f"nnunet-vmunet weights import {file} -o weights.pth --dataset {dataset}{option} makes one that does"
    content = read(file, trust=True)  # as nnU-Net is going to
    weights = content.get("network_weights") if isinstance(content, Mapping) else None
    if not isinstance(weights, Mapping):
        raise InputError(f"{OPTION} {file} is no checkpoint of nnU-Net and does not fit: {way_out}")
    for name, values in state_dict.items():
        if SKIPPED in name:
            continue
        if name not in weights:
            raise InputError(f"{OPTION} {file} does not fit, it has no {name}: {way_out}")
        if weights[name].shape != values.shape:
            shapes = f"{size_text(weights[name].shape)} where the network has {size_text(values.shape)}"
            raise InputError(f"{OPTION} {file} does not fit, its {name} is {shapes}: {way_out}")


def typed_file() -> Path | None:
    """The command line's -pretrained_weights, which argparse lets users shorten, and join to its value by =."""
    # nnU-Net loads the file without telling the trainer; the ranks of a distributed training inherit its arguments.
    for i, argument in enumerate(sys.argv):
        option, equals, value = argument.partition("=")
        if len(option) > len("-p") and OPTION.startswith(option.replace("--", "-", 1)):
            typed = [value] if equals else sys.argv[i + 1 : i + 2]
            return Path(typed[0]) if typed else None
    return None


def _origin(current: str) -> str:
    """Where they came from, if the command line's file holds these very weights."""
    file = typed_file()
    if file is None:
        return ""
    try:
        content = open_checkpoint(file)
        if fingerprint(content.tensors) != current:
            return ""
        provenance = content.provenance
        imported = f", imported from {provenance['source']} (SHA-256 {provenance['sha256']})" if provenance else ""
    except Exception:  # nnU-Net has loaded it: whatever it is, a log line must not end the training
        return f", as {OPTION} {file} gave them"
    return f", from {file}{imported}"
