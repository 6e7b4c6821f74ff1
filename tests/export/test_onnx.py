"""`nnunet-vmunet export onnx`: onnxruntime gives the network's probabilities, the example the masks of `predict`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from model_folders import CT, SMALL, Trained
from PIL import Image

from nnunet_vmunet import load_model
from nnunet_vmunet.synthetic_lesions import lesion_photograph

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "onnx_predict.py"
# What the example may import: packages with their own parts, and what these need.
WITHOUT_TORCH = ("numpy", "numpy.libs", "PIL", "pillow.libs", "onnxruntime", "flatbuffers", "google", "packaging")


def session(file: Path):
    return onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])


def outputs(file: Path, images: np.ndarray) -> np.ndarray:
    return session(file).run(None, {"image": images})[0]


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("patch", [(64, 64), (40, 56)], ids=str)
def test_onnxruntime_gives_the_networks_probabilities(run, tmp_path, patch, batch):
    model = Trained(patch=patch).write(tmp_path)
    assert run("export", "onnx", model, "-o", tmp_path / "model.onnx").code == 0
    images = torch.randn(batch, 3, *patch)
    network = load_model(model, device="cpu").network_of_one_fold()
    with torch.no_grad():
        expected = network(images).softmax(1)
    found = outputs(tmp_path / "model.onnx", images.numpy())
    assert expected.std() > 0.05
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("together", [1, 2, 4])
def test_walks_give_the_same_however_many_walk_together(run, tmp_path, monkeypatch, together):
    monkeypatch.setattr("nnunet_vmunet.export.onnx_scan.walks_together", lambda n_states, channels: together)
    model = Trained(patch=(32, 64)).write(tmp_path)
    run("export", "onnx", model, "-o", tmp_path / "model.onnx")
    images = torch.randn(2, 3, 32, 64)
    with torch.no_grad():
        expected = load_model(model, device="cpu").network_of_one_fold()(images).softmax(1)
    np.testing.assert_allclose(outputs(tmp_path / "model.onnx", images.numpy()), expected, atol=1e-4)


@pytest.mark.parametrize("together", [1, 2, 4])
def test_every_walk_comes_back_to_its_pixel(together):
    from nnunet_vmunet.export.onnx_scan import walks

    pixels, rows, places = walks(3, 5, together)
    numbers = torch.arange(15)
    assert all(torch.equal(pixels.flatten()[places[direction]], numbers) for direction in range(4))
    assert all(torch.equal(rows.flatten()[places[direction]], 4 * numbers + direction) for direction in range(4))


def test_no_product_of_a_step_is_too_large_for_one_thread():
    """At the sizes of the paper's network: more would wake onnxruntime's other threads at every step."""
    from nnunet_vmunet.export.onnx_scan import walks_together

    assert [walks_together(16, channels) for channels in (192, 384, 768, 1536)] == [4, 2, 2, 1]


def test_regions_are_sigmoids(run, tmp_path):
    regions = {"background": 0, "whole": [1, 2], "core": [2]}
    model = Trained(labels=regions, more={"regions_class_order": [1, 2]}).write(tmp_path)
    run("export", "onnx", model, "-o", tmp_path / "model.onnx")
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        expected = load_model(model, device="cpu").network_of_one_fold()(images).sigmoid()
    np.testing.assert_allclose(outputs(tmp_path / "model.onnx", images.numpy()), expected, atol=1e-4)


def test_steps_of_any_size_are_softplus():
    """Where the exponential would overflow, too: the network's own bound is far above what a step is."""
    from nnunet_vmunet.export.onnx_scan import softplus

    x = np.array([-200, -20, -1, 0, 1, 20, 79, 81, 1e4], np.float32)
    found = softplus(x)
    np.testing.assert_allclose(found, np.logaddexp(0, x.astype(np.float64)), rtol=1e-6, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("side", [64, 224, 256])
def test_the_papers_network_within_the_issues_bounds(run, tmp_path, side, monkeypatch):
    monkeypatch.setattr("model_folders.SMALL", {})  # the paper's sizes
    model = Trained(patch=(side, side)).write(tmp_path)
    run("export", "onnx", model, "-o", tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").stat().st_size < 130e6
    images = torch.randn(1, 3, side, side)
    with torch.no_grad():
        expected = load_model(model, device="cpu").network_of_one_fold()(images).softmax(1)
    np.testing.assert_allclose(outputs(tmp_path / "model.onnx", images.numpy()), expected, atol=1e-4)


def test_the_file_is_a_valid_model_with_a_scan_for_a_block(run, tmp_path):
    """Over the images, with the scan over the steps inside: few channels walk all four directions together."""
    run("export", "onnx", Trained().write(tmp_path), "-o", tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(model)
    blocks = sum(SMALL["depths"]) + sum(SMALL["depths_decoder"])
    assert sum(node.op_type == "Scan" for node in model.graph.node) == blocks


def without_torch(folder: Path) -> dict[str, str]:
    """An environment whose Python finds NumPy, Pillow and onnxruntime, and nothing else that was installed."""
    folder.mkdir()
    site = Path(find_spec("numpy").origin).parents[1]
    for name in WITHOUT_TORCH:
        if (site / name).exists():
            (folder / name).symlink_to(site / name)
    return {**os.environ, "PYTHONPATH": str(folder)}


def example(model: Path, photograph: Path, mask: Path, environment: dict[str, str], *options) -> None:
    command = [sys.executable, "-S", EXAMPLE, model, photograph, mask, *options]  # -S: without site-packages
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize(
    ("trained", "options"),
    [
        pytest.param(Trained(), (), id="one window"),
        pytest.param(Trained(), ("--fast",), id="fast"),
        pytest.param(Trained(patch=(32, 40), spacing=(4.0, 4.0)), (), id="several windows"),
        pytest.param(Trained(patch=(64, 64), spacing=(8.0, 8.0)), (), id="larger than the photograph"),
        pytest.param(Trained(labels={"background": 0, "a": 1, "b": 2, "c": 3}), (), id="labels"),
        pytest.param(
            Trained(labels={"background": 0, "whole": [1, 2], "core": [2]}, more={"regions_class_order": [1, 2]}),
            (),
            id="regions",
        ),
        pytest.param(Trained(channels=("grey",), reader="WholeGreyImage2DIO"), (), id="grey"),
        pytest.param(Trained(normalisation="NoNormalization"), (), id="as stored"),
    ],
)
def test_the_example_gives_the_masks_of_predict_without_torch(run, tmp_path, trained, options):
    model, photograph = trained.write(tmp_path), tmp_path / "photo.jpg"
    lesion_photograph(np.random.default_rng(3), 300, 220)[0].save(photograph, exif=turned())
    run("export", "onnx", model, "-o", tmp_path / "model.onnx")
    environment = without_torch(tmp_path / "site")
    assert subprocess.run([sys.executable, "-S", "-c", "import torch"], env=environment, capture_output=True).returncode
    example(tmp_path / "model.onnx", photograph, tmp_path / "mask.png", environment, *options)
    with Image.open(tmp_path / "mask.png") as image:
        mask = np.asarray(image)
    expected = load_model(model, mirror="--fast" not in options).predict(photograph).mask
    assert mask.shape == expected.shape == (300, 220)
    values = np.unique(expected)
    assert len(values) > 1
    for value in values:
        assert dice(mask == value, expected == value) >= 0.999


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def test_the_json_says_what_to_do(run, tmp_path):
    run("export", "onnx", Trained().write(tmp_path), "-o", tmp_path / "model.onnx")
    told = json.loads((tmp_path / "model.json").read_text())
    assert told["input"] == {"name": "image", "shape": ["batch", 3, 32, 32], "type": "float32"}
    assert told["output"] == {"name": "probabilities", "activation": "softmax", "outputs": ["background", "lesion"]}
    assert told["labels"] == {"background": 0, "lesion": 1}
    assert told["mirroring_axes"] == [0, 1]
    assert told["normalisation"] == [{"scheme": "ZScoreNormalization"}] * 3


def test_a_model_of_ct_tells_its_window(run, tmp_path):
    run("export", "onnx", CT.write(tmp_path), "-o", tmp_path / "model.onnx")
    told = json.loads((tmp_path / "model.json").read_text())
    assert told["reading"] == {"kind": "volume", "channels": ["CT"], "transpose": [0, 1, 2]}
    assert told["normalisation"][0]["percentile_99_5"] == 200.0


def test_refusals(run, refused, tmp_path):
    model = Trained(folds=("0", "1")).write(tmp_path)
    assert "ends in .onnx" in refused("export", "onnx", model, "-o", tmp_path / "model")
    assert "has 2 folds: choose one with -f" in refused("export", "onnx", model, "-o", tmp_path / "model.onnx")
    assert run("export", "onnx", model, "-o", tmp_path / "model.onnx", "-f", "1").code == 0
    assert "give --overwrite" in refused("export", "onnx", model, "-o", tmp_path / "model.onnx", "-f", "1")
