"""One slice or photograph with the contours of prediction and reference."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from .canvas import Canvas
from .contours import Line, contours
from .labels import Labels, where
from .stacks import Stack

# Okabe and Ito's seven colours, which colour-blind people tell apart, and then others that differ as far as they can.
PALETTE = (
    "#56b4e9",
    "#f0e442",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#0072b2",
    "#ee3377",
    "#44ddcc",
    "#ffbbcc",
    "#aaaa00",
    "#bbbbbb",
    "#aa77ff",
    "#ffffff",
)

# Where there is one label only: a brighter blue, which shows on skin too, and the palette's yellow.
PREDICTION, REFERENCE = "#00ccff", "#f0e442"


@dataclass(frozen=True)
class Outline:
    """Of one label: solid where predicted, dashed in the reference."""

    lines: list[Line]
    colour: str
    dashed: bool


@dataclass(frozen=True)
class Panel:
    pixels: np.ndarray  # (h, w, 3) uint8
    outlines: list[Outline]
    caption: str = ""
    left: str = ""  # what the left edge is
    top: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """Height, width."""
        return self.pixels.shape[:2]

    def draw(self, canvas: Canvas, x: int, y: int, line_width: float) -> None:
        canvas.image(x, y, self.pixels)
        for outline in self.outlines:
            canvas.lines(x, y, outline.lines, outline.colour, width=line_width, dashed=outline.dashed)
        height, width = self.size
        for letter, left, top in ((self.left, x + 10, y + height / 2), (self.top, x + width / 2, y + 12)):
            canvas.text(left, top, letter, "white", align="center", weight="bold", shadow=True)


def shrunk(panel: Panel, box: tuple[int, int]) -> Panel:
    """The same to fit into a smaller `box` = (height, width)."""
    size = fitted(panel.size, (1, 1), box)
    scale = np.divide(size, panel.size)[::-1]
    picture = Image.fromarray(panel.pixels).resize(size[::-1], Image.Resampling.LANCZOS)
    scaled = [replace(outline, lines=[line * scale for line in outline.lines]) for outline in panel.outlines]
    return replace(panel, pixels=np.asarray(picture), outlines=scaled)


def panel_of(stack: Stack, index: int, labels: Labels, box: tuple[int, int], smallest: int = 0) -> Panel:
    """Slice `index`, scaled to fit into `box` = (height, width) but enlarged only up to `smallest` pixels a side."""
    pixels = stack.pixels(index)
    size = fitted(pixels.shape[:2], stack.pixel_size, box, smallest)
    prediction, reference = stack.prediction[index], None if stack.reference is None else stack.reference[index]
    picture = Image.fromarray(pixels).resize(size[::-1], Image.Resampling.LANCZOS, reducing_gap=2)
    plane = stack.plane
    return Panel(
        np.asarray(picture),
        outlines(prediction, reference, labels, size),
        caption=f"{plane.name} {index + 1} of {len(stack.image)}" if plane else "",
        left=plane.left if plane else "",
        top=plane.top if plane else "",
    )


def fitted(
    shape: tuple[int, int], pixel_size: tuple[float, float], box: tuple[int, int], smallest: int = 0
) -> tuple[int, int]:
    """(height, width) to draw (rows, columns) in, with square pixels where `pixel_size` says that theirs are not."""
    extent = np.multiply(shape, pixel_size)
    natural = extent / min(pixel_size)
    enlarged = natural * max(1, smallest / natural.max())
    height, width = enlarged * min(1, *(box / enlarged))
    return max(1, round(height)), max(1, round(width))


def outlines(
    prediction: np.ndarray, reference: np.ndarray | None, labels: Labels, size: tuple[int, int]
) -> list[Outline]:
    """Of all labels; the reference's lie on top, and their gaps show the prediction's."""
    found = []
    for mask, dashed in ((prediction, False), (reference, True)):
        if mask is None:
            continue
        for values, colour in zip(labels.values(), colours(labels, dashed), strict=True):
            found.append(Outline(contours(where(mask, values), size), colour, dashed))
    return found


def colours(labels: Labels, dashed: bool) -> list[str]:
    """One for each label; where there is one label only, one each for prediction and reference (dashed)."""
    if len(labels) == 1:
        return [REFERENCE if dashed else PREDICTION]
    return [PALETTE[i % len(PALETTE)] for i in range(len(labels))]
