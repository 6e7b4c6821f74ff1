"""nnU-Net's own commands, as a user types them, on real MR volumes."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]

DATASET = "Dataset904_Hippocampus"
TRAINER = "nnUNetTrainerVMUNet_5epochs"
CONFIGURATION = "2d_b8"  # batches of 8: four times the steps of 32, for the same images
LABELS = {"background": 0, "anterior": 1, "posterior": 2}
TRAINING_CASES, TEST_CASES = 20, 6


def lay_out_raw_dataset(source: Path, raw: Path) -> tuple[list[str], list[str]]:
    """The volumes as nnU-Net wants them; returns the training and the test cases."""
    cases = sorted(file.name.removesuffix(".nii.gz") for file in (source / "images").iterdir())
    cases = cases[: TRAINING_CASES + TEST_CASES]
    for folder in ("imagesTr", "labelsTr", "imagesTs"):
        (raw / folder).mkdir(parents=True)
    training, test = cases[:TRAINING_CASES], cases[TRAINING_CASES:]
    for case in cases:
        images = raw / ("imagesTr" if case in training else "imagesTs")
        shutil.copy(source / "images" / f"{case}.nii.gz", images / f"{case}_0000.nii.gz")
    for case in training:
        shutil.copy(source / "labels" / f"{case}.nii.gz", raw / "labelsTr")
    description = {
        "channel_names": {"0": "MRI"},
        "labels": LABELS,
        "numTraining": len(training),
        "file_ending": ".nii.gz",
    }
    (raw / "dataset.json").write_text(json.dumps(description))
    return training, test


def set_batch_size(plans_file: Path) -> None:
    """As the README says: a configuration that inherits."""
    plans = json.loads(plans_file.read_text())
    plans["configurations"][CONFIGURATION] = {"inherits_from": "2d", "batch_size": 8}
    plans_file.write_text(json.dumps(plans))


def mean_dice(predictions: Path, references: Path, cases: list[str]) -> float:
    """Over cases and foreground labels."""
    scores = []
    for case in cases:
        ours, truth = (
            sitk.GetArrayFromImage(sitk.ReadImage(folder / f"{case}.nii.gz")) for folder in (predictions, references)
        )
        for label in (1, 2):
            a, b = ours == label, truth == label
            scores.append(2 * (a & b).sum() / max(1, a.sum() + b.sum()))
    return float(np.mean(scores))


def test_hippocampus_from_raw_volumes_to_predictions(nnunet, shared):
    source = shared / "data" / "msd_hippocampus"
    raw = nnunet.raw / DATASET
    training, test = lay_out_raw_dataset(source, raw)

    nnunet.run(
        "nnUNetv2_plan_and_preprocess", "-d", "904", "-c", "2d", "--verify_dataset_integrity", "-npfp", "2", "-np", "2"
    )
    set_batch_size(nnunet.preprocessed / DATASET / "nnUNetPlans.json")
    fold = nnunet.results / DATASET / f"{TRAINER}__nnUNetPlans__{CONFIGURATION}" / "fold_0"
    nnunet.run("nnUNetv2_train", "904", CONFIGURATION, "0", "-tr", TRAINER, *nnunet.device)

    # Plans saved with the model name our network, and the user's batch size.
    saved = json.loads((fold.parent / "plans.json").read_text())["configurations"][CONFIGURATION]
    assert saved["architecture"]["network_class_name"] == "nnunet_vmunet.models.VMUNet"
    assert saved["batch_size"] == 8

    validated = {file.name.removesuffix(".nii.gz") for file in (fold / "validation").glob("*.nii.gz")}
    split = json.loads((nnunet.preprocessed / DATASET / "splits_final.json").read_text())[0]
    assert validated == set(split["val"]) < set(training)

    predictions = nnunet.folder / "predictions"
    model = ("-d", "904", "-c", CONFIGURATION, "-f", "0", "-tr", TRAINER, "--disable_tta", "-npp", "1", "-nps", "1")
    nnunet.run("nnUNetv2_predict", "-i", raw / "imagesTs", "-o", predictions, *model, *nnunet.device)
    assert sorted(f.name for f in predictions.glob("*.nii.gz")) == [f"{case}.nii.gz" for case in test]
    for case in test:
        prediction = sitk.ReadImage(predictions / f"{case}.nii.gz")
        image = sitk.ReadImage(raw / "imagesTs" / f"{case}_0000.nii.gz")
        assert prediction.GetSize() == image.GetSize()
        assert prediction.GetSpacing() == pytest.approx(image.GetSpacing())
        assert prediction.GetOrigin() == pytest.approx(image.GetOrigin())
        assert prediction.GetDirection() == pytest.approx(image.GetDirection())

    ours = nnunet.folder / "ours"
    nnunet.run("nnunet-vmunet", "predict", "-d", "904", "-i", raw / "imagesTs", "-o", ours, "--fast")
    for case in test:
        assert (ours / f"{case}.nii.gz").read_bytes() == (predictions / f"{case}.nii.gz").read_bytes()

    dice = mean_dice(predictions, source / "labels", test)
    print(f"Dice on {len(test)} volumes: {dice:.3f} after 5 epochs")
    # Modest, because 5 epochs are 140 steps from random weights. A prediction that has learnt nothing has next to none.
    assert dice > 0.3


def test_demo_segments_photographs_that_it_held_out(nnunet):
    """Everything in one command: the demo itself fails below a mean Dice of 0.85."""
    demo = nnunet.folder / "demo"
    log = nnunet.run("nnunet-vmunet", "demo", "-o", demo)
    dice = [float(value) for value in re.findall(r"ISIC_\d+ .* Dice ([\d.]+)", log)]
    assert len(dice) == 6
    assert np.mean(dice) >= 0.85
    assert (demo / "overlay" / "contact_sheet.png").stat().st_size > 50_000
