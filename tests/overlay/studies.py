"""Images, predictions and references in three folders."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image

from nnunet_vmunet.overlay.cases import given_source
from nnunet_vmunet.overlay.draw import draw_cases
from nnunet_vmunet.overlay.pictures import Thumbnail

RAS_MM = np.eye(4)


class Study:
    def __init__(self, root: Path) -> None:
        self.images, self.predictions, self.references = (root / name for name in ("images", "masks", "truth"))
        for folder in (self.images, self.predictions, self.references):
            folder.mkdir()
        self.output = root / "overlay"
        self.options = ("-i", self.images, "-p", self.predictions, "-o", self.output, "-np", 1)

    def photograph(self, name: str, prediction, reference=None, image: str | np.ndarray = "NAME.jpg") -> None:
        """Masks of 0 and 1; the reference is written as the ISIC archive does. image: its name, or its pixels."""
        if isinstance(image, str):
            height, width = np.shape(prediction)
            Image.new("RGB", (width, height), (120, 120, 120)).save(self.images / image.replace("NAME", name))
        else:
            Image.fromarray(image).save(self.images / f"{name}.png")
        write_mask(self.predictions / f"{name}.png", prediction)
        if reference is not None:
            write_mask(self.references / f"{name}_segmentation.png", 255 * np.asarray(reference))

    def volume(self, name: str, prediction, reference=None, image=None, affine=RAS_MM) -> None:
        """(x, y, z) arrays; `affine` as in NIfTI: to mm towards right, anterior, superior."""
        image = np.zeros(np.shape(prediction), np.int16) if image is None else image
        write_volume(self.images / f"{name}_0000.nii.gz", image, affine)
        write_volume(self.predictions / f"{name}.nii.gz", prediction, affine)
        if reference is not None:
            write_volume(self.references / f"{name}.nii.gz", reference, affine)

    def dataset_json(self, **content) -> None:
        """Beside the predictions, where nnUNetv2_predict puts it."""
        (self.predictions / "dataset.json").write_text(json.dumps(content))

    def draw(self, *, with_references: bool = True, **settings) -> list[Thumbnail]:
        """Thumbnails in the order of the contact sheet; the pictures lie in `output`."""
        source = given_source(self.images, self.predictions, self.references if with_references else None)
        return draw_cases(source, self.output, num_processes=1, **settings)

    def picture(self, name: str) -> np.ndarray:
        return np.asarray(Image.open(self.output / f"{name}.png"))


def write_mask(path: Path, labels) -> None:
    Image.fromarray(np.asarray(labels, np.uint8)).save(path)


def write_volume(path: Path, values, affine=RAS_MM) -> None:
    values = np.asarray(values)
    nib.save(nib.Nifti1Image(values.astype(np.uint8) if values.dtype == bool else values, affine), path)
