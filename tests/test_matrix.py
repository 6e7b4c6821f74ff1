"""Every kind of labels with every kind of image, from a raw dataset to table and picture, with a small network.

Each cell is right, or refused before anything is trained, in one line. "Right": the references score 1 against
themselves under the names that dataset.json gives them, the trained fold and the predictions are evaluated and drawn,
and a prediction holds no value that dataset.json does not name, on the grid of its image.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image

pytestmark = pytest.mark.slow

CASES, HELD_OUT = 5, 2
SHAPE = (40, 48)  # rows and columns, not those of any patch
SLICES = 3
PLANS = ("-p", "nnUNetVMUNetPlans")
IN_PROCESS = Path(__file__).with_name("in_process.py")


@dataclass(frozen=True)
class Kind:
    """Of image: its file ending, nnU-Net's channels, what reads it, and how a case is drawn."""

    ending: str
    channels: tuple[str, ...]
    reader: str | None
    draw: Callable[[np.ndarray], np.ndarray]
    volume: bool = False


def levels(labels: np.ndarray) -> np.ndarray:
    """An image in which each label is brighter than the one below, with noise: (…) uint8 from 1."""
    rng = np.random.default_rng(int(labels.sum()))
    return (30 + 150 * (labels / max(1, labels.max())) + rng.integers(0, 20, labels.shape)).astype(np.uint8)


