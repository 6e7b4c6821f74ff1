"""`nnunet-vmunet evaluate` on label images of every kind that other programs write, and on muddled folders."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

LESION = np.tri(40, 30, dtype=np.uint8)
ORGANS = (np.arange(4 * 5 * 6) % 9).reshape(4, 5, 6).astype(np.uint8)
AFFINE = np.array([[-0.75, 0, 0, 190.5], [0, -0.75, 0, 180.25], [0, 0, 3, -40], [0, 0, 0, 1]])
TURN = np.array([[0.8, -0.6, 0, 0], [0.6, 0.8, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def figures(folder, average: str, metric: str) -> float:
    return json.loads((folder / "metrics" / "metrics.json").read_text())[average][metric]["value"]


@pytest.mark.parametrize(
    ("pixels", "name"),
    [
        (LESION.astype(bool), "a.png"),
        (LESION.astype(np.uint16), "a.png"),
        (LESION.astype(np.uint16) * 255, "a.tif"),
        (LESION.astype(np.int32), "a.tif"),
        (LESION * 255, "a.bmp"),
    ],
    ids=["1_bit", "16_bit", "16_bit_tiff", "32_bit", "bmp"],
)
def test_masks_of_every_depth(run, pairs, pixels, name):
    pairs.add("a.png", None, LESION)
    pairs.predictions.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(pairs.predictions / name)
    assert run("evaluate", "isic", *pairs.options, "--native").code == 0
    assert figures(pairs.predictions, "all_pixels", "dsc") == 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1)], ids=str)
def test_masks_of_a_pixel_or_a_line(run, pairs, shape):
    pairs.add("a.png", np.ones(shape), np.ones(shape))
    assert run("evaluate", "isic", *pairs.options).code == 0
    assert figures(pairs.predictions, "all_pixels", "dsc") == 1


def test_a_palette_is_refused(refused, pairs):
    """Its indices say nothing without its colours."""
    pairs.add("a.png", None, LESION)
    pairs.predictions.mkdir(exist_ok=True)
    Image.fromarray(LESION).convert("P").save(pairs.predictions / "a.png")
    assert "a.png is an image of mode P: a label image is grey" in refused("evaluate", "isic", *pairs.options)


@pytest.mark.parametrize(
    ("affine", "dtype"),
    [
        (AFFINE, "<u1"),
        (AFFINE @ np.diag([-1, 1, -1, 1]), "<u1"),
        (AFFINE[:, [2, 0, 1, 3]], "<u1"),
        (AFFINE @ TURN, "<u1"),
        (AFFINE, ">i2"),
        (AFFINE, "<f4"),
        (AFFINE, "<f8"),
    ],
    ids=["as_released", "flipped", "permuted", "oblique", "big_endian", "float32", "float64"],
)
def test_volumes_of_every_geometry_and_type(run, pairs, affine, dtype):
    for folder, stored in ((pairs.predictions, np.dtype(dtype)), (pairs.references, np.dtype(np.uint8))):
        folder.mkdir()
        header = nib.Nifti1Header(endianness=">" if stored.byteorder == ">" else "<")
        header.set_data_dtype(stored)
        nib.save(nib.Nifti1Image(ORGANS.astype(stored), affine, header), folder / "case0001.nii.gz")
    outcome = run("evaluate", "synapse", *pairs.options)
    assert (outcome.code, outcome.err) == (0, "")
    found = json.loads((pairs.predictions / "metrics" / "metrics.json").read_text())["paper_convention"]
    assert found["mean"]["dice"]["value"] == 1
    assert found["mean"]["hd95_mm"]["value"] == 0
    assert "the prediction's spacing is not the reference's" not in outcome.out


@pytest.mark.parametrize("content", ["[]", '"text"', "3"])
def test_a_dataset_json_that_is_none_is_named(refused, pairs, content):
    pairs.add("a.png", LESION, LESION)
    (pairs.references / "dataset.json").write_text(content)
    assert "dataset.json is not what nnU-Net writes under that name" in refused("evaluate", "isic", *pairs.options)


@pytest.mark.parametrize("content", ["{}", "[3]", "[{}]", '[{"val": 5}]', '[{"val": [[1]]}]', '[{"val": null}]'])
def test_a_splits_final_json_that_is_none_is_named(refused, trained, content):
    fold = trained("Dataset118_ISIC2018", ".png", {"background": 0, "lesion": 1})
    fold.add("a", LESION, LESION)
    (fold.preprocessed / "splits_final.json").write_text(content)
    assert "splits_final.json is not what nnU-Net" in refused("evaluate", "isic", "-d", 118, "-f", 0)


@pytest.mark.parametrize("dataset", ["", "/tmp", "*", "..", "Dataset118_[", "x" * 300])
def test_a_dataset_of_no_model_is_told_however_it_is_written(refused, trained, dataset):
    trained("Dataset118_ISIC2018", ".png", {"background": 0, "lesion": 1})
    assert "holds no trained model of that dataset" in refused("evaluate", "isic", "-d", dataset, "-f", 0)
