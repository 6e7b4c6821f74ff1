"""`load_model` from Python: photographs, volumes and arrays, from one thread and from several."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from model_folders import CT, Trained, zipped
from PIL import Image, ImageOps

from nnunet_vmunet import load_model
from nnunet_vmunet.errors import InputError


@pytest.fixture
def model(tmp_path):
    return load_model(Trained().write(tmp_path))


@pytest.fixture
def ct_model(tmp_path):
    return load_model(CT.write(tmp_path))


def test_a_path_an_image_and_an_array_give_the_same(model, photographs):
    expected = model.predict(photographs / "a.jpg")
    assert expected.mask.shape == (70, 45) and expected.mask.dtype == np.uint8
    assert set(np.unique(expected.mask)) == {0, 1}
    assert expected.labels == {"lesion": (1,)}
    with Image.open(photographs / "a.jpg") as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
        assert np.array_equal(model.predict(image).mask, expected.mask)
    assert np.array_equal(model.predict(str(photographs / "a.jpg")).mask, expected.mask)
    assert np.array_equal(model.predict(upright).mask, expected.mask)


@pytest.mark.parametrize(
    "as_type",
    [
        pytest.param(lambda grey: grey[..., None], id="one channel"),
        pytest.param(lambda grey: np.dstack([grey] * 3), id="RGB"),
        pytest.param(lambda grey: np.dstack([grey] * 3 + [np.full_like(grey, 9)]), id="RGBA"),
        pytest.param(lambda grey: grey.astype(np.int64), id="int64"),
        pytest.param(lambda grey: grey / 255, id="float64"),
        pytest.param(lambda grey: (grey / 255).astype(np.float32), id="float32"),
        pytest.param(lambda grey: np.dstack([grey] * 3).astype(np.uint16) * 257, id="RGB of 16 bits"),
        pytest.param(lambda grey: Image.fromarray(grey).convert("P"), id="palette"),
        pytest.param(lambda grey: np.asfortranarray(grey), id="other order in memory"),
        pytest.param(lambda grey: grey[::-1][::-1], id="negative strides"),
    ],
)
def test_arrays_of_any_usual_type(model, photographs, as_type):
    with Image.open(photographs / "b.png") as image:
        grey = np.asarray(image)
    assert np.array_equal(model.predict(as_type(grey)).mask, model.predict(grey).mask)


def test_grey_of_16_bits_keeps_them(tmp_path, photographs):
    model = load_model(Trained(channels=("X-ray",), reader="WholeGreyImage2DIO", more={"bits": 16}).write(tmp_path))
    with Image.open(photographs / "b.png") as image:
        grey = np.asarray(image)
    deep = grey.astype(np.uint16) * 257
    assert np.array_equal(model.predict(deep).mask, model.predict(grey).mask)
    assert model.predict(photographs / "a.jpg").note == "had colours and became grey by their luminance"


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((3, 20, 30), np.uint8), r"shape \(3, 20, 30\) is no photograph: give \(height, width\)"),
        (np.zeros((20, 30, 2), np.uint8), "is no photograph"),
        (np.zeros((0, 30), np.uint8), "is no photograph"),
        (np.full((20, 30), 300.0), "holds values from 300.0 to 300.0: give whole numbers from 0 to 255"),
        (np.full((20, 30), np.nan), "holds values from nan to nan"),
        (np.full((20, 30), -1), "holds values from -1 to -1"),
        (np.full((20, 30), 70000), "holds values from 70000 to 70000"),
        (np.full((20, 30), "a"), "give numbers"),
        ("nowhere.png", "nowhere.png cannot be read as an image"),
    ],
)
def test_what_is_no_photograph_is_refused(model, image, message):
    with pytest.raises(InputError, match=message):
        model.predict(image)


def test_probabilities_come_when_they_are_asked_for(model, photographs):
    result = model.predict(photographs / "c_0000.bmp")
    assert "probabilities" not in vars(result)
    assert result.probabilities.shape == (2, 200, 256)
    assert np.array_equal(result.probabilities[1] > 0.5, result.mask == 1)


def test_a_volumes_array_has_the_spacing_that_is_given(ct_model, tmp_path):
    values = np.random.default_rng(1).normal(60, 60, (3, 40, 50)).astype(np.float32)
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((1.1, 0.9, 5.0))
    sitk.WriteImage(image, str(tmp_path / "scan.nii.gz"))
    expected = ct_model.predict(tmp_path / "scan.nii.gz")
    assert expected.mask.shape == (3, 40, 50)
    assert np.array_equal(ct_model.predict(values, spacing_mm=(5.0, 0.9, 1.1)).mask, expected.mask)
    assert not np.array_equal(ct_model.predict(values, spacing_mm=(5.0, 0.5, 0.5)).mask, expected.mask)
    expected.save(tmp_path / "mask.nii.gz")
    saved = sitk.ReadImage(str(tmp_path / "mask.nii.gz"))
    assert saved.GetSpacing() == pytest.approx((1.1, 0.9, 5.0))
    assert np.array_equal(sitk.GetArrayFromImage(saved), expected.mask)


@pytest.mark.parametrize(
    ("spacing", "message"),
    [(None, "with spacing_mm none is no volume"), ((1, 1), "is no volume"), ((1, 0, 1), "give millimetres above 0")],
)
def test_a_volumes_array_without_a_usable_spacing_is_refused(ct_model, spacing, message):
    with pytest.raises(InputError, match=message):
        ct_model.predict(np.zeros((3, 40, 50)), spacing_mm=spacing)


def test_an_array_has_no_place_to_save_a_mask_in(ct_model, tmp_path):
    result = ct_model.predict(np.zeros((3, 40, 50)), spacing_mm=(5, 1, 1))
    with pytest.raises(InputError, match="an array has no place in space"):
        result.save(tmp_path / "mask.nii.gz")


def test_a_model_of_volumes_takes_no_photographs(ct_model, photographs):
    with pytest.raises(InputError, match=r"a\.jpg is no volume that the model reads: give \.nii\.gz"):
        ct_model.predict(photographs / "a.jpg")


def test_many_images_keep_their_order(model, photographs):
    files = [photographs / name for name in ("c_0000.bmp", "a.jpg", "b.png", "a.jpg")]
    results = list(model.predict_many(files))
    assert [result.mask.shape for result in results] == [(200, 256), (70, 45), (64, 33), (70, 45)]
    for file, result in zip(files, results, strict=True):
        assert np.array_equal(result.mask, model.predict(file).mask)
    assert list(model.predict_many([])) == []


def test_the_images_before_a_damaged_one_are_predicted(model, photographs):
    results = model.predict_many([photographs / "a.jpg", photographs / "nowhere.jpg", photographs / "b.png"])
    assert next(results).mask.shape == (70, 45)
    with pytest.raises(InputError, match=r"nowhere\.jpg"):
        next(results)


def test_images_are_asked_for_as_they_are_needed(model, photographs):
    asked = []

    def endless():
        while True:
            asked.append(1)
            yield photographs / "b.png"

    results = model.predict_many(endless())
    next(results)
    assert len(asked) <= 4
    results.close()


@pytest.mark.parametrize("folds", [("0",), ("0", "1")], ids=["one fold, side by side", "two folds, in turn"])
def test_threads_share_a_model(tmp_path, photographs, folds):
    model = load_model(Trained(folds=folds).write(tmp_path), device="cpu")
    files = [photographs / name for name in ("a.jpg", "b.png", "c_0000.bmp")] * 8
    expected = [model.predict(file).mask for file in files[:3]] * 8
    with ThreadPoolExecutor(4) as pool:
        for mask, result in zip(expected, pool.map(model.predict, files), strict=True):
            assert np.array_equal(result.mask, mask)


def test_one_fold_of_a_zip_without_mirroring(tmp_path, photographs):
    folder = Trained(folds=("0", "1")).write(tmp_path / "results")
    archive, photograph = zipped(folder, tmp_path / "model.zip"), photographs / "a.jpg"
    mask = load_model(archive, folds=[1], mirror=False).predict(photograph).mask
    assert np.array_equal(mask, load_model(folder, folds=["1"], mirror=False).predict(photograph).mask)
    for other in ({"mirror": False}, {"folds": [1]}, {"folds": [0], "mirror": False}):
        assert not np.array_equal(mask, load_model(folder, **other).predict(photograph).mask)


def test_a_network_of_bfloat16_agrees_but_for_few_pixels(tmp_path, photographs):
    folder = Trained(folds=("0", "1")).write(tmp_path)
    half = load_model(folder, precision="bf16")
    for file in sorted(photographs.iterdir()):
        mask, expected = half.predict(file).mask, load_model(folder).predict(file).mask
        assert (mask == expected).mean() > 0.98
    assert {weight.dtype for weight in half._predictor.network.parameters()} == {torch.bfloat16}
    with pytest.raises(InputError, match="give float32 or bf16"):
        load_model(folder, precision="int8")


def test_importing_the_package_stays_cheap():
    heavy = "import sys, nnunet_vmunet; sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'nnunetv2')))"
    assert subprocess.run([sys.executable, "-c", heavy], check=False).returncode == 0


def test_a_cpu_does_not_wait_for_the_import_of_nnunets_trainer(tmp_path):
    folder = Trained().write(tmp_path)
    script = (
        f"import sys, numpy; from nnunet_vmunet import load_model; model = load_model({str(folder)!r}, device='cpu'); "
        "model.predict(numpy.zeros((40, 40, 3), numpy.uint8)); "
        "sys.exit(any(name in sys.modules for name in ('seaborn', 'nnunetv2.training.nnUNetTrainer.nnUNetTrainer')))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
