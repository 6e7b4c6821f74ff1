"""Every network of the family, small, on real photographs and real slices: each command that takes a model.

One process runs all of it, see in_process.py; the commands are a user's. The images come from `../shared`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nnunet_vmunet import load_model
from nnunet_vmunet.plans import NETWORKS

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]

IN_PROCESS = Path(__file__).with_name("in_process.py")
SETS = {
    "isic2018_256": (".jpg", ("--labels", "lesion=255")),
    "acdc": (".png", ("--labels", "RV=1,myocardium=2,LV=3", "--group", r"patient\d+")),
}
CASES, NEW = 10, 2


def link_some(source: Path, folder: Path) -> tuple[Path, Path]:
    """Pairs to train with, and images that are new."""
    pairs, new = folder / "pairs", folder / "new"
    masks = {file.stem: file for file in (source / "masks").iterdir()}
    images = sorted((source / "images").iterdir())
    chosen = images[:: len(images) // (CASES + NEW)][: CASES + NEW]
    for part in (pairs / "images", pairs / "masks", new):
        part.mkdir(parents=True)
    for image in chosen[:CASES]:
        mask = masks.get(image.stem) or masks[f"{image.stem}_segmentation"]
        (pairs / "images" / image.name).symlink_to(image)
        (pairs / "masks" / mask.name).symlink_to(mask)
    for image in chosen[CASES:]:
        (new / image.name).symlink_to(image)
    return pairs, new


def commands(name: str, folder: Path, new: Path) -> list[list[str]]:
    trainer, out = NETWORKS[name].trainer, folder / name
    fold = ("-d", "60", "-f", "0", "-tr", trainer)
    model = folder / "nnUNet_results" / "Dataset060_Family" / f"{trainer}__nnUNetPlans__2d"
    in_process = ("-device", "cpu", "-npp", "0", "-nps", "0")
    lines = [
        ("nnUNetv2_train", "60", "2d", "0", "-tr", trainer, "-device", "cpu"),
        ("nnunet-vmunet", "evaluate", "labels", *fold, "-o", out / "metrics", "-np", "1"),
        ("nnunet-vmunet", "overlay", *fold, "-o", out / "pictures", "-np", "1"),
        ("nnunet-vmunet", "predict", "-m", model, "-i", new, "-o", out / "masks", "-device", "cpu"),
        ("nnUNetv2_predict", "-i", folder / "converted", "-o", out / "theirs", *fold, "-c", "2d", *in_process),
        ("nnunet-vmunet", "export", "onnx", model, "-o", out / "model.onnx"),
        ("nnunet-vmunet", "report", *fold, "-o", out / "report.html"),
    ]
    return [list(map(str, line)) for line in lines]


@pytest.fixture(scope="module", params=SETS)
def trained(request, shared, registered, tmp_path_factory):
    """What was run for a set, by network: exit code and what was written; and the folder."""
    folder = tmp_path_factory.mktemp("family")
    _, options = SETS[request.param]
    pairs, new = link_some(shared / "data" / request.param, folder)
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        (folder / name).mkdir()
    prepare = [
        ("nnunet-vmunet", "convert", "pairs", "-i", pairs, "-d", "60", "--name", "Family", "--size", "64", *options),
        ("nnUNetv2_plan_and_preprocess", "-d", "60", "-c", "2d", "-npfp", "1", "-np", "1"),
        ("nnunet-vmunet", "convert", "images", "-i", new, "-o", folder / "converted", "-d", "60", "-np", "1"),
    ]
    trainers = [network.trainer for network in NETWORKS.values()]
    compare = ("nnunet-vmunet", "compare", "-d", "60", "-f", "0", "-tr", *trainers, "-o", folder / "comparison")
    chains = {
        "prepare": [list(map(str, line)) for line in prepare],
        **{name: commands(name, folder, new) for name in NETWORKS},
        "compare": [[*map(str, compare), "-np", "1"]],
    }
    folders = {name: str(folder / name) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    finished = subprocess.run(
        [sys.executable, IN_PROCESS],
        input=json.dumps(chains),
        env={**os.environ, **folders, "nnUNet_n_proc_DA": "0", "OMP_NUM_THREADS": "1"},
        text=True,
        check=False,
        stdout=subprocess.PIPE,
    )
    lines = [json.loads(line) for line in finished.stdout.splitlines() if line.startswith('{"name"')]
    return folder, new, {line["name"]: line for line in lines}


def test_every_command_takes_every_network(trained):
    _, _, run = trained
    assert list(run) == ["prepare", *NETWORKS, "compare"]
    for name, outcome in run.items():
        assert outcome["code"] == 0, f"{name}: {outcome['written'][-4000:]}"


@pytest.mark.parametrize("name", NETWORKS)
def test_what_was_written_is_of_that_network(name, trained):
    folder, new, run = trained
    network = NETWORKS[name]
    assert f"training {network.network_class.title} with" in run[name]["written"]
    assert f"weights download {network.pretrained}" in run[name]["written"]
    masks = {file.stem: np.asarray(Image.open(file)) for file in (folder / name / "masks").glob("*.png")}
    assert set(masks) == {file.stem for file in new.iterdir()}
    for stem, mask in masks.items():
        assert np.array_equal(mask, np.asarray(Image.open(folder / name / "theirs" / f"{stem}.png")))
    assert (folder / name / "report.html").stat().st_size > 100_000
    (model,) = (folder / "nnUNet_results" / "Dataset060_Family").glob(f"{network.trainer}__*")
    loaded = load_model(model, device="cpu")
    assert type(loaded.network_of_one_fold()) is network.network_class


@pytest.mark.parametrize("name", NETWORKS)
def test_onnxruntime_computes_the_network(name, trained):
    onnxruntime = pytest.importorskip("onnxruntime")
    folder, _, _ = trained
    (model,) = (folder / "nnUNet_results" / "Dataset060_Family").glob(f"{NETWORKS[name].trainer}__*")
    loaded = load_model(model, device="cpu")
    image = torch.randn(2, len(loaded.description.channels), *loaded.settings["patch_size"])
    with torch.inference_mode():
        expected = loaded.network_of_one_fold()(image).softmax(1)
    session = onnxruntime.InferenceSession(str(folder / name / "model.onnx"), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"image": image.numpy()})
    assert np.abs(found - expected.numpy()).max() < 1e-4
