"""Writes Synapse as users have it: BTCV's RawData/Training, or TransUNet's train_npz and test_vol_h5."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

# Slices lie 3 mm apart, pixels 0.75 mm; x and y run backwards, as in BTCV's files.
AFFINE = np.array([[-0.75, 0, 0, 190.5], [0, -0.75, 0, 180.25], [0, 0, 3, -40], [0, 0, 0, 1]])


def intensities(number: int, shape) -> np.ndarray:
    """Hounsfield units, int16."""
    return np.random.default_rng(number).integers(-1024, 1500, shape).astype(np.int16)


def organs(number: int, shape, highest: int) -> np.ndarray:
    """Every value from 0 to `highest` is there where the volume has room for it."""
    labels = np.arange(np.prod(shape)) % (highest + 1)
    return np.random.default_rng(number).permutation(labels).reshape(shape).astype(np.uint8)


@dataclass
class SynapseReleases:
    """Writes releases below `root`; `numbers` are those of the cases."""

    root: Path

    def raw(self, numbers, shape=(6, 5, 4)) -> Path:
        for number in numbers:
            self.save(self.image(number), intensities(number, shape))
            self.save(self.label(number), organs(number, shape, 13))
        return self.root

    def save(self, file: Path, voxels: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
        file.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(voxels, affine), file)
        return file

    def image(self, number: int) -> Path:
        return self.training / "img" / f"img{number:04d}.nii.gz"

    def label(self, number: int) -> Path:
        return self.training / "label" / f"label{number:04d}.nii.gz"

    @property
    def training(self) -> Path:
        return self.root / "RawData" / "Training"

    def preprocessed(self, slice_counts: dict[int, int], test, *, shape=(5, 6)) -> Path:
        """Volumes of (d, *shape): those of `slice_counts` as slices, those of `test` with 4 slices as one file."""
        for number, count in slice_counts.items():
            image, label = self.volume(number, count, shape)
            for k in range(count):
                self.save_slice(self.slice(number, k), image[k], label[k])
        for number in test:
            self.save_volume(self.test_volume(number), *self.volume(number, 4, shape))
        return self.root

    def volume(self, number: int, count: int, shape=(5, 6)) -> tuple[np.ndarray, np.ndarray]:
        """The image clipped and scaled, and its labels as the floating-point numbers that TransUNet stored."""
        image = intensities(number, (count, *shape)).clip(-125, 275)
        return ((image + 125) / 400).astype(np.float32), organs(number, (count, *shape), 8).astype(np.float32)

    def save_slice(self, file: Path, image: np.ndarray, label: np.ndarray) -> Path:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, image=image, label=label)
        return file

    def save_volume(self, file: Path, image: np.ndarray, label: np.ndarray) -> Path:
        import h5py  # here, so that the other converters' tests do without

        file.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(file, "w") as stored:
            stored["image"], stored["label"] = image, label
        return file

    def slice(self, number: int, k: int) -> Path:
        return self.root / "Synapse" / "train_npz" / f"case{number:04d}_slice{k:03d}.npz"

    def test_volume(self, number: int) -> Path:
        return self.root / "Synapse" / "test_vol_h5" / f"case{number:04d}.npy.h5"

    def lists(self, train: str, test: str) -> None:
        folder = self.root / "lists" / "lists_Synapse"
        folder.mkdir(parents=True)
        (folder / "train.txt").write_text(train)
        (folder / "test_vol.txt").write_text(test)


def published_slice_counts(train_txt: Path) -> dict[int, int]:
    """From TransUNet's own list."""
    numbers = [int(number) for number in re.findall(r"case(\d+)_slice", train_txt.read_text())]
    return {number: numbers.count(number) for number in sorted(set(numbers))}
