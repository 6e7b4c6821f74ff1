"""All cases at a glance, the worst first."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .canvas import FONT, Canvas, shortened, text_width
from .picture import GREY, INK, MARGIN, dice_text

COLUMNS, ROWS = 5, 5  # on a page
CELL = (200, 240)  # height, width of the pixels that a thumbnail fits in
CAPTION = 26
TITLE = 34


@dataclass(frozen=True)
class Thumbnail:
    name: str
    pixels: np.ndarray  # (h, w, 3) uint8
    dice: float | None = None  # a fraction of 1, NaN where it is undefined; None without reference


def worst_first(thumbnails: list[Thumbnail]) -> list[Thumbnail]:
    """By Dice, the undefined last, and by name among equals and where there is no reference."""

    def key(thumbnail: Thumbnail) -> tuple[bool, float, str]:
        dice = thumbnail.dice or 0.0
        return math.isnan(dice), 0.0 if math.isnan(dice) else dice, thumbnail.name

    return sorted(thumbnails, key=key)


def contact_sheets(thumbnails: list[Thumbnail], title: str) -> dict[str, np.ndarray]:
    """Pages by the name of their file, (h, w, 3) uint8 each; `thumbnails` in the order to show them."""
    per_page = COLUMNS * ROWS
    pages = [thumbnails[start : start + per_page] for start in range(0, len(thumbnails), per_page)]
    digits = len(str(len(pages)))
    sheets = {}
    for i, page in enumerate(pages, start=1):
        number, of = (f"_{i:0{digits}d}", f", page {i} of {len(pages)}") if len(pages) > 1 else ("", "")
        sheets[f"contact_sheet{number}.png"] = _page(page, title + of)
    return sheets


def _page(thumbnails: list[Thumbnail], title: str) -> np.ndarray:
    # Few thumbnails make a compact page, not a strip.
    columns = min(COLUMNS, len(thumbnails), max(3, math.ceil(len(thumbnails) ** 0.5)))
    rows = -(-len(thumbnails) // columns)
    height, width = max(thumbnail.pixels.shape[0] for thumbnail in thumbnails), CELL[1]
    title_width = math.ceil(text_width(title))
    canvas = Canvas(
        max(columns * (width + MARGIN), title_width + MARGIN) + MARGIN, TITLE + rows * (height + CAPTION + MARGIN // 2)
    )
    canvas.text(MARGIN, TITLE / 2, title, GREY)
    for i, thumbnail in enumerate(thumbnails):
        x = MARGIN + i % columns * (width + MARGIN)
        y = TITLE + i // columns * (height + CAPTION + MARGIN // 2)
        _draw(canvas, thumbnail, x, y)
    return canvas.pixels()


def _draw(canvas: Canvas, thumbnail: Thumbnail, x: int, y: int) -> None:
    """The caption above, the thumbnail below it in the middle of its cell."""
    width = CELL[1]
    dice = "" if thumbnail.dice is None else dice_text(thumbnail.dice)
    name = shortened(thumbnail.name, width - text_width(dice, FONT - 1) - MARGIN, FONT - 1)
    left = x + (width - thumbnail.pixels.shape[1]) // 2
    canvas.text(x, y + CAPTION / 2, name, INK, size=FONT - 1)
    canvas.text(x + width, y + CAPTION / 2, dice, INK, size=FONT - 1, align="right", weight="bold")
    canvas.image(left, y + CAPTION, thumbnail.pixels)
