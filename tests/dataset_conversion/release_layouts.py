"""Writes releases as users have them: seeded photographs and masks in the official folders, or in the archive's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

PARTS = {
    (2017, "Training"): ("ISIC-2017_Training_Data", "ISIC-2017_Training_Part1_GroundTruth"),
    (2017, "Validation"): ("ISIC-2017_Validation_Data", "ISIC-2017_Validation_Part1_GroundTruth"),
    (2017, "Test"): ("ISIC-2017_Test_v2_Data", "ISIC-2017_Test_v2_Part1_GroundTruth"),
    (2018, "Training"): ("ISIC2018_Task1-2_Training_Input", "ISIC2018_Task1_Training_GroundTruth"),
    (2018, "Validation"): ("ISIC2018_Task1-2_Validation_Input", "ISIC2018_Task1_Validation_GroundTruth"),
    (2018, "Test"): ("ISIC2018_Task1-2_Test_Input", "ISIC2018_Task1_Test_GroundTruth"),
}


@dataclass
class Pictures:
    """Seeded photographs and masks; `size` is (width, height)."""

    size: tuple[int, int] = (60, 45)

    def photograph(self, seed: int) -> Image.Image:
        coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        return Image.fromarray(coarse).resize(self.size, Image.Resampling.BICUBIC)

    def mask(self, seed: int) -> Image.Image:
        width, height = self.size
        row, column = np.mgrid[:height, :width]
        radius = height / (3 + seed % 3)
        return Image.fromarray(255 * np.uint8((row - height / 2) ** 2 + (column - width / 2) ** 2 < radius**2))

    def save(self, name: str, seed: int, images: Path, masks: Path, image_suffix: str, mask_ending: str) -> None:
        self.photograph(seed).save(images / f"{name}{image_suffix}")
        self.mask(seed).save(masks / f"{name}{mask_ending}")


@dataclass
class Releases:
    """Writes releases below `root`: official folders, or the archive's train/ and val/."""

    root: Path

    def official(self, year=2018, *, training=3, validation=0, test=0, pictures: Pictures | None = None) -> Path:
        seed = 0
        for part, count in (("Training", training), ("Validation", validation), ("Test", test)):
            if count:
                images, masks = (self._folder(name) for name in PARTS[year, part])
            for _ in range(count):
                (pictures or Pictures()).save(f"ISIC_{seed:07d}", seed, images, masks, ".jpg", "_segmentation.png")
                seed += 1
        return self.root

    def archive(self, *, train=2, val=1, pictures: Pictures | None = None) -> Path:
        for part, seeds in (("train", range(train)), ("val", range(train, train + val))):
            images, masks = self._folder(f"{part}/images"), self._folder(f"{part}/masks")
            for seed in seeds:
                (pictures or Pictures()).save(f"ISIC_{seed:07d}", seed, images, masks, ".png", ".png")
        return self.root

    def part(self, part: str, year=2018) -> tuple[Path, Path]:
        images, masks = PARTS[year, part]
        return self.root / images, self.root / masks

    def _folder(self, name: str) -> Path:
        (self.root / name).mkdir(parents=True, exist_ok=True)
        return self.root / name
