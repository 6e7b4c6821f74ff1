"""A model folder as nnU-Net leaves it after a training, made from weights that were trained elsewhere."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from PIL import Image, ImageDraw

from ..errors import InputError
from ..files.atomic import atomic_folder
from ..files.nnunet import nnunet_folder
from ..plans import PAPER_PLANNER, PAPER_PLANS
from ..preprocessing import CT_WINDOW
from ..requirement import PAPER_PREPROCESSOR, requirement
from .checkpoint import Checkpoint, Kind
from .checkpoint_file import write
from .filling import LoadReport
from .target import CONFIGURATION, Dataset, Target

TRAINER = "nnUNetTrainerVMUNet_fp32"  # what the original computes in
CHECKPOINT = Path("fold_0", "checkpoint_final.pth")
PROGRESS = CHECKPOINT.with_name("progress.png")
SUMMARY = CHECKPOINT.with_name("validation") / "summary.json"
OF_AN_IMPORT = {
    "plans.json",
    "dataset.json",
    "dataset_fingerprint.json",
    "provenance.json",
    str(CHECKPOINT),
    str(PROGRESS),
    str(SUMMARY),
}


def planned_dataset(target: Target) -> tuple[Dataset, dict]:
    """The dataset that the model folder is for, and its plans; InputError where the target has none."""
    if target.dataset is None:
        raise InputError("--as-model needs --dataset, whose plans go into the model folder")
    if target.dataset.plans is None:
        raise InputError(f"--as-model needs plans of {target.dataset.name}: run nnUNetv2_plan_and_preprocess -c 2d")
    return target.dataset, target.dataset.plans


def refuse_unfit_for_prediction(checkpoint: Checkpoint) -> None:
    """Raise InputError where no model folder can be made of this, before anything long is done."""
    if checkpoint.kind in (Kind.VMAMBA, Kind.VMAMBA2):
        raise InputError(
            f"{checkpoint.source} is VMamba's, which cannot segment before it is trained: leave out "
            "--as-model, and train with -pretrained_weights"
        )
    if checkpoint.kind is Kind.OURS:
        raise InputError(
            f"{checkpoint.source} is this plugin's and has a model folder where it was trained: take that "
            "along with nnUNetv2_export_model_to_zip"
        )


def write_model_folder(
    target: Target, checkpoint: Checkpoint, report: LoadReport, provenance: dict, *, overwrite: bool
) -> tuple[Path, str]:
    """Write fold 0 of `target.dataset` into $nnUNet_results, complete or not at all.

    Returns:
        The folder, and one line on how its plans normalise images.

    Raises:
        InputError: the output layer does not fit, or a trained model lies there.
    """
    dataset, planned = planned_dataset(target)
    if report.missing:
        raise InputError(
            f"{checkpoint.source} has other classes than {dataset.name} ({target.num_classes} output channels): "
            "it cannot predict them; leave out --as-model, and train with -pretrained_weights"
        )
    plans, normalisation = (
        _plans_for(target, planned),
        "as planned; compare it with how the checkpoint's images were made",
    )
    if checkpoint.kind is Kind.ORIGINAL:
        plans, normalisation = as_the_original(plans, CONFIGURATION)
    folder = _model_folder(dataset)
    _refuse_trained(folder)
    with atomic_folder(folder, overwrite=overwrite) as partial:
        _write_json(partial / "plans.json", plans)
        _write_json(partial / "dataset.json", dataset.description.content)
        _write_json(partial / "provenance.json", provenance)
        fingerprint = dataset.folder / "dataset_fingerprint.json"
        if fingerprint.is_file():
            shutil.copy(fingerprint, partial)
        (partial / SUMMARY).parent.mkdir(parents=True)
        write(_checkpoint(plans, dataset, report, provenance), partial / CHECKPOINT)
        _write_what_the_export_asks_for(partial, Path(checkpoint.source).name)
    return folder, normalisation


def as_the_original(plans: dict, configuration: str) -> tuple[dict, str]:
    """Plans whose configuration normalises as the original trained, and one line on what remains different.

    The original subtracts a dataset's mean and divides by its standard deviation for ISIC, and then stretches every
    image to 0..255 by its own minimum and maximum, which undoes the former. nnU-Net has no scheme that does this over
    all channels together, but `PaperPreprocessor` does, and plans that name it stay as they are; in others the values
    as they are differ from it by the stretch alone.
    """
    plans = copy.deepcopy(plans)
    settings = plans["configurations"][configuration]
    if settings.get("preprocessor_name") == PAPER_PREPROCESSOR:
        return plans, f"the original's, by {PAPER_PREPROCESSOR}"
    schemes = settings["normalization_schemes"]
    if schemes == ["CTNormalization"]:
        low, high = CT_WINDOW
        plans["foreground_intensity_properties_per_channel"]["0"].update(
            percentile_00_5=low, percentile_99_5=high, mean=low, std=high - low
        )
        return plans, f"clipped to {low:g}..{high:g} HU and scaled to [0, 1], as the original does for Synapse"
    if len(schemes) == 3:
        settings["normalization_schemes"] = ["NoNormalization"] * 3
        settings["use_mask_for_norm"] = [False] * 3
        return plans, (
            "the stored values, 0 to 255 for photographs; the original also stretches each image to its own minimum "
            f"and maximum, as plans of {PAPER_PLANNER} do (give -pl {PAPER_PLANS})"
        )
    return plans, f"left as planned ({', '.join(schemes)}); compare it with how the checkpoint's images were made"


def _plans_for(target: Target, plans: dict) -> dict:
    """The plans with configuration 2d alone, whole, and with the target's network, as the trainer would save them."""
    settings = dict(PlansManager(plans).get_configuration(CONFIGURATION).configuration)
    settings["architecture"] = target.architecture
    return {**plans, "configurations": {CONFIGURATION: settings}}


