"""`nnunet-vmunet weights import` and `show`: a checkpoint becomes a file for -pretrained_weights, or a model folder."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from .. import __version__
from ..errors import InputError
from ..files.atomic import atomic_file
from ..models.network import UShapedNetwork
from ..plans import NETWORKS, PAPERS, architecture_of, build_network
from .checkpoint import Checkpoint, Kind, fingerprint, open_checkpoint
from .checkpoint_file import write
from .filling import LoadReport, fill
from .model_folder import TRAINER, planned_dataset, refuse_unfit_for_prediction, write_model_folder
from .names import OUTPUT_LAYER, PATCH_EMBEDDING, depths_of_vmamba
from .target import Target

MAPPING_VERSION = 1  # raised when the same file would fill other tensors, or otherwise


def import_weights(
    file: str | Path,
    output: str | Path,
    target: Target,
    *,
    seed: int = 0,
    ema: bool = False,
    trust: bool = False,
    overwrite: bool = False,
) -> LoadReport:
    """Write `output` for `nnUNetv2_train … -pretrained_weights`, and print what is in it.

    The tensors that `file` lacks are initialised with `seed`. nnU-Net initialises the output layer itself, whatever
    the file holds.

    Args:
        file: of VMamba (v0, or v2 for the network that is built on it; B where the plans have its width), of the
            network as its authors published it, or of this plugin.
        output: a dictionary of `network_weights` and `provenance`, tensors and plain values only.
        target: the network to be trained.
        ema, trust: see `open_checkpoint`.

    Raises:
        InputError: the file cannot be used, or `output` exists and `overwrite` is not given.
    """
    output = Path(output)
    _refuse_occupied(output, overwrite)
    checkpoint = open_checkpoint(file, trust=trust, ema=ema)
    report = fill(target.network(seed), checkpoint)
    provenance = _provenance(checkpoint, report, seed)
    with atomic_file(output) as partial:
        write({"network_weights": report.state_dict, "provenance": provenance}, partial)
    print(_account(checkpoint, report))
    print(
        f"{output} written, fingerprint {fingerprint(report.state_dict)}. Next:\n"
        f"  nnUNetv2_train {_dataset(target)} 2d 0 -tr {target.trainer} -pretrained_weights {output}"
    )
    return report


def import_model(
    file: str | Path, target: Target, *, ema: bool = False, trust: bool = False, overwrite: bool = False
) -> Path:
    """Make the model folder of `target.dataset` from a checkpoint of the network's original, and print what is in it.

    Returns:
        The folder, in $nnUNet_results.

    Raises:
        InputError: the file cannot be used, its classes are not the dataset's, or a training lies there.
    """
    dataset, plans = planned_dataset(target)
    checkpoint = open_checkpoint(file, trust=trust, ema=ema)
    refuse_unfit_for_prediction(checkpoint)
    report = fill(target.network(seed=0), checkpoint)
    provenance = _provenance(checkpoint, report, seed=0)
    folder, normalisation = write_model_folder(target, checkpoint, report, provenance, overwrite=overwrite)
    height, width = plans["configurations"]["2d"]["patch_size"]
    print(_account(checkpoint, report))
    of_original = "; the original resizes ISIC to 256x256 and Synapse to 224x224"
    print(
        f"{folder} written.\n"
        f"Normalisation: {normalisation}.\n"
        f"Size: the plans' windows are {height}x{width}{of_original if checkpoint.kind is Kind.ORIGINAL else ''}.\n"
        f"Next:\n  nnUNetv2_predict -d {dataset.name} -c 2d -f 0 -tr {TRAINER} "
        f"-p {dataset.plans_name} -i FOLDER -o FOLDER"
    )
    return folder


def show_weights(file: str | Path, *, trust: bool = False, ema: bool = False) -> None:
    """Print what the file is and what it would fill of its network, VMamba of the paper's; nothing is written.

    Raises:
        InputError: as `open_checkpoint` and `fill`.
    """
    checkpoint = open_checkpoint(file, trust=trust, ema=ema)
    print("\n".join(_facts(checkpoint)))
    network = _network_of(checkpoint)
    report = fill(network, checkpoint)
    whose = "the paper's VM-UNet" if checkpoint.kind is Kind.VMAMBA else network.title
    print("\n".join([f"In {whose} it fills:", report.table(), *_depths(checkpoint, report)]))
    print(
        f"Fingerprint in the log of a training: {fingerprint(report.state_dict)}"
        if not report.missing
        else "Would load: nnunet-vmunet weights import"
    )


def _provenance(checkpoint: Checkpoint, report: LoadReport, seed: int) -> dict:
    """Plain values only, so that torch.load(weights_only=True) reads them."""
    return {
        "source": Path(checkpoint.source).name,
        "sha256": checkpoint.sha256,
        "kind": checkpoint.description,
        "container": checkpoint.container,
        "mapping_version": MAPPING_VERSION,
        "nnunet_vmunet": __version__,
        "seed": seed,
        "loaded": report.loaded,
        "adapted": report.adapted,
        "initialised": report.missing,
        "left_over": list(report.left_over),
        "earlier": checkpoint.provenance,
    }


def _account(checkpoint: Checkpoint, report: LoadReport) -> str:
    lines = [*_facts(checkpoint), report.table(), *_depths(checkpoint, report)]
    for how in dict.fromkeys(report.adapted.values()):
        lines.append(f"Adapted: {how}")
    if report.left_over:
        is_vmamba = checkpoint.kind in (Kind.VMAMBA, Kind.VMAMBA2)
        what = "blocks beyond the network's and the classifier" if is_vmamba else "the output layer"
        lines.append(f"Not used: {len(report.left_over)} tensors of the file, {what}")
    return "\n".join(lines)


def _dataset(target: Target) -> str:
    return target.dataset.name if target.dataset else "DATASET"


def _refuse_occupied(output: Path, overwrite: bool) -> None:
    if output.is_dir():
        raise InputError(f"{output} is a folder: give -o the name of a file")
    if output.exists() and not overwrite:
        raise InputError(f"{output} exists: give --overwrite to replace it")


def _facts(checkpoint: Checkpoint) -> list[str]:
    parameters = sum(tensor.numel() for tensor in checkpoint.tensors.values())
    where = f" in {checkpoint.container!r}" if checkpoint.container else ""
    facts = [
        f"{checkpoint.source}: {checkpoint.description}",
        f"SHA-256 {checkpoint.sha256}",
        f"{len(checkpoint.tensors)} tensors{where}, {parameters:,} parameters",
    ]
    if checkpoint.provenance:
        source = checkpoint.provenance
        facts.append(f"Imported from {source['source']} ({source['kind']}), SHA-256 {source['sha256']}")
    if checkpoint.requirement:
        needed = checkpoint.requirement
        facts.append(f"Saved by nnunet-vmunet {needed['version']}, predicts with -tr {needed['trainer']}")
    return facts


def _depths(checkpoint: Checkpoint, report: LoadReport) -> list[str]:
    """Which of VMamba's blocks are used, in a line; none for other files."""
    if checkpoint.kind not in (Kind.VMAMBA, Kind.VMAMBA2):
        return []
    held = depths_of_vmamba(checkpoint.tensors)
    used = depths_of_vmamba(report.loaded.values())
    line = f"Blocks of the file's stages: {_listed(held)}; used: {_listed(used)}"
    fitting = [name for name, network in NETWORKS.items() if network.sizes.get("depths") == list(held)]
    if used == held:
        return [line]
    return [f"{line}. All are used with --network {fitting[0]}" if fitting else line]


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def _network_of(checkpoint: Checkpoint) -> UShapedNetwork:
    """The one that the file is of, with its sizes; for VMamba that which is built on it, as published.

    Where the file has no output layer, it gets two heads.
    """
    name = PAPERS if checkpoint.kind is Kind.VMAMBA else max(NETWORKS, key=lambda name: _likeness(checkpoint, name))
    architecture = architecture_of(name)
    tensors = _placed(checkpoint, _sketch(name))
    sizes = architecture["arch_kwargs"]
    if checkpoint.kind not in (Kind.VMAMBA, Kind.VMAMBA2):  # which may be deeper
        for key, half in (("depths", "encoder"), ("depths_decoder", "decoder")):
            if key in sizes:
                sizes[key] = _blocks(tensors, half)
        norms = (tensors.get(f"encoder.stages.{i}.blocks.0.norm.weight") for i in range(len(sizes["depths"])))
        sizes["dims"] = [len(norm) for norm in norms if norm is not None]
        states = [tensor.shape[-1] for name, tensor in tensors.items() if name.endswith("A_logs")]
        sizes["d_state"] = states[-1]  # the decoder's
    channels = next((tensor.shape[1] for name, tensor in tensors.items() if PATCH_EMBEDDING.fullmatch(name)), 3)
    heads = [len(tensor) for name, tensor in tensors.items() if name.startswith(OUTPUT_LAYER)]
    return build_network(architecture, channels, heads[0] if heads else 2)


