"""Images with the contours of their masks, in rows and columns of a matplotlib figure."""

from __future__ import annotations

from colorsys import hls_to_rgb
from functools import cache
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure  # not pyplot: no display, no state
from matplotlib.patheffects import withStroke
from PIL import Image

from ..dataset_json import Labels
from ..evaluation.label_images import where
from .stacks import Stack

# Okabe and Ito's seven colours, which colour-blind people tell apart, and then others that differ as far as they can.
PALETTE = ["#56b4e9", "#f0e442", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#0072b2"]
PALETTE += ["#ee3377", "#44ddcc", "#ffbbcc", "#aaaa00", "#bbbbbb", "#aa77ff", "#ffffff"]

# Where there is one label only: a brighter blue, which shows on skin too, and the palette's yellow.
PREDICTION, REFERENCE = "#00ccff", "#f0e442"

FONT, MARGIN = 15, 14  # pixels
NUMBER_FONT = 10
HATCH_STEP, HATCH_WIDTH, HATCH_ALPHA = 9, 2, 110  # pixels from stripe to stripe, of a stripe, and opacity of 255
SOLID, DASHED = "-", (0, (4, 3))  # as matplotlib writes them; dashes and gaps in widths of the line


def label_colours(labels: Labels, dashed: bool) -> list[str]:
    """One for each label; where there is one label only, one each for prediction and reference (dashed)."""
    if len(labels) == 1:
        return [REFERENCE if dashed else PREDICTION]
    return list(_colours(len(labels)))


@cache
def _colours(number: int) -> tuple[str, ...]:
    """The palette, and beyond it the colours that look least like those before, of all hues, light and dark."""
    if number <= len(PALETTE):
        return tuple(PALETTE[:number])
    from matplotlib.colors import to_hex, to_rgb
    from skimage.color import rgb2lab

    hues, greys = np.arange(48) / 48, (0.4, 0.55, 0.7, 0.85)
    candidates = [hls_to_rgb(hue, lightness, 0.95) for hue in hues for lightness in greys]
    candidates += [hls_to_rgb(hue, lightness, 0.5) for hue in hues[::2] for lightness in greys]
    looks, chosen = rgb2lab(candidates), [*PALETTE]
    apart = np.linalg.norm(looks[:, None] - rgb2lab([to_rgb(colour) for colour in PALETTE]), axis=-1).min(axis=1)
    while len(chosen) < number:
        best = int(apart.argmax())
        chosen.append(to_hex(candidates[best]))
        apart = np.minimum(apart, np.linalg.norm(looks - looks[best], axis=-1))
    return tuple(chosen)


def label_numbers(labels: Labels) -> list[str]:
    """What stands for each label in the picture and in the legend where there are more than colours tell apart."""
    if len(labels) <= len(PALETTE):
        return []
    if all(len(values) == 1 for values in labels.values()):
        return [str(values[0]) for values in labels.values()]
    return [str(i) for i in range(1, len(labels) + 1)]


def fitted(
    shape: tuple[int, ...], pixel_size: tuple[float, float], box: tuple[int, int], smallest: int = 0
) -> tuple[int, int]:
    """(height, width) to draw (rows, columns) in, with square pixels where `pixel_size` says that theirs are not.

    They fit into `box` = (height, width), and are enlarged only up to `smallest` pixels along the longer side.
    """
    extent = np.multiply(shape, pixel_size)
    natural = extent / min(pixel_size)
    enlarged = natural * max(1, smallest / natural.max())
    height, width = enlarged * min(1, *(box / enlarged))
    return max(1, round(height)), max(1, round(width))


def new_figure() -> Figure:
    """A white figure of no size yet; at 72 dots per inch matplotlib's points are pixels."""
    figure = Figure(dpi=72)
    FigureCanvasAgg(figure)
    return figure


def lay_out(
    figure: Figure,
    number: int,
    size: tuple[int, int],
    *,
    columns: int = 1,
    inner: int = 0,
    margin: int = MARGIN,
    above: int = 0,
    caption: int = 0,
    below: int = 0,
) -> list[Axes]:
    """Size the figure to hold `number` axes of `size` = (height, width) pixels, row by row, and return them.

    inner: pixels between the left and the right margin, if more than the columns need. above, below: pixels for what
    stands over and under all axes. caption: pixels over each row.
    """
    (height, width), rows = size, -(-number // columns)
    needed = columns * (width + margin) - margin
    whole_width, whole_height = max(needed, inner) + 2 * margin, above + rows * (caption + height + margin) + below
    figure.set_size_inches(whole_width / figure.dpi, whole_height / figure.dpi)
    grid = figure.add_gridspec(
        rows,
        columns,
        left=margin / whole_width,
        right=(margin + needed) / whole_width,
        bottom=(below + margin) / whole_height,
        top=1 - (above + caption) / whole_height,
        wspace=margin / width,
        hspace=(caption + margin) / height,
    )
    return [figure.add_subplot(grid[i], xticks=[], yticks=[], frame_on=False) for i in range(number)]


def number_labels(axes: Axes, stack: Stack, index: int, labels: Labels, size: tuple[int, int]) -> None:
    """Write each label's number, where they have some, into its part of slice `index`."""
    numbers = label_numbers(labels)
    for values, number in zip(labels.values(), numbers, strict=True) if numbers else ():
        images = (stack.prediction, stack.reference)
        masks = [where(image[index], values) for image in images if image is not None]
        _write_number(axes, next((mask for mask in masks if mask.any()), None), size, number)


def draw_slice(axes: Axes, stack: Stack, index: int, labels: Labels, size: tuple[int, int], line_width: float) -> None:
    """Slice `index` of the image, scaled to `size` = (height, width), and the contours of all labels."""
    height, width = size
    picture = Image.fromarray(stack.pixels(index)).resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2)
    show(axes, np.asarray(picture))
    ignored = stack.ignored(index)
    if ignored is not None:
        _hatch(axes, ignored, size)
    # The reference's lines lie on top, and their gaps show the prediction's.
    for label_images, dashed in ((stack.prediction, False), (stack.reference, True)):
        if label_images is not None:
            unknown = ignored if dashed else None
            for values, colour in zip(labels.values(), label_colours(labels, dashed), strict=True):
                _draw_contour(axes, where(label_images[index], values), size, colour, dashed, line_width, unknown)
    if stack.plane:
        style: dict[str, Any] = {"ha": "center", "va": "center", "color": "white", "fontsize": FONT, "weight": "bold"}
        for x, y, letter in ((10, height / 2, stack.plane.left), (width / 2, 12, stack.plane.top)):
            axes.text(x, y, letter, path_effects=shadow(2.4), **style)


def show(axes: Axes, pixels: np.ndarray, left: int = 0) -> None:
    """(h, w, 3) uint8, pixel by pixel from the top; the axes count pixels from their upper left corner."""
    height, width = pixels.shape[:2]
    axes.imshow(pixels, extent=(left, left + width, height, 0), aspect="auto")
    axes.set(xlim=(0, axes.bbox.width), ylim=(axes.bbox.height, 0))


def _hatch(axes: Axes, mask: np.ndarray, size: tuple[int, int]) -> None:
    """White and black stripes over a (rows, columns) mask that covers the image: one of them shows on any grey."""
    height, width = size
    covered = np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))
    place = np.indices(size).sum(axis=0) % HATCH_STEP
    stripes = np.zeros((height, width, 4), np.uint8)
    stripes[place < HATCH_WIDTH, :3] = 255
    stripes[..., 3] = HATCH_ALPHA * (covered & (place < 2 * HATCH_WIDTH))
    axes.imshow(stripes, extent=(0, width, height, 0), aspect="auto")
    axes.set(xlim=(0, axes.bbox.width), ylim=(axes.bbox.height, 0))