def _model_folder(dataset: Dataset) -> Path:
    results = nnunet_folder("nnUNet_results")
    if results is None:
        raise InputError("nnUNet_results is not set: export nnUNet_results=FOLDER, where nnUNetv2_predict looks")
    return Path(results, dataset.name, f"{TRAINER}__{dataset.plans_name}__{CONFIGURATION}")


def _refuse_trained(folder: Path) -> None:
    """A training of days must not go for an import, --overwrite or not."""
    there = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    others = sorted(there - OF_AN_IMPORT)
    if others or (there and "provenance.json" not in there):
        raise InputError(
            f"{folder} holds a training ({next(iter(others), CHECKPOINT)}): move it away, or give copied "
            "plans of another name with -pl"
        )


def _checkpoint(plans: dict, dataset: Dataset, report: LoadReport, provenance: dict) -> dict:
    """What nnUNetv2_predict reads. There is no optimiser in it, so that no training can go on from it."""
    return {
        "network_weights": report.state_dict,
        "trainer_name": TRAINER,
        "init_args": {
            "plans": plans,
            "configuration": CONFIGURATION,
            "fold": 0,
            "dataset_json": dataset.description.content,
            "requires": requirement(TRAINER, plans),
        },
        "inference_allowed_mirroring_axes": None,  # the original predicts without mirroring
        "provenance": provenance,
    }


def _write_what_the_export_asks_for(folder: Path, source: str) -> None:
    """nnUNetv2_export_model_to_zip fails without a training's curves and scores. Here they say that there are none."""
    _write_json(folder / SUMMARY, {"metric_per_case": [], "mean": {}, "foreground_mean": {}})
    picture = Image.new("L", (640, 40), "white")
    ImageDraw.Draw(picture).text((10, 14), f"imported from {source}, not trained here")
    picture.save(folder / PROGRESS)


def _write_json(file: Path, content: dict) -> None:
    file.write_text(json.dumps(content, indent=4) + "\n")
