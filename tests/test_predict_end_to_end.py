"""A model trained on real photographs, applied by `predict` and by nnU-Net's own commands: the same files, to the byte.

Each command is a user's. The images come from `../shared`: BMP and JPEG in colour, grey PNG of 16 bits, RGBA.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nnunet_vmunet import load_model
from nnunet_vmunet.plans import NETWORK

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]

TRAINER = "nnUNetTrainerVMUNet_5epochs"
SMALL = {"depths": [1, 1], "depths_decoder": [1, 1], "dims": [32, 64], "d_state": 4}
CASES = 12


@dataclass(frozen=True)
class RealSet:
    folder: str
    convert: tuple[str, ...]
    new: str  # what is predicted besides


SETS = [
    RealSet("ph2", ("--size", "64"), "dermoscopy/*.jpg"),
    RealSet("acdc", ("--labels", "RV=1,myocardium=2,LV=3"), "isic2018_256/images/ISIC_000000*.jpg"),
    RealSet("dsb2018", (), "ph2/images/*.bmp"),
]


def link_some(source: Path, folder: Path) -> Path:
    """The first images of a set and their masks, of a few sizes and names."""
    for part in ("images", "masks" if (source / "masks").is_dir() else "labels"):
        (folder / part).mkdir(parents=True)
        files = sorted((source / part).iterdir())
        for file in files[:: max(1, len(files) // CASES)][:CASES]:
            (folder / part / file.name).symlink_to(file)
    return folder


def plan_a_small_network(plans: Path) -> None:
    content = json.loads(plans.read_text())
    architecture = {"network_class_name": NETWORK, "arch_kwargs": SMALL, "_kw_requires_import": []}
    content["configurations"]["2d"].update(architecture=architecture, batch_size=2)
    plans.write_text(json.dumps(content))


@pytest.mark.parametrize("real", SETS, ids=lambda real: real.folder)
def test_predict_writes_what_nnunets_command_writes(nnunet, shared, real):
    data = shared / "data"
    pairs = link_some(data / real.folder, nnunet.folder / "pairs")
    photos = nnunet.folder / "photos"
    photos.mkdir()
    for file in [*sorted((pairs / "images").iterdir())[:4], *sorted(data.glob(real.new))[:3]]:
        (photos / file.name).symlink_to(file.resolve())
    nnunet.run("nnunet-vmunet", "convert", "pairs", "-i", pairs, "-d", "50", "--name", "Real", *real.convert)
    nnunet.run("nnUNetv2_plan_and_preprocess", "-d", "50", "-c", "2d", "-npfp", "1", "-np", "1")
    plan_a_small_network(nnunet.preprocessed / "Dataset050_Real" / "nnUNetPlans.json")
    nnunet.run("nnUNetv2_train", "50", "2d", "0", "-tr", TRAINER, *nnunet.device)

    new, theirs, ours = (nnunet.folder / name for name in ("new", "theirs", "ours"))
    nnunet.run("nnunet-vmunet", "convert", "images", "-i", photos, "-o", new, "-d", "50", "-np", "1")
    model = ("-d", "50", "-c", "2d", "-f", "0", "-tr", TRAINER, "-npp", "1", "-nps", "1", *nnunet.device)
    nnunet.run("nnUNetv2_predict", "-i", new, "-o", theirs, *model)
    nnunet.run("nnunet-vmunet", "predict", "-d", "50", "-i", photos, "-o", ours, "--overlay")

    masks = {file.name: file for file in theirs.glob("*.png")}
    assert len(masks) == 7
    for name, mask in masks.items():
        assert (ours / name).read_bytes() == mask.read_bytes(), name
    assert (ours / "overlay" / "contact_sheet.png").exists()

    (folder,) = (nnunet.results / "Dataset050_Real").iterdir()
    files = sorted(photos.iterdir())
    for file, result in zip(files, load_model(folder).predict_many(files), strict=True):
        with Image.open(masks[f"{file.stem}.png"]) as mask:
            assert np.array_equal(result.mask, np.asarray(mask))
