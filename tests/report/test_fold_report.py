"""`nnunet-vmunet report` on a fold as nnU-Net leaves it: everything in one file, and only what is known."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from model_folders import Trained
from PIL import Image

DATASET = "Dataset907_Made"
CASES = [f"patient{i:02d}" for i in range(8)]
LOGGED = {
    "train_losses": [0.9, 0.6, 0.5],
    "val_losses": [0.8, 0.7, np.float32(0.6)],
    "mean_fg_dice": [0.2, 0.5, 0.6],
    "ema_fg_dice": [0.2, 0.3, 0.4],
    "lrs": [1e-3, 5e-4, 1e-4],
    "epoch_start_timestamps": [0.0, 60.0, 120.0],
    "epoch_end_timestamps": [60.0, 120.0, 180.0],
}


@dataclass
class TrainedFold:
    """nnU-Net's three folders with one dataset of squares, and the validation of fold 0 by one or more trainers."""

    folder: Path

    @property
    def raw(self) -> Path:
        return self.folder / "nnUNet_raw" / DATASET

    @property
    def preprocessed(self) -> Path:
        return self.folder / "nnUNet_preprocessed" / DATASET

    def lay_out(self) -> None:
        for folder in (self.raw / "imagesTr", self.preprocessed / "gt_segmentations"):
            folder.mkdir(parents=True)
        for i, case in enumerate(CASES):
            mask = square(10 + i)
            Image.fromarray((mask * 120 + 60)[..., None].repeat(3, -1)).save(self.raw / "imagesTr" / f"{case}_0000.png")
            Image.fromarray(mask).save(self.preprocessed / "gt_segmentations" / f"{case}.png")
        splits = [{"train": ["another", "one more"], "val": CASES}]
        (self.preprocessed / "splits_final.json").write_text(json.dumps(splits))

    def validate(self, trainer: str, shift: int, *, with_checkpoint: bool = True) -> Path:
        """A fold whose predictions lie beside the reference by more, the later the case."""
        model = Trained(trainer=trainer, more={"release": "ISIC 2018"}).write(self.folder / "nnUNet_results")
        fold = model / "fold_0"
        checkpoint = torch.load(fold / "checkpoint_final.pth", weights_only=False)
        checkpoint |= {"logging": LOGGED, "init_args": {**checkpoint["init_args"], "seed": 7}}
        torch.save(checkpoint, fold / "checkpoint_final.pth")
        if not with_checkpoint:
            (fold / "checkpoint_final.pth").unlink()
        (fold / "training_log_2026_11_29.txt").write_text(
            "2026-11-29 14:00:00.1: Starting from random weights. Advice\n"
        )
        (fold / "debug.json").write_text(json.dumps({"torch_version": "2.14", "device": "cpu", "gpu_name": "None"}))
        fingerprint = {"shapes_after_crop": [[1, 60, 50], [1, 62, 50]], "spacings": [[999, 4.2, 5.1]] * 2}
        (model / "dataset_fingerprint.json").write_text(json.dumps(fingerprint))
        (fold / "validation").mkdir()
        for i, case in enumerate(CASES):
            moved = np.roll(square(10 + i), shift * i, axis=1)
            Image.fromarray(moved).save(fold / "validation" / f"{case}.png")
        (fold / "validation" / "summary.json").write_text("{}")
        return fold


def square(side: int) -> np.ndarray:
    mask = np.zeros((60, 50), np.uint8)
    mask[20 : 20 + side, 5 : 5 + side] = 1
    return mask


@pytest.fixture
def trained(tmp_path, monkeypatch) -> TrainedFold:
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, str(tmp_path / name))
    fold = TrainedFold(tmp_path)
    fold.lay_out()
    return fold


@pytest.fixture
def report(run, tmp_path):
    """report(options): the text of the report of nnUNetTrainerVMUNet's fold 0."""

    def report(*options) -> str:
        outcome = run("report", "-d", "907", "-f", "0", "-o", tmp_path / "report.html", "-np", "1", *options)
        assert outcome.code == 0, outcome.err
        return (tmp_path / "report.html").read_text(encoding="utf-8")

    return report


