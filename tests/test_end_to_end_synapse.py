"""The README's commands for Synapse, as a user types them, from BTCV's raw folders to the table, on slabs of a CT."""

import csv
import json
import re
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from nnunet_vmunet.evaluation.paper import SYNAPSE_DICE

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]

DATASET = "Dataset027_Synapse"
TRAINER = "nnUNetTrainerVMUNet_5epochs"
PLANS = "nnUNetVMUNetPlans224"

# Slices of the one CT by BTCV's number. The first two are training cases of the published split, 32 slices together, so
# that a batch is an epoch. The others are test cases and lie between them; all eight organs are in both.
SLABS = {5: (66, 88), 6: (98, 108), 1: (88, 93), 2: (93, 98)}
TEST_CASES = ["case0001", "case0002"]

# Of the slices, around the organs; x and y have lengths that cannot be taken for one another.
COLUMNS, ROWS = slice(13, 109), slice(18, 82)
SPACING_MM = 3.0  # of the CT, along every axis


def lay_out_release(ct: Path, release: Path) -> Path:
    """The slabs as BTCV publishes its volumes."""
    for kind in ("img", "label"):
        whole = nib.load(ct / f"{kind}0001.nii.gz")
        folder = release / "RawData" / "Training" / kind
        folder.mkdir(parents=True)
        for number, (first, end) in SLABS.items():
            nib.save(whole.slicer[COLUMNS, ROWS, first:end], folder / f"{kind}{number:04d}.nii.gz")
    return release


def labels(file: Path) -> np.ndarray:
    return np.asanyarray(nib.load(file).dataobj)


def mean_dice(predictions: Path, references: Path, label: int) -> float:
    """Of one organ over the test cases, all of which have it."""
    scores = []
    for case in TEST_CASES:
        ours, truth = (labels(folder / f"{case}.nii.gz") == label for folder in (predictions, references))
        scores.append(2 * (ours & truth).sum() / (ours.sum() + truth.sum()))
    return float(np.mean(scores))


def test_synapse_from_raw_release_to_table(nnunet, shared):
    release = lay_out_release(shared / "data" / "abdomen_ct", nnunet.folder / "release")

    log = nnunet.run("nnunet-vmunet", "convert", "synapse", "-i", release, "-d", "27", "-np", "2", "--partial")
    assert "Incomplete: 26 of 30 cases are missing" in log
    assert f"{DATASET}: 4 cases, 8 organs, 42 slices" in log

    nnunet.run(
        "nnUNetv2_plan_and_preprocess",
        "-d",
        "27",
        "-c",
        "2d",
        "-pl",
        "VMUNetPlanner224",
        "--verify_dataset_integrity",
        "-npfp",
        "2",
        "-np",
        "2",
    )
    planned = json.loads((nnunet.preprocessed / DATASET / f"{PLANS}.json").read_text())["configurations"]["2d"]
    assert planned["patch_size"] == [224, 224]
    assert planned["batch_size"] == 32
    assert planned["spacing"] == pytest.approx([64 * SPACING_MM / 224, 96 * SPACING_MM / 224])

    log = nnunet.run("nnUNetv2_train", "27", "2d", "0", "-tr", TRAINER, "-p", PLANS, *nnunet.device)
    losses = [float(loss) for loss in re.findall(r"train_loss (\S+)", log)]
    print("train_loss", *losses)
    assert len(losses) == 5 and np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    model = nnunet.results / DATASET / f"{TRAINER}__{PLANS}__2d"
    assert (model / "fold_0" / "checkpoint_final.pth").exists()
    trained = json.loads((model / "plans.json").read_text())["configurations"]["2d"]
    assert trained == planned  # the trainer took the planner's patch, batch and network as they are

    validation, references = model / "fold_0" / "validation", nnunet.raw / DATASET / "labelsTr"
    assert sorted(file.name for file in validation.glob("*.nii.gz")) == [f"{case}.nii.gz" for case in TEST_CASES]
    for case in TEST_CASES:
        prediction, reference = (nib.load(folder / f"{case}.nii.gz") for folder in (validation, references))
        assert prediction.shape == reference.shape
        np.testing.assert_array_equal(prediction.affine, reference.affine)

    fold = ("-d", "27", "-f", "0", "-tr", TRAINER, "-pl", PLANS)
    log = nnunet.run("nnunet-vmunet", "evaluate", "synapse", *fold, "--paper", "synapse")
    print(log)
    assert re.search(r"^liver .* 94\.17$", log, re.MULTILINE)
    assert re.search(r"^mean .* 81\.08 +19\.21$", log, re.MULTILINE)
    metrics = json.loads((validation / "metrics" / "metrics.json").read_text())
    with open(validation / "metrics" / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["case"] for row in rows] == TEST_CASES
    organs = metrics["paper_convention"]["organs"]
    assert list(organs) == list(SYNAPSE_DICE)
    for label, (organ, found) in enumerate(organs.items(), start=1):
        assert 0 <= found["dice"]["value"] <= 1
        assert found["dice"]["value"] == pytest.approx(mean_dice(validation, references, label))
        assert found["dice"]["value"] == pytest.approx(np.mean([float(row[f"{organ} dice"]) for row in rows]))
        assert 0 <= found["hd95_mm"]["value"] < np.inf
        assert found["hd95_mm"]["value"] == pytest.approx(SPACING_MM * found["hd95_voxels"]["value"])
    with Image.open(validation / "metrics" / "metrics.png") as picture:
        assert min(picture.size) > 300
        assert len(picture.convert("RGB").getcolors(maxcolors=2**24)) > 10  # something is drawn

    # A new scan, as the folder of a user: a test image is predicted as it was in the validation.
    new_scans, predictions = nnunet.folder / "new_scans", nnunet.folder / "predictions"
    new_scans.mkdir()
    shutil.copy(nnunet.raw / DATASET / "imagesTr" / "case0001_0000.nii.gz", new_scans / "patient_0000.nii.gz")
    nnunet.run(
        "nnUNetv2_predict",
        "-i",
        new_scans,
        "-o",
        predictions,
        "-d",
        "27",
        "-c",
        "2d",
        "-f",
        "0",
        "-tr",
        TRAINER,
        "-p",
        PLANS,
        "-npp",
        "1",
        "-nps",
        "1",
        *nnunet.device,
    )
    patient, case = nib.load(predictions / "patient.nii.gz"), nib.load(validation / "case0001.nii.gz")
    np.testing.assert_array_equal(patient.affine, case.affine)
    assert (labels(predictions / "patient.nii.gz") == labels(validation / "case0001.nii.gz")).mean() > 0.999
