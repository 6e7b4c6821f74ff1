"""What is written: the picture of a case, with title and legend, and contact sheets of all cases, the worst first."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text

from ..dataset_json import Labels
from .agreement import dice, mean_dice
from .panels import (
    DASHED,
    FONT,
    MARGIN,
    PALETTE,
    SOLID,
    draw_slice,
    fitted,
    label_colours,
    label_numbers,
    lay_out,
    new_figure,
    number_labels,
    rendered,
    shadow,
    show,
)
from .stacks import Stack

TITLE, CAPTION = 22, 22  # heights of lines, in pixels
LINE_WIDTH, THUMBNAIL_LINE_WIDTH = 1.6, 1.2
GREY = "#555555"

# (height, width) in pixels that a photograph, a volume's slice and a thumbnail fit in.
PHOTOGRAPH, SLICE, THUMBNAIL = (900, 960), (560, 560), (200, 240)
ENLARGED = 480  # pixels that the longer side of a smaller image is enlarged to
NARROWEST = 466  # pixels that titles and legends fit
COLUMNS = 4  # of slices
SHEET_COLUMNS, SHEET_ROWS = 5, 5


@dataclass(frozen=True)
class Thumbnail:
    name: str
    pixels: np.ndarray  # (h, w, 3) uint8
    dice: float | None = None  # a fraction of 1, NaN where it is undefined; None without reference


def case_picture(name: str, stack: Stack, chosen: list[int], labels: Labels, counts: np.ndarray) -> Figure:
    """Title, the chosen slices, legend. counts: (n, labels, 3) as of `agreement.areas`, of the whole case."""
    size = fitted(stack.image.shape[1:3], stack.pixel_size, SLICE if stack.plane else PHOTOGRAPH, ENLARGED)
    columns = min(COLUMNS, len(chosen))
    inner = max(NARROWEST, columns * (size[1] + MARGIN) - MARGIN)
    has_reference = stack.reference is not None
    figure = new_figure()
    has_ignored = any(stack.ignored(index) is not None for index in chosen)
    legend = _legend(figure, _entries(labels, counts, chosen, has_reference, has_ignored), inner)
    all_axes = lay_out(
        figure,
        len(chosen),
        size,
        columns=columns,
        inner=inner,
        above=2 * MARGIN + TITLE,
        caption=CAPTION if stack.plane else 0,
        below=math.ceil(legend.get_window_extent().height) + MARGIN // 2,
    )
    for axes, index in zip(all_axes, chosen, strict=True):
        if stack.plane:
            caption = f"{stack.plane.name} {index + 1} of {len(stack.image)}"
            axes.set_title(caption, loc="left", y=1, pad=5, color=GREY, fontsize=FONT - 1)
        draw_slice(axes, stack, index, labels, size, LINE_WIDTH)
        number_labels(axes, stack, index, labels, size)
    height, score = figure.bbox.height - MARGIN, ""
    if has_reference:
        score = f"{'mean ' if len(labels) > 1 else ''}Dice {_dice_text(mean_dice(dice(counts)))}"
    left = figure.text(MARGIN, height, name, transform=None, fontsize=FONT + 3, va="top", parse_math=False)
    right = figure.text(MARGIN + inner, height, score, transform=None, fontsize=FONT + 3, ha="right", va="top")
    _shorten(left, inner - right.get_window_extent().width - MARGIN)
    return figure


def thumbnail_pixels(stack: Stack, index: int, labels: Labels) -> np.ndarray:
    """(h, w, 3) uint8: a slice alone, small enough for a contact sheet."""
    return slice_pixels(stack, index, labels, THUMBNAIL, THUMBNAIL_LINE_WIDTH)


def slice_pixels(
    stack: Stack, index: int, labels: Labels, box: tuple[int, int], line_width: float = LINE_WIDTH
) -> np.ndarray:
    """(h, w, 3) uint8: a slice alone, with the contours of all labels, in at most `box` = (height, width) pixels."""
    figure, size = new_figure(), fitted(stack.image.shape[1:3], stack.pixel_size, box, ENLARGED)
    (axes,) = lay_out(figure, 1, size, margin=0)
    draw_slice(axes, stack, index, labels, size, line_width)
    return rendered(figure)


def worst_first(thumbnails: list[Thumbnail]) -> list[Thumbnail]:
    """Sort by Dice, the undefined last, and by name among equals and where there is no reference."""

    def key(thumbnail: Thumbnail) -> tuple[bool, float, str]:
        dice = thumbnail.dice or 0.0
        return math.isnan(dice), 0.0 if math.isnan(dice) else dice, thumbnail.name

    return sorted(thumbnails, key=key)


def contact_sheets(thumbnails: list[Thumbnail], title: str) -> Iterator[tuple[str, Figure]]:
    """Pages by the name of their file; `thumbnails` in the order to show them."""
    per_page = SHEET_COLUMNS * SHEET_ROWS
    pages = [thumbnails[start : start + per_page] for start in range(0, len(thumbnails), per_page)]
    digits = len(str(len(pages)))
    for i, page in enumerate(pages, start=1):
        number, of = (f"_{i:0{digits}d}", f", page {i} of {len(pages)}") if len(pages) > 1 else ("", "")
        yield f"contact_sheet{number}.png", _page(page, title + of)


def _page(thumbnails: list[Thumbnail], title: str) -> Figure:
    # Few thumbnails make a compact page, not a strip.
    columns = min(SHEET_COLUMNS, len(thumbnails), max(3, math.ceil(len(thumbnails) ** 0.5)))
    figure, width = new_figure(), THUMBNAIL[1]
    heading = figure.text(MARGIN, 0, title, transform=None, color=GREY, fontsize=FONT, va="top")
    all_axes = lay_out(
        figure,
        len(thumbnails),
        (max(len(thumbnail.pixels) for thumbnail in thumbnails), width),
        columns=columns,
        inner=math.ceil(heading.get_window_extent().width),
        above=MARGIN + TITLE,
        caption=CAPTION,
    )
    heading.set_y(figure.bbox.height - MARGIN)
    for axes, thumbnail in zip(all_axes, thumbnails, strict=True):
        show(axes, thumbnail.pixels, left=(width - thumbnail.pixels.shape[1]) // 2)
        score = "" if thumbnail.dice is None else _dice_text(thumbnail.dice)
        right = axes.set_title(score, loc="right", y=1, pad=6, fontsize=FONT - 1, weight="bold")
        left = axes.set_title(thumbnail.name, loc="left", y=1, pad=6, fontsize=FONT - 1, parse_math=False)
        _shorten(left, width - right.get_window_extent().width - MARGIN)
    return figure


def _shorten(text: Text, width: float) -> None:
    """Leave out the middle of a text that is wider than `width` pixels."""
    whole = text.get_text()
    kept = len(whole)
    while kept > 2 and text.get_window_extent().width > width:
        kept -= 1
        text.set_text(f"{whole[: (kept + 1) // 2]}…{whole[len(whole) - kept // 2 :]}")


def _entries(
    labels: Labels, counts: np.ndarray, chosen: list[int], with_reference: bool, with_ignored: bool
) -> list[tuple[str, Artist]]:
    """The legend: prediction and reference; of several labels those that the case has, with their Dice.

    Where these are more than colours tell apart, each has its number, and those alone are listed that can be seen.
    """
    solid, dashed = (label_colours(labels, kind)[0] if len(labels) == 1 else GREY for kind in (False, True))
    kinds: list[tuple[str, Artist]] = [("prediction", _line(solid)), ("reference", _line(dashed, DASHED))]
    if with_ignored:
        kinds.append(("ignored", Patch(facecolor="#999999", edgecolor="white", hatch="////")))
    if len(labels) == 1:
        return kinds if with_reference else kinds[:1]
    entries = kinds if with_reference else []
    there = np.flatnonzero(counts.any(axis=(0, 2)))
    listed = there if len(there) <= len(PALETTE) else np.flatnonzero(counts[chosen].any(axis=(0, 2)))
    names, colours, numbers = list(labels), label_colours(labels, False), label_numbers(labels)
    scores = dice(counts)
    for i in listed:
        number = f"{numbers[i]}  " if numbers else ""
        score = f": {_dice_text(scores[i])}" if with_reference else ""
        entries.append((f"{number}{names[i]}{score}", _line(colours[i])))
    if len(listed) < len(there):
        entries.append((f"{len(there) - len(listed)} more in other slices", _line("none")))
    return entries


def _line(colour: str, style=SOLID) -> Line2D:
    width = LINE_WIDTH + 1
    if colour == "none":
        return Line2D([], [], linestyle="none")
    return Line2D([], [], color=colour, linewidth=width, linestyle=style, path_effects=shadow(width + 1.2))


def _legend(figure: Figure, entries: list[tuple[str, Artist]], inner: int, columns: int = 1) -> Legend:
    """Draw the legend in the lower left corner, in as many columns as fit into `inner` pixels."""
    legend = figure.legend(
        [line for _, line in entries],
        [str(i) for i in range(len(entries))],
        loc="lower left",
        bbox_to_anchor=(MARGIN / figure.dpi, MARGIN / 2 / figure.dpi),
        bbox_transform=figure.dpi_scale_trans,
        ncols=columns,
        fontsize=FONT,
        frameon=False,
        borderpad=0,
        borderaxespad=0,
    )
    for text, (label, _) in zip(legend.get_texts(), entries, strict=True):
        text.set(text=label, parse_math=False)  # a label may be called _x or $x$
    fitting = min(len(entries), int(inner // max(1, legend.get_window_extent().width)))
    if columns > 1 or fitting < 2:
        return legend
    legend.remove()
    return _legend(figure, entries, inner, fitting)


def _dice_text(dice: float) -> str:
    """Three decimals; a dash where it is undefined because both masks are empty."""
    return "-" if math.isnan(dice) else f"{dice:.3f}"