def _write_number(axes: Axes, mask: np.ndarray | None, size: tuple[int, int], number: str) -> None:
    """In the middle of the thickest part of a (rows, columns) mask that covers the image."""
    if mask is None:
        return
    from scipy.ndimage import distance_transform_edt

    depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    y, x = (np.array(np.unravel_index(depth.argmax(), mask.shape)) + 0.5) * size / mask.shape
    style: dict[str, Any] = {"ha": "center", "va": "center", "color": "white", "fontsize": NUMBER_FONT}
    axes.text(x, y, number, path_effects=[withStroke(linewidth=2, foreground="black")], **style)


def _draw_contour(
    axes: Axes,
    mask: np.ndarray,
    size: tuple[int, int],
    colour: str,
    dashed: bool,
    line_width: float,
    unknown: np.ndarray | None = None,
) -> None:
    """The border of a (rows, columns) mask that covers the image: between its pixels and those beside them.

    unknown: of the same shape; a border with these pixels is none.
    """
    if not mask.any():
        return
    # Blocks of half a drawn pixel spare the memory that a large photograph's pixels take, and keep its thinnest lines.
    step = max(1, int(min(np.divide(mask.shape, size))) // 2)
    blocks = _blocks(mask, step)
    field = np.pad(blocks, 1).astype(float)
    if unknown is not None:
        field = np.ma.array(field, mask=np.pad(_blocks(unknown, step) & ~blocks, 1))
    y, x = (
        (np.arange(-1, n + 1) + 0.5) * step * drawn / length
        for n, drawn, length in zip(blocks.shape, size, mask.shape, strict=True)
    )
    lines = axes.contour(x, y, field, [0.5], colors=colour, linewidths=line_width, corner_mask=False)
    # A line along the image's edge is seen in its full width.
    lines.set(linestyle=DASHED if dashed else SOLID, path_effects=shadow(line_width + 1.2), clip_on=False, snap=False)


def _blocks(mask: np.ndarray, step: int) -> np.ndarray:
    """(rows / step, columns / step) bool: whether a block of a mask holds any of it."""
    rows, columns = (np.arange(0, length, step) for length in mask.shape)
    return np.logical_or.reduceat(np.logical_or.reduceat(mask, rows, axis=0), columns, axis=1)


def shadow(width: float) -> list[withStroke]:
    """What sets a line or a letter off from any background."""
    return [withStroke(linewidth=width, foreground="black", alpha=0.35)]


def rendered(figure: Figure) -> np.ndarray:
    """(height, width, 3) uint8."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]
