"""`nnunet-vmunet weights import`: from a checkpoint to a file for nnU-Net's -pretrained_weights."""

from __future__ import annotations

from pathlib import Path

from .. import __version__
from ..errors import InputError
from ..files.atomic import atomic_file
from .account import table
from .checkpoint import Checkpoint, Kind, open_checkpoint
from .fill import Filled, fill
from .fingerprint import fingerprint
from .model_folder import planned_dataset, refuse_unfit_for_prediction, write_model_folder
from .saving import save
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
) -> Filled:
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
    filled = fill(target.network(seed), checkpoint)
    provenance = _provenance(checkpoint, filled, seed)
    with atomic_file(output) as partial:
        save({"network_weights": filled.state_dict, "provenance": provenance}, partial)
    print(_account(checkpoint, filled))
    print(
        f"{output} written, fingerprint {fingerprint(filled.state_dict)}. Next:\n"
        f"  nnUNetv2_train {_dataset(target)} 2d 0 -tr nnUNetTrainerVMUNet -pretrained_weights {output}"
    )
    return filled


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
    filled = fill(target.network(seed=0), checkpoint)
    provenance = _provenance(checkpoint, filled, seed=0)
    folder, normalisation = write_model_folder(target, checkpoint, filled, provenance, overwrite=overwrite)
    height, width = plans["configurations"]["2d"]["patch_size"]
    print(_account(checkpoint, filled))
    print(
        f"{folder} written.\n"
        f"Normalisation: {normalisation}.\n"
        f"Size: the plans' windows are {height}x{width}; the original resizes ISIC to 256x256 and Synapse to 224x224.\n"
        f"Next:\n  nnUNetv2_predict -d {dataset.name} -c 2d -f 0 -tr nnUNetTrainerVMUNet "
        f"-p {dataset.plans_name} -i FOLDER -o FOLDER"
    )
    return folder


def _provenance(checkpoint: Checkpoint, filled: Filled, seed: int) -> dict:
    """Plain values only, so that torch.load(weights_only=True) reads them."""
    return {
        "source": checkpoint.file.name,
        "sha256": checkpoint.sha256,
        "kind": checkpoint.description,
        "container": checkpoint.container,
        "mapping_version": MAPPING_VERSION,
        "nnunet_vmunet": __version__,
        "seed": seed,
        "loaded": filled.loaded,
        "adapted": filled.adapted,
        "initialised": filled.initialised,
        "left_over": filled.left_over,
        "earlier": checkpoint.provenance,
    }


def _account(checkpoint: Checkpoint, filled: Filled) -> str:
    lines = [f"{checkpoint.file}: {checkpoint.description}", f"SHA-256 {checkpoint.sha256}", table(filled)]
    for how in dict.fromkeys(filled.adapted.values()):
        lines.append(f"Adapted: {how}")
    if filled.left_over:
        what = "blocks beyond VM-UNet's and the classifier" if checkpoint.kind is Kind.VMAMBA else "the output layer"
        lines.append(f"Not used: {len(filled.left_over)} tensors of the file, {what}")
    return "\n".join(lines)


def _dataset(target: Target) -> str:
    return target.dataset.name if target.dataset else "DATASET"


def _refuse_occupied(output: Path, overwrite: bool) -> None:
    if output.is_dir():
        raise InputError(f"{output} is a folder: give -o the name of a file")
    if output.exists() and not overwrite:
        raise InputError(f"{output} exists: give --overwrite to replace it")