def _likeness(checkpoint: Checkpoint, name: str) -> float:
    """The share of tensors that file and network have in common, of however many stages and blocks, from 0 to 1."""
    sketch = _sketch(name)
    theirs, ours = (
        {re.sub(r"\.(stages|blocks|seg_layers)\.\d+(?=\.)", r".\1", tensor) for tensor in tensors}
        for tensors in (_placed(checkpoint, sketch), sketch.state_dict())
    )
    return len(theirs & ours) / len(theirs | ours)


def _sketch(name: str) -> UShapedNetwork:
    """One of NETWORKS without values."""
    with torch.device("meta"):
        return build_network(architecture_of(name), 3, 2)


def _placed(checkpoint: Checkpoint, network: UShapedNetwork) -> dict[str, Tensor]:
    """The file's tensors by our names."""
    return {place: tensor for name, tensor in checkpoint.tensors.items() for place in checkpoint.places(name, network)}


def _blocks(names: Iterable[str], half: str) -> list[int]:
    """The blocks of each stage of encoder or decoder."""
    found = [re.match(rf"{half}\.stages\.(\d+)\.blocks\.(\d+)\.", name) for name in names]
    blocks = {(int(block[1]), int(block[2])) for block in found if block}
    return [sum(stage == i for stage, _ in blocks) for i in range(1 + max(stage for stage, _ in blocks))]
