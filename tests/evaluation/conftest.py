"""Runs the command line in-process, on folders of label images that the test writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image


class Pairs:
    """Predictions and references in two folders."""

    def __init__(self, root: Path) -> None:
        self.predictions, self.references = root / "predictions", root / "references"
        self.options = ("-p", self.predictions, "-r", self.references, "-np", 1)

    def dataset_json(self, **content) -> None:
        """Beside the predictions, where nnUNetv2_predict puts it."""
        self.predictions.mkdir(parents=True, exist_ok=True)
        (self.predictions / "dataset.json").write_text(json.dumps(content))

    def add(self, name: str, prediction, reference, **settings) -> None:
        """The name's ending says which kind of file; None writes none."""
        for folder, labels in ((self.predictions, prediction), (self.references, reference)):
            folder.mkdir(parents=True, exist_ok=True)
            if labels is not None:
                write_labels(folder / name, labels, **settings)


def write_labels(path: Path, labels, spacing_zyx: tuple[float, ...] = (1, 1, 1)) -> None:
    labels = np.asarray(labels)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in (".png", ".bmp", ".tif"):
        Image.fromarray(labels.astype(np.uint8)).save(path)
    else:
        image = sitk.GetImageFromArray(labels)
        image.SetSpacing(spacing_zyx[::-1])
        sitk.WriteImage(image, str(path))


@pytest.fixture
def pairs(tmp_path) -> Pairs:
    return Pairs(tmp_path)


class TrainedFold:
    """A model's and its dataset's files, where nnU-Net puts them and under its names."""

    def __init__(
        self,
        root: Path,
        dataset: str,
        file_ending: str,
        labels: dict,
        model: str = "nnUNetTrainerVMUNet__nnUNetPlans__2d",
        fold: int | str = 0,
        **more_of_dataset_json,
    ) -> None:
        self.model = root / "results" / dataset / model
        self.validation = self.model / f"fold_{fold}" / "validation"
        self.preprocessed = root / "preprocessed" / dataset
        self.references = self.preprocessed / "gt_segmentations"
        for folder in (self.validation, self.references):
            folder.mkdir(parents=True, exist_ok=True)
        content = {"labels": labels, "file_ending": file_ending, "channel_names": {"0": "noNorm"}, "numTraining": 3}
        content |= more_of_dataset_json
        (self.model / "dataset.json").write_text(json.dumps(content))
        (self.model / "plans.json").write_text("{}")
        (self.validation / "summary.json").write_text("{}")
        self.ending = file_ending

    def add(self, name: str, prediction, reference) -> None:
        if prediction is not None:
            write_labels(self.validation / f"{name}{self.ending}", prediction)
        write_labels(self.references / f"{name}{self.ending}", reference)

    def debug(self, **attributes) -> None:
        """What nnU-Net's trainer says of itself, as text, when it trains."""
        (self.model / "fold_0" / "debug.json").write_text(json.dumps({k: str(v) for k, v in attributes.items()}))

    def split(self, *validation: str) -> None:
        (self.preprocessed / "splits_final.json").write_text(json.dumps([{"train": [], "val": validation}]))


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """trained("Dataset118_ISIC2018", ".png", {...}) lays out a trained fold in nnU-Net's folders."""
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "preprocessed"))
    return lambda *arguments, **more: TrainedFold(tmp_path, *arguments, **more)


@pytest.fixture
def brute_force():
    """hd95 by every pair of surface voxels, with none of the package's functions."""

    def surface(mask: np.ndarray) -> np.ndarray:
        padded = np.pad(mask, 1)
        inside = np.ones_like(padded)
        for axis in range(padded.ndim):
            for step in (-1, 1):
                inside &= np.roll(padded, step, axis)
        return np.argwhere(padded & ~inside)

    def hd95(a: np.ndarray, b: np.ndarray, spacing=(1, 1, 1)) -> float:
        a, b = surface(a) * np.array(spacing), surface(b) * np.array(spacing)
        between = np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))
        return float(np.percentile(np.concatenate([between.min(0), between.min(1)]), 95))

    return hd95