class Outline(HTMLParser):
    """The headings, and what a browser would load from elsewhere; a wrong nesting fails."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "img"):
            self.open.append(tag)
        self.loaded += [value[:40] for name, value in attributes if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("h1", "h2"):
            self.headings.append(data)


def outline(text: str) -> Outline:
    found = Outline()
    found.feed(text)
    assert not found.open
    return found


def test_everything_is_in_one_file(trained, report, tmp_path):
    trained.validate("nnUNetTrainerVMUNet", shift=1)
    text = report()
    found = outline(text)
    assert found.headings == [
        f"{DATASET}, fold 0",
        "Validation",
        "Worst and median cases",
        "Compared with other models of this fold",
        "Training",
        "Data and split",
        "Plans",
        "Written with",
    ]
    assert len(found.loaded) == 1 + 6 + 1  # box plots, cases, curves
    assert all(source.startswith("data:image/") for source in found.loaded)
    assert (tmp_path / "report.html").stat().st_size < 10e6
    assert list(tmp_path.glob(".*")) == []


def test_figures_are_those_of_evaluate_labels(trained, report, run, tmp_path):
    trained.validate("nnUNetTrainerVMUNet", shift=1)
    text = report()
    run("evaluate", "labels", "-d", "907", "-f", "0", "-o", tmp_path / "metrics", "-np", "1")
    found = json.loads((tmp_path / "metrics" / "metrics.json").read_text())["mean_over_cases"]["labels"]["each"][
        "lesion"
    ]
    dice = found["dice"]
    assert f"<td>{100 * dice['value']:.2f}</td><td>{100 * dice['low']:.1f}-{100 * dice['high']:.1f}</td>" in text


def test_the_worst_cases_come_first_and_the_middle_is_shown(trained, report):
    trained.validate("nnUNetTrainerVMUNet", shift=1)
    captions = re.findall(r"<figcaption>(patient\d\d): (\w+), mean Dice ([\d.]+)</figcaption>", report())
    # The squares grow by a pixel from case to case as the shift does: the share that is missed grows too.
    assert [name for name, rank, _ in captions if rank == "worst"] == CASES[:-5:-1]
    assert [name for name, rank, _ in captions if rank == "median"] == ["patient03", "patient02"]
    dice = [float(value) for _, _, value in captions]
    assert dice == sorted(dice)


def test_training_data_and_plans_are_told(trained, report):
    trained.validate("nnUNetTrainerVMUNet", shift=1)
    text = report()
    for name, value in {
        "epochs": "3",
        "minutes": "3, of the epochs",
        "seed": "7",
        "weights at the start": "random weights",
        "torch": "2.14",
        "release": "ISIC 2018",
        "labels": "lesion (1)",
        "median size": "1 x 61 x 50",
        "patch": "32 x 32",
        "image reader": "WholeImage2DIO",
    }.items():
        assert f"<td>{name}</td><td>{value}</td>" in text
    assert "Fold 0: 2 training cases, 8 for validation." in text
    assert re.search(r"<td>weights: SHA-256</td><td>[0-9a-f]{64}</td>", text)
    assert "<td>GPU</td>" not in text


def test_another_trainers_fold_is_compared(trained, report):
    trained.validate("nnUNetTrainerVMUNet", shift=1)
    trained.validate("nnUNetTrainer", shift=3)
    text = report()
    assert "lesion, Dice: nnUNetTrainerVMUNet is better than nnUNetTrainer by" in text
    assert len(outline(text).loaded) == 9


def test_another_fold_that_does_not_fit_is_left_out(trained, report):
    trained.validate("nnUNetTrainerVMUNet", shift=1)
    other = trained.validate("nnUNetTrainer", shift=3)
    (other / "validation" / f"{CASES[0]}.png").unlink()
    text = report()
    assert "nnUNetTrainer__nnUNetPlans__2d is left out: " in text
    assert len(outline(text).loaded) == 8


def test_what_is_gone_is_said(trained, report, monkeypatch):
    trained.validate("nnUNetTrainerVMUNet", shift=1, with_checkpoint=False)
    monkeypatch.delenv("nnUNet_raw")
    text = report()
    assert "Not drawn: nnUNet_raw is not set" in text
    assert "No final checkpoint: there are no curves and no weights." in text


def test_names_cannot_become_html(trained, report):
    fold = trained.validate("nnUNetTrainerVMUNet", shift=1)
    file = fold.parent / "dataset.json"
    content = json.loads(file.read_text())
    content |= {"labels": {"background": 0, "<b>lesion & more</b>": 1}, "description": "<script>alert(1)</script>"}
    file.write_text(json.dumps(content))
    text = report()
    assert "<script>" not in text
    assert "&lt;b&gt;lesion &amp; more&lt;/b&gt;" in text


def test_refusals(trained, refused, run, tmp_path):
    options = ("report", "-d", "907", "-f", "0", "-np", "1")
    assert "no trained model of that dataset" in refused(*options, "-o", tmp_path / "report.html")
    trained.validate("nnUNetTrainerVMUNet", shift=1)
    assert "ends in .html" in refused(*options, "-o", tmp_path / "report")
    assert run(*options, "-o", tmp_path / "report.html").code == 0
    assert "give --overwrite" in refused(*options, "-o", tmp_path / "report.html")
    assert run(*options, "-o", tmp_path / "report.html", "--overwrite").code == 0
