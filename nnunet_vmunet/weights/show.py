"""`nnunet-vmunet weights show`: what a file is, and whether and how it would load."""

from __future__ import annotations

from pathlib import Path

from ..architecture import paper_architecture
from ..models import VMUNet
from .account import table
from .adapt import OUTPUT_LAYER, PATCH_EMBEDDING
from .checkpoint import Checkpoint, open_checkpoint
from .fill import fill
from .fingerprint import fingerprint


def show_weights(file: str | Path, *, trust: bool = False, ema: bool = False) -> None:
    """Print what the file is and what it would fill of the paper's network; nothing is written.

    Raises:
        InputError: as `open_checkpoint` and `fill`.
    """
    checkpoint = open_checkpoint(file, trust=trust, ema=ema)
    print("\n".join(_facts(checkpoint)))
    filled = fill(_network(checkpoint), checkpoint)
    print(f"In the paper's VM-UNet it fills:\n{table(filled)}")
    print(
        f"Fingerprint in the log of a training: {fingerprint(filled.state_dict)}"
        if not filled.initialised
        else "Would load: nnunet-vmunet weights import"
    )


def _facts(checkpoint: Checkpoint) -> list[str]:
    parameters = sum(tensor.numel() for tensor in checkpoint.tensors.values())
    where = f" in {checkpoint.container!r}" if checkpoint.container else ""
    facts = [
        f"{checkpoint.file}: {checkpoint.description}",
        f"SHA-256 {checkpoint.sha256}",
        f"{len(checkpoint.tensors)} tensors{where}, {parameters:,} parameters",
    ]
    if checkpoint.provenance:
        source = checkpoint.provenance
        facts.append(f"Imported from {source['source']} ({source['kind']}), SHA-256 {source['sha256']}")
    return facts


def _network(checkpoint: Checkpoint) -> VMUNet:
    """The paper's, with the file's input and output channels; two heads where it has none of its own."""
    channels, classes = 3, 2
    for source, tensor in checkpoint.tensors.items():
        places = checkpoint.places(source)
        if PATCH_EMBEDDING in places:
            channels = tensor.shape[1]
        if places[0] == f"{OUTPUT_LAYER}weight":
            classes = len(tensor)
    return VMUNet(channels, classes, **paper_architecture()["arch_kwargs"])
