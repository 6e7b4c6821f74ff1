"""nnU-Net's own command on both forms of Synapse: the dataset is sound, and the 2d patch lies in the slice plane."""

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]

# Lengths that cannot be taken for one another: 20 slices of 64 rows and 96 columns.
DEPTH, ROWS, COLUMNS = 20, 64, 96
# x and y of the slice's corner in the CT, and its first slice: liver, spleen, stomach and kidneys are in it.
CORNER = (13, 18, 50)


@pytest.fixture(scope="module")
def slab(shared) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(x, y, z) Hounsfield units and BTCV labels, and their affine."""
    image, label = (nib.load(shared / "data/abdomen_ct" / name) for name in ("img0001.nii.gz", "label0001.nii.gz"))
    window = tuple(slice(first, first + n) for first, n in zip(CORNER, (COLUMNS, ROWS, DEPTH), strict=True))
    image, label = image.slicer[window], label.slicer[window]
    return np.asanyarray(image.dataobj), np.asanyarray(label.dataobj), image.affine


def lay_out(synapse, form: str, slab) -> None:
    """The slab as training case 5 and as test case 1."""
    image, label, affine = slab
    if form == "raw":
        for number in (1, 5):
            synapse.save(synapse.image(number), image, affine)
            synapse.save(synapse.label(number), label, affine)
        return
    scaled = ((image.T.clip(-125, 275) + 125) / 400).astype(np.float32)
    labels = np.where(label.T <= 8, label.T, 0).astype(np.float32)
    synapse.save_volume(synapse.test_volume(1), scaled, labels)
    for k in range(DEPTH):
        synapse.save_slice(synapse.slice(5, k), scaled[k], labels[k])


@pytest.mark.parametrize(
    ("form", "normalization"), [("raw", "CTNormalization"), ("preprocessed", "NoNormalization")], ids=str
)
def test_plan_and_preprocess(convert_synapse, synapse, raw, slab, form, normalization):
    lay_out(synapse, form, slab)
    convert_synapse("--partial")
    command = [Path(sys.executable).with_name("nnUNetv2_plan_and_preprocess"), "-d", "27", "-c", "2d"]
    finished = subprocess.run(
        [*command, "--verify_dataset_integrity", "-np", "1", "-npfp", "1"],
        text=True,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert finished.returncode == 0, finished.stdout[-5000:]
    assert "verify_dataset_integrity Done" in finished.stdout
    assert "Error" not in finished.stdout and "Warning" not in finished.stdout

    preprocessed = raw.parent / "preprocessed" / "Dataset027_Synapse"
    plans = json.loads((preprocessed / "nnUNetPlans.json").read_text())
    assert plans["transpose_forward"] == [0, 1, 2]
    assert plans["original_median_shape_after_transp"] == [DEPTH, ROWS, COLUMNS]
    configuration = plans["configurations"]["2d"]
    assert configuration["patch_size"] == [ROWS, COLUMNS]
    assert configuration["normalization_schemes"] == [normalization]
    folds = json.loads((preprocessed / "splits_final.json").read_text())
    assert folds == [{"train": ["case0005"], "val": ["case0001"]}]
