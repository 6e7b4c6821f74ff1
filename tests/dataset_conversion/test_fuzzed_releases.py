"""Releases as accidents leave them: every one converts into a valid dataset, or is refused in one clear line.

A failure names its seed and what happened to the release; `FUZZED_RELEASES=2000` in the environment tries more.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from converters import CONVERTERS, Converter, contents
from nnunetv2.experiment_planning.verify_dataset_integrity import check_cases, verify_labels
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets
from PIL import Image

from nnunet_vmunet.image_io import WholeImage2DIO

SEEDS = range(int(os.environ.get("FUZZED_RELEASES", 200)))
QUICK = 24  # of these, the others are slow tests
READERS = {".png": WholeImage2DIO, ".nii.gz": SimpleITKIO}


class Accidents:
    """Each does something to one file or folder below `root` and returns what it did."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root, self.random = root, random.Random(seed)

    def happen(self) -> list[str]:
        kinds = (self.removed, self.truncated, self.renamed, self.swapped, self.emptied)
        return [self.random.choice(kinds)() for _ in range(self.random.randint(1, 4)) if any(self.root.iterdir())]

    def removed(self) -> str:
        path = self._any()
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        return f"removed {self._name(path)}"

    def truncated(self) -> str:
        files = self._files()
        if not files:
            return "truncated nothing"
        path = self.random.choice(files)
        size = self.random.randrange(max(path.stat().st_size, 1))
        os.truncate(path, size)
        return f"truncated {self._name(path)} to {size} bytes"

    def emptied(self) -> str:
        path = self._any()
        if path.is_dir():
            shutil.rmtree(path)
            path.mkdir()
        else:
            os.truncate(path, 0)
        return f"emptied {self._name(path)}"

    def renamed(self) -> str:
        path, other = self._any(), self._any()
        names = [
            f"{path.stem} (1){path.suffix}",
            f"{path.stem}.JPEG",
            path.name.upper(),
            path.name.replace("0", "7", 1),
            path.name.replace("1", "2"),
            f".{path.name}",
            f"{path.name}\n",
            other.name,
            path.stem,
            "img",
            "label",
            "train",
            "ISIC_0000001.png",
            "case0001_slice000.npz",
        ]
        target = path.with_name(self.random.choice(names))
        if not target.exists():
            path.rename(target)
        return f"renamed {self._name(path)} to {target.name!r}"

    def swapped(self) -> str:
        """The names of two files or folders, wherever they lie."""
        one, other = self._any(), self._any()
        if one not in (other, *other.parents) and other not in one.parents:
            aside = self.root / "aside"
            one.rename(aside)
            other.rename(one)
            aside.rename(other)
        return f"swapped {self._name(one)} and {self._name(other)}"

    def _any(self) -> Path:
        """Files and folders alike, though there are fewer folders."""
        folders = [path for path in sorted(self.root.rglob("*")) if path.is_dir()]
        files = self._files()
        return self.random.choice(files if files and self.random.random() < 0.7 else folders or files)

    def _files(self) -> list[Path]:
        return [path for path in sorted(self.root.rglob("*")) if path.is_file()]

    def _name(self, path: Path) -> str:
        return repr(str(path.relative_to(self.root)))


def assert_valid_photographs(folder: Path) -> None:
    assert len(list(folder.iterdir())) >= 1
    for file in folder.iterdir():
        assert file.name.endswith("_0000.png")
        with Image.open(file) as image:
            image.load()
            assert image.mode == "RGB"


def assert_valid_dataset(folder: Path) -> None:
    """As nnUNetv2_plan_and_preprocess --verify_dataset_integrity does, without its processes."""
    description = json.loads((folder / "dataset.json").read_text())
    reader, labels = READERS[description["file_ending"]], list(description["labels"].values())
    cases = get_filenames_of_train_images_and_targets(str(folder), description)
    assert len(cases) == description["numTraining"] > 0
    assert len(list((folder / "labelsTr").iterdir())) == len(cases)
    channels = len(description["channel_names"])
    for case in cases.values():
        assert verify_labels(case["label"], reader, labels)
        assert check_cases(case["images"], case["label"], channels, reader)
    (fold,) = json.loads((folder / "splits_final.json").read_text())
    assert sorted(fold["train"] + fold["val"]) == sorted(cases)
    for test in (folder / "labelsTs").glob("*"):
        size = np.shape(Image.open(test))
        assert size == np.shape(Image.open(folder / "imagesTs" / f"{test.stem}_0000.png"))[:2]


@pytest.fixture
def converted(run, raw, tmp_path):
    """Convert a release after accidents and assert that the outcome is one of the two; returns the exit code."""

    def converted(converter: Converter, seed: int) -> int:
        release = tmp_path / "release"
        release.mkdir()
        converter.lay_out(release, 4)
        accidents = Accidents(release, seed).happen()
        if seed % 2:
            (raw / converter.folder).mkdir()
            (raw / converter.folder / "earlier_0000.png").write_text("earlier")
        before = contents(raw)
        outcome = run(*converter.command(release, raw, "--overwrite", num_processes=2 if seed % 40 == 0 else 1))
        try:
            if outcome.code == 0:
                assert outcome.err == ""
                assert [f.name for f in raw.iterdir()] == [converter.folder]
                check = assert_valid_photographs if converter.name == "images" else assert_valid_dataset
                check(raw / converter.folder)
            else:
                assert outcome.code == 2
                assert outcome.err.startswith("nnunet-vmunet: error: ")
                assert outcome.err.count("\n") == 1
                assert contents(raw) == before
                assert not list(raw.glob(".*"))
        except Exception as error:
            raise AssertionError(f"seed {seed}, {converter.name}: {'; '.join(accidents)}: {outcome}") from error
        return outcome.code

    return converted


@pytest.mark.parametrize("seed", [pytest.param(seed, marks=() if seed < QUICK else pytest.mark.slow) for seed in SEEDS])
def test_a_release_after_accidents(converted, seed):
    converted(list(CONVERTERS.values())[seed % len(CONVERTERS)], seed)
