"""What the page shows of one image: a slice with its contours, and the mask as a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..dataset_json import Labels
from ..evaluation.label_images import Coding
from ..overlay.cases import Case
from ..overlay.panels import label_colours
from ..overlay.pictures import slice_pixels
from ..overlay.stacks import Stack, read_stack
from ..prediction.model import Model
from ..prediction.predict import mask_name

SIZE = (720, 960)  # (height, width) in pixels that a slice fits in


@dataclass(frozen=True)
class View:
    """One image and its mask, ready to be drawn.

    mask: the file. found: the share of all pixels that each label has, by its name.
    """

    stack: Stack
    labels: Labels
    mask: Path
    found: dict[str, float]
    note: str | None = None

    @property
    def slices(self) -> int:
        return len(self.stack.prediction)

    @property
    def fullest(self) -> int:
        """The slice that shows most."""
        return int((self.stack.prediction > 0).reshape(self.slices, -1).sum(axis=1).argmax())

    def pixels(self, index: int) -> np.ndarray:
        """(h, w, 3) uint8: a slice with the contours of all labels."""
        return slice_pixels(self.stack, index, self.labels, SIZE)


def segmented(model: Model, image: Path, folder: Path) -> View:
    """Predict an image, and write its mask into a folder.

    Raises:
        InputError: the image cannot be read, or is none that the model takes.
    """
    result = model.predict(image)
    mask = folder / mask_name(model, image)
    result.save(mask)
    labels = model.labels
    coding = Coding(labels, model.description.ignore_label)
    stack = read_stack(Case(image.name, (image,), mask, None), coding, is_ct=model.description.is_ct)
    found = {name: float(np.isin(result.mask, values).mean()) for name, values in labels.items()}
    return View(stack, labels, mask, found, result.note)


def legend(labels: Labels) -> str:
    """HTML: a line of each label's colour."""
    from html import escape

    lines = zip(labels, label_colours(labels, dashed=False), strict=True)
    return " &nbsp; ".join(f'<span style="color:{colour}">━</span> {escape(name)}' for name, colour in lines)
