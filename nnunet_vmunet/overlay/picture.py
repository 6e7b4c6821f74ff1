"""The picture of a case: title, panels side by side, legend."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from . import agreement
from .canvas import FONT, Canvas, shortened, text_width
from .labels import Labels
from .panels import Panel, colours

MARGIN, TITLE, CAPTION, LEGEND = 14, 22, 22, 26  # pixels; the last three are heights of lines
TITLE_FONT = FONT + 3
SAMPLE, GAP = 30, 8  # pixels: of line beside a name in the legend, and between line and name
NARROWEST = 480  # that titles and legends fit
COLUMNS = 4  # of panels
LINE_WIDTH = 1.6
INK, GREY = "#111111", "#555555"


@dataclass(frozen=True)
class Entry:
    """Of the legend: a line and what it is."""

    text: str
    colour: str
    dashed: bool

    @property
    def width(self) -> float:
        return SAMPLE + GAP + text_width(self.text) + 2 * MARGIN


def picture(name: str, panels: list[Panel], labels: Labels, counts: np.ndarray, with_reference: bool) -> np.ndarray:
    """(h, w, 3) uint8. panels: of one size. counts: (n, labels, 3) as of `agreement.areas`, over the whole case."""
    height, width = panels[0].size
    caption = CAPTION if panels[0].caption else 0
    columns, rows = min(COLUMNS, len(panels)), -(-len(panels) // COLUMNS)
    inner = max(NARROWEST, columns * (width + MARGIN)) - MARGIN
    top = 2 * MARGIN + TITLE
    bottom = top + rows * (caption + height + MARGIN)
    entries = _flow(legend(labels, counts, with_reference), inner)
    canvas = Canvas(inner + 2 * MARGIN, bottom + len(entries) * LEGEND + MARGIN // 2)
    _draw_title(canvas, name, dice_title(labels, counts) if with_reference else "", inner)
    for i, panel in enumerate(panels):
        x, y = MARGIN + i % COLUMNS * (width + MARGIN), top + i // COLUMNS * (caption + height + MARGIN)
        canvas.text(x, y + caption / 2, panel.caption, GREY, size=FONT - 1)
        panel.draw(canvas, x, y + caption, LINE_WIDTH)
    for i, row in enumerate(entries):
        _draw_legend(canvas, row, bottom + (i + 0.5) * LEGEND)
    return canvas.pixels()


def dice_title(labels: Labels, counts: np.ndarray) -> str:
    return f"{'mean ' if len(labels) > 1 else ''}Dice {dice_text(agreement.mean_dice(agreement.dice(counts)))}"


def dice_text(dice: float) -> str:
    """Three decimals; a dash where it is undefined because both masks are empty."""
    return "-" if math.isnan(dice) else f"{dice:.3f}"


def legend(labels: Labels, counts: np.ndarray, with_reference: bool) -> list[Entry]:
    """Prediction and reference; where there are several labels, those of the case with their Dice."""
    solid, dashed = (GREY, GREY) if len(labels) > 1 else (colours(labels, False)[0], colours(labels, True)[0])
    kinds = [Entry("prediction", solid, False), Entry("reference", dashed, True)][: 2 if with_reference else 1]
    if len(labels) == 1:
        return kinds
    entries = kinds if with_reference else []
    for i in np.flatnonzero(counts.any(axis=(0, 2))):
        dice = f": {dice_text(agreement.dice(counts)[i])}" if with_reference else ""
        entries.append(Entry(f"{list(labels)[i]}{dice}", colours(labels, False)[i], False))
    return entries


def _draw_title(canvas: Canvas, name: str, dice: str, width: int) -> None:
    y = MARGIN + TITLE / 2
    name = shortened(name, width - text_width(dice, TITLE_FONT) - MARGIN, TITLE_FONT)
    canvas.text(MARGIN, y, name, INK, size=TITLE_FONT)
    canvas.text(MARGIN + width, y, dice, INK, size=TITLE_FONT, align="right")


def _flow(entries: list[Entry], width: int) -> list[list[Entry]]:
    """Entries in rows that are at most `width` pixels wide, where a single one is not wider."""
    rows: list[list[Entry]] = []
    used = math.inf
    for entry in entries:
        if used + entry.width > width:
            rows.append([])
            used = 0
        rows[-1].append(entry)
        used += entry.width
    return rows


def _draw_legend(canvas: Canvas, row: list[Entry], y: float) -> None:
    x: float = MARGIN
    for entry in row:
        canvas.lines(
            0, 0, [np.array([(x, y), (x + SAMPLE, y)])], entry.colour, width=LINE_WIDTH + 1, dashed=entry.dashed
        )
        canvas.text(x + SAMPLE + GAP, y, entry.text, INK)
        x += entry.width
