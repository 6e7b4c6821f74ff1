"""nnU-Net's own command on both forms of Synapse: the dataset is sound, and the 2d patch lies in the slice plane."""

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nnunetv2.experiment_planning.plan_and_preprocess_api import (
    extract_fingerprint_dataset,
    plan_experiment_dataset,
    preprocess_dataset,
)
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

from nnunet_vmunet.planner import VMUNetPlanner224

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
    scaled, labels = as_transunet(image, label)
    synapse.save_volume(synapse.test_volume(1), scaled, labels)
    for k in range(DEPTH):
        synapse.save_slice(synapse.slice(5, k), scaled[k], labels[k])


def as_transunet(image, label):
    scaled = ((image.T.clip(-125, 275) + 125) / 400).astype(np.float32)
    return scaled, np.where(label.T <= 8, label.T, 0).astype(np.float32)


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


def test_transunets_slices_are_224_whole(convert_synapse, synapse, raw, shared, registered):
    """Slices of a real CT with the air around the body, which is exactly 0 in this form; two extents of the body."""
    stored = [nib.load(shared / "data/abdomen_ct" / name).dataobj for name in ("img0001.nii.gz", "label0001.nii.gz")]
    scaled, labels = as_transunet(*map(np.asanyarray, stored))
    synapse.save_volume(synapse.test_volume(1), scaled[20:23], labels[20:23])
    for k in range(3):
        synapse.save_slice(synapse.slice(5, k), scaled[60 + k], labels[60 + k])
    convert_synapse("--partial")
    extract_fingerprint_dataset(27, num_processes=1, verbose=False, show_progress_bar=False)
    _, name = plan_experiment_dataset(27, VMUNetPlanner224)
    preprocess_dataset(27, name, ["2d"], [1], show_progress_bar=False)
    preprocessed = raw.parent / "preprocessed" / "Dataset027_Synapse"
    dataset = nnUNetDatasetBlosc2(str(preprocessed / f"{name}_2d"))
    for case in ("case0001", "case0005"):
        data, seg, _, properties = dataset.load_case(case)
        assert properties["shape_after_cropping_and_before_resampling"] == properties["shape_before_cropping"]
        assert data.shape == seg.shape == (1, 3, 224, 224)
