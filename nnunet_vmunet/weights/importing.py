"""`nnunet-vmunet weights import` and `show`: a checkpoint becomes a file for -pretrained_weights, or a model folder."""

from __future__ import annotations

from pathlib import Path

from .. import __version__
from ..errors import InputError
from ..files.atomic import atomic_file
from ..models import VMUNet
from ..plans import paper_architecture
from .checkpoint import Checkpoint, Kind, fingerprint, open_checkpoint
from .checkpoint_file import write
from .filling import LoadReport, fill
from .model_folder import TRAINER, planned_dataset, refuse_unfit_for_prediction, write_model_folder
from .names import OUTPUT_LAYER, PATCH_EMBEDDING
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
        file: of VMamba v0 (T, S; B where the plans have its width), of the original VM-UNet, or of this plugin.
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
        f"  nnUNetv2_train {_dataset(target)} 2d 0 -tr nnUNetTrainerVMUNet -pretrained_weights {output}"
    )
    return report


def import_model(
    file: str | Path, target: Target, *, ema: bool = False, trust: bool = False, overwrite: bool = False
) -> Path:
    """Make the model folder of `target.dataset` from a checkpoint of the original VM-UNet, and print what is in it.

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
    print(
        f"{folder} written.\n"
        f"Normalisation: {normalisation}.\n"
        f"Size: the plans' windows are {height}x{width}; the original resizes ISIC to 256x256 and Synapse to 224x224.\n"
        f"Next:\n  nnUNetv2_predict -d {dataset.name} -c 2d -f 0 -tr {TRAINER} "
        f"-p {dataset.plans_name} -i FOLDER -o FOLDER"
    )
    return folder


def show_weights(file: str | Path, *, trust: bool = False, ema: bool = False) -> None:
    """Print what the file is and what it would fill of the paper's network; nothing is written.

    Raises:
        InputError: as `open_checkpoint` and `fill`.
    """
    checkpoint = open_checkpoint(file, trust=trust, ema=ema)
    print("\n".join(_facts(checkpoint)))
    report = fill(_paper_network(checkpoint), checkpoint)
    print(f"In the paper's VM-UNet it fills:\n{report.table()}")
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
    lines = [*_facts(checkpoint), report.table()]
    for how in dict.fromkeys(report.adapted.values()):
        lines.append(f"Adapted: {how}")
    if report.left_over:
        what = "blocks beyond VM-UNet's and the classifier" if checkpoint.kind is Kind.VMAMBA else "the output layer"
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


def _paper_network(checkpoint: Checkpoint) -> VMUNet:
    """The paper's, with the file's input and output channels; two heads where it has none of its own."""
    channels, classes = 3, 2
    for source, tensor in checkpoint.tensors.items():
        places = checkpoint.places(source)
        if PATCH_EMBEDDING in places:
            channels = tensor.shape[1]
        if places[0] == f"{OUTPUT_LAYER}weight":
            classes = len(tensor)
    return VMUNet(channels, classes, **paper_architecture()["arch_kwargs"])