def in_colours(channels: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda labels: np.stack([np.roll(levels(labels), c, axis=0) for c in range(channels)], axis=-1)


def of_16_bits(labels: np.ndarray) -> np.ndarray:
    return levels(labels).astype(np.uint16) * 16 + 7  # a 12-bit X-ray


KINDS = {
    "grey": Kind(".png", ("grey",), "WholeGreyImage2DIO", levels),
    "RGB": Kind(".png", ("R", "G", "B"), "WholeImage2DIO", in_colours(3)),
    "RGBA": Kind(".png", ("R", "G", "B", "A"), "WholeRGBAImage2DIO", in_colours(4)),
    "16-bit": Kind(".png", ("X-ray",), "WholeGreyImage2DIO", of_16_bits),
    "TIFF": Kind(".tif", ("grey",), "NaturalImage2DIO", of_16_bits),
    "2D NIfTI": Kind(".nii.gz", ("MR",), None, levels),
    "3D NIfTI": Kind(".nii.gz", ("CT",), None, of_16_bits, volume=True),
}

LABELS: dict[str, dict] = {
    "names": {"labels": {"background": 0, "lesion": 1, "tool": 2}},
    "strings": {"labels": {"background": "0", "lesion": "1", "tool": "2"}},
    "old style": {"labels": {"0": "background", "1": "lesion", "2": "tool"}},
    "regions": {"labels": {"background": 0, "whole": [1, 2], "core": [2]}, "regions_class_order": [1, 2]},
    "ignore": {"labels": {"background": 0, "lesion": 1, "ignore": 2}},
    "117 classes": {"labels": {"background": 0, **{f"organ {i}": i for i in range(1, 118)}}},
}
REFUSED = {"old style": 'names labels as nnU-Net\'s first version did: write "labels": {"background": 0, "lesion": 1'}

CELLS = [pytest.param(labels, kind, id=f"{labels}-{kind}") for labels in LABELS for kind in KINDS]


def label_map(labels: str, volume: bool, case: int) -> np.ndarray:
    """Every value that the dataset knows, in blocks: (h, w) or (z, h, w) uint8."""
    highest, side = 117 if labels == "117 classes" else 2, 3
    shape = (SLICES, *SHAPE) if volume else SHAPE
    rows, columns = np.indices(SHAPE) // side
    blocks = (rows * (SHAPE[1] // side) + columns + case) % (highest + 1)
    return np.broadcast_to(blocks, shape).astype(np.uint8)


def write_image(pixels: np.ndarray, file: Path, kind: Kind) -> None:
    if file.name.endswith(".nii.gz"):
        image = sitk.GetImageFromArray(pixels if kind.volume else pixels[None])
        image.SetSpacing((0.7, 0.9, 2.5))
        sitk.WriteImage(image, str(file))
    elif file.suffix == ".tif":
        tifffile.imwrite(file, pixels)
    else:
        Image.fromarray(pixels).save(file)


def write_raw(raw: Path, labels: str, kind: Kind) -> None:
    for folder in ("imagesTr", "labelsTr", "imagesTs", "labelsTs"):
        (raw / folder).mkdir(parents=True)
    for case in range(CASES + HELD_OUT):
        part = "Tr" if case < CASES else "Ts"
        values = label_map(labels, kind.volume, case)
        write_image(kind.draw(values), raw / f"images{part}" / f"case{case}_0000{kind.ending}", kind)
        write_image(values, raw / f"labels{part}" / f"case{case}{kind.ending}", kind)
    description = {
        "channel_names": {str(i): name for i, name in enumerate(kind.channels)},
        **LABELS[labels],
        "numTraining": CASES,
        "file_ending": kind.ending,
    }
    if kind.reader:
        description["overwrite_image_reader_writer"] = kind.reader
    (raw / "dataset.json").write_text(json.dumps(description))


def write_perfect_predictions(folder: Path, labels: str, kind: Kind) -> None:
    """The references of the held out cases, but for the ignore label, which no prediction holds."""
    folder.mkdir()
    for case in range(CASES, CASES + HELD_OUT):
        values = label_map(labels, kind.volume, case)
        values = np.where(values == 2, 0, values).astype(np.uint8) if labels == "ignore" else values
        write_image(values, folder / f"case{case}{kind.ending}", kind)


def commands(labels: str, dataset_id: int, raw: Path, cell: Path) -> list[list[str]]:
    """From planning to table and picture, and the references against themselves."""
    number, images, masks = str(dataset_id), raw / "imagesTs", cell / "masks"
    trainer = ("-tr", "nnUNetTrainerVMUNet")
    plan = ["-d", number, "-c", "2d", "-pl", "VMUNetPlanner", "-npfp", "1", "-np", "1"]
    if labels not in REFUSED:  # nnU-Net's own check would end in a traceback first
        plan.append("--verify_dataset_integrity")
    predict = ("-i", images, "-o", masks, "-d", number, "-c", "2d", "-f", "0", "-npp", "0", "-nps", "0")
    fold = ("-d", number, "-f", "0", "-pl", PLANS[1])
    lines = [
        ("nnUNetv2_plan_and_preprocess", *plan),
        ("nnUNetv2_train", number, "2d", "0", *trainer, *PLANS, "-device", "cpu"),
        ("nnUNetv2_predict", *predict, *trainer, *PLANS, "-device", "cpu", "--disable_tta"),
        ("nnunet-vmunet", "evaluate", "labels", *fold, "-o", cell / "fold", "-np", "1"),
        ("nnunet-vmunet", "evaluate", "labels", "-p", masks, "-r", raw / "labelsTs", "-o", cell / "table", "-np", "1"),
        ("nnunet-vmunet", "overlay", "-i", images, "-p", masks, "-r", raw / "labelsTs", "-o", cell / "pictures"),
        ("nnunet-vmunet", "evaluate", "labels", "-p", cell / "truth", "-r", raw / "labelsTs", "-o", cell / "self"),
    ]
    return [list(map(str, line)) for line in lines]


@pytest.fixture(scope="module")
def matrix(tmp_path_factory, registered) -> dict[tuple[str, str], tuple[Path, Path, dict]]:
    """Of each cell the raw dataset, the folder of what the commands wrote, and how they ended."""
    root = tmp_path_factory.mktemp("matrix")
    folders = {name: root / name for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    chains, cells = {}, {}
    for i, (labels, kind) in enumerate((labels, kind) for labels in LABELS for kind in KINDS):
        raw, cell = folders["nnUNet_raw"] / f"Dataset{i + 1:03d}_Cell", root / f"{labels}-{kind}"
        cell.mkdir()
        write_raw(raw, labels, KINDS[kind])
        write_perfect_predictions(cell / "truth", labels, KINDS[kind])
        chains[cell.name] = commands(labels, i + 1, raw, cell)
        cells[labels, kind] = (raw, cell)
    for folder in folders.values():
        folder.mkdir(exist_ok=True)
    # Coverage would take twice as long, and other tests run the same lines.
    not_counted = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    finished = subprocess.run(
        [sys.executable, IN_PROCESS],
        input=json.dumps(chains),
        env={**not_counted, **{name: str(folder) for name, folder in folders.items()}},
        text=True,
        check=True,
        stdout=subprocess.PIPE,
    )
    ends = {end["name"]: end for end in map(json.loads, finished.stdout.splitlines())}
    return {names: (raw, cell, ends[cell.name]) for names, (raw, cell) in cells.items()}


def read(file: Path) -> np.ndarray:
    if file.name.endswith(".nii.gz"):
        return sitk.GetArrayFromImage(sitk.ReadImage(str(file)))
    return np.asarray(Image.open(file))


@pytest.mark.parametrize(("labels", "kind"), CELLS)
def test_right_or_refused_before_training(matrix, labels, kind):
    raw, cell, end = matrix[labels, kind]
    if labels in REFUSED:
        assert end["code"] == 2
        assert REFUSED[labels] in end["written"].splitlines()[-1]
        assert "$ nnUNetv2_train" not in end["written"]
        return
    assert end["code"] == 0, end["written"][-4000:]

    allowed = set(range(118 if labels == "117 classes" else 3)) - ({2} if labels == "ignore" else set())
    for case in range(CASES, CASES + HELD_OUT):
        mask, reference = (read(f / f"case{case}{KINDS[kind].ending}") for f in (cell / "masks", raw / "labelsTs"))
        assert mask.shape == reference.shape
        assert set(np.unique(mask)) <= allowed

    named = set(LABELS[labels]["labels"]) - {"background", "ignore"}
    group = "regions" if labels == "regions" else "labels"
    for evaluated in ("fold", "table", "self"):
        found = json.loads((cell / evaluated / "metrics.json").read_text())["all_pixels"][group]["each"]
        assert set(found) == named
        assert (cell / evaluated / "metrics.png").stat().st_size > 5000
    assert all(scores["dice"]["value"] == 1 for scores in found.values())  # the last: references against themselves

    assert {f.name for f in (cell / "pictures").iterdir()} >= {"contact_sheet.png"}
