"""One line for the training log: which weights a training starts from."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ..weights.checkpoint import fingerprint, open_checkpoint

ADVICE = (
    "Starting from random weights. The paper starts from VMamba-S, and its ablation found that stronger pretrained "
    "weights segment better: run `nnunet-vmunet weights download vmamba-s`, then `nnunet-vmunet weights import FILE "
    "-o weights.pth --dataset ID`, and train with -pretrained_weights weights.pth"
)


def describe_start(initialised: str, state_dict: Mapping[str, Tensor]) -> str:
    """What to log.

    Args:
        initialised: the fingerprint of the network after its initialisation.
        state_dict: what the training starts from.
    """
    current = fingerprint(state_dict)
    if current == initialised:
        return ADVICE
    return f"Starting from given weights, fingerprint {current}{_origin(current)}"


def _origin(current: str) -> str:
    """Where they came from, if the command line's file holds these very weights."""
    # nnU-Net loads the file without telling the trainer; the ranks of a distributed training inherit its arguments.
    arguments = dict(zip(sys.argv, sys.argv[1:], strict=False))
    file = arguments.get("-pretrained_weights")
    if file is None:
        return ""
    try:
        content = open_checkpoint(file)
        if fingerprint(content.tensors) != current:
            return ""
        provenance = content.provenance
        imported = f", imported from {provenance['source']} (SHA-256 {provenance['sha256']})" if provenance else ""
    except Exception:  # nnU-Net has loaded it: whatever it is, a log line must not end the training
        return f", as -pretrained_weights {file} gave them"
    return f", from {Path(file)}{imported}"
