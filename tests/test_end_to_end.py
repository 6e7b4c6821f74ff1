"""nnU-Net's own commands, as a user types them, on 50 real MR volumes."""

import json
import os
import re
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from nnunet_vmunet.models import VMUNet
from nnunet_vmunet.schedule import cosine_lr

pytestmark = pytest.mark.end_to_end

DATASET = "Dataset904_Hippocampus"
TRAINER = "nnUNetTrainerVMUNet_5epochs"
LABELS = {"background": 0, "anterior": 1, "posterior": 2}
TEST_CASES = 15


def lay_out_raw_dataset(source: Path, raw: Path) -> tuple[list[str], list[str]]:
    """The volumes as nnU-Net wants them; returns the training and the test cases."""
    cases = sorted(file.name.removesuffix(".nii.gz") for file in (source / "images").iterdir())
    assert len(cases) == 50
    for folder in ("imagesTr", "labelsTr", "imagesTs"):
        (raw / folder).mkdir(parents=True)
    training, test = cases[:-TEST_CASES], cases[-TEST_CASES:]
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


def train_until_killed(nnunet, fold: Path) -> None:
    """Start a training and kill it once it has begun an epoch after its first checkpoint."""
    log = nnunet.folder / "killed.log"
    training = nnunet.start("nnUNetv2_train", "904", "2d", "0", "-tr", TRAINER, *nnunet.device, log=log)
    try:
        deadline = time.monotonic() + 600
        while not (fold / "checkpoint_latest.pth").exists():
            assert training.poll() is None, log.read_text()[-5000:]
            assert time.monotonic() < deadline, "no checkpoint within 10 minutes"
            time.sleep(0.2)
        time.sleep(2)
    finally:
        os.killpg(training.pid, signal.SIGKILL)
        training.wait()


def rates(log: str) -> list[tuple[int, float]]:
    """(epoch, learning rate) of every epoch that a training log tells of."""
    pairs = re.findall(r"Epoch (\d+) *\n.*Current learning rate: ([\d.e-]+)", log)
    return [(int(epoch), float(rate)) for epoch, rate in pairs]


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


def predict(nnunet, output: Path, checkpoint: str) -> None:
    nnunet.run(
        "nnUNetv2_predict",
        "-i",
        nnunet.raw / DATASET / "imagesTs",
        "-o",
        output,
        "-d",
        "904",
        "-c",
        "2d",
        "-f",
        "0",
        "-tr",
        TRAINER,
        "-chk",
        checkpoint,
        "--disable_tta",
        "-npp",
        "1",
        "-nps",
        "1",
        *nnunet.device,
    )


def save_untrained(fold: Path, name: str) -> None:
    checkpoint = torch.load(fold / "checkpoint_final.pth", weights_only=False)
    torch.manual_seed(0)
    checkpoint["network_weights"] = VMUNet(1, len(LABELS)).state_dict()
    torch.save(checkpoint, fold / name)


def test_hippocampus_from_raw_volumes_to_predictions(nnunet, shared):
    source = shared / "data" / "msd_hippocampus"
    raw = nnunet.raw / DATASET
    training, test = lay_out_raw_dataset(source, raw)

    nnunet.run(
        "nnUNetv2_plan_and_preprocess", "-d", "904", "-c", "2d", "--verify_dataset_integrity", "-npfp", "2", "-np", "2"
    )
    fold = nnunet.results / DATASET / f"{TRAINER}__nnUNetPlans__2d" / "fold_0"
    train_until_killed(nnunet, fold)
    log = nnunet.run("nnUNetv2_train", "904", "2d", "0", "-tr", TRAINER, "--c", *nnunet.device)

    # It took up after the epochs that were saved, at the schedule's rate, and went on to the end.
    continued = rates(log)
    assert [epoch for epoch, _ in continued] == list(range(continued[0][0], 5))
    assert continued[0][0] >= 1
    assert all(rate == pytest.approx(cosine_lr(epoch, 1e-3), abs=1e-5) for epoch, rate in continued)

    # Plans saved with the model name our network and its batch size.
    saved = json.loads((fold.parent / "plans.json").read_text())["configurations"]["2d"]
    assert saved["architecture"]["network_class_name"] == "nnunet_vmunet.models.VMUNet"
    assert saved["batch_size"] == 32

    validated = {file.name.removesuffix(".nii.gz") for file in (fold / "validation").glob("*.nii.gz")}
    split = json.loads((nnunet.preprocessed / DATASET / "splits_final.json").read_text())[0]
    assert validated == set(split["val"]) < set(training)

    predictions = nnunet.folder / "predictions"
    predict(nnunet, predictions, "checkpoint_final.pth")
    assert sorted(f.name for f in predictions.glob("*.nii.gz")) == [f"{case}.nii.gz" for case in test]
    for case in test:
        prediction = sitk.ReadImage(predictions / f"{case}.nii.gz")
        image = sitk.ReadImage(raw / "imagesTs" / f"{case}_0000.nii.gz")
        assert prediction.GetSize() == image.GetSize()
        assert prediction.GetSpacing() == pytest.approx(image.GetSpacing())
        assert prediction.GetOrigin() == pytest.approx(image.GetOrigin())
        assert prediction.GetDirection() == pytest.approx(image.GetDirection())

    save_untrained(fold, "checkpoint_untrained.pth")
    untrained_predictions = nnunet.folder / "untrained"
    predict(nnunet, untrained_predictions, "checkpoint_untrained.pth")
    trained = mean_dice(predictions, source / "labels", test)
    untrained = mean_dice(untrained_predictions, source / "labels", test)
    print(f"Dice on {len(test)} volumes: {trained:.3f} after 5 epochs, {untrained:.3f} untrained")
    # Modest, because 5 epochs are 140 steps from random weights; what the training teaches must show all the same.
    assert trained > 0.3
    assert trained > untrained + 0.25


def test_demo_segments_photographs_that_it_held_out(nnunet):
    """Everything in one command: the demo itself fails below a mean Dice of 0.85."""
    demo = nnunet.folder / "demo"
    log = nnunet.run("nnunet-vmunet", "demo", "-o", demo)
    dice = [float(value) for value in re.findall(r"ISIC_\d+ .* Dice ([\d.]+)", log)]
    assert len(dice) == 6
    assert np.mean(dice) >= 0.85
    assert (demo / "overlay" / "contact_sheet.png").stat().st_size > 50_000
