"""A picture to draw on, in pixels from its upper left corner."""

from __future__ import annotations

import numpy as np

from .contours import Line

FONT = 15  # pixels
DASHES = (4, 3)  # drawn and left out, in widths of the line
SHADOW = 1.2  # pixels by which it is wider than what it lies under


class Canvas:
    """White, width × height pixels. matplotlib draws; at 72 dots per inch its points are pixels."""

    def __init__(self, width: int, height: int) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure  # not pyplot: no display, no state

        self.height = height
        self._figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        self._agg = FigureCanvasAgg(self._figure)

    def image(self, x: int, y: int, pixels: np.ndarray) -> None:
        """(h, w, 3) uint8 with its upper left corner at x, y, pixel by pixel."""
        self._figure.figimage(pixels, xo=x, yo=self.height - y - len(pixels), origin="upper")

    def lines(self, x: float, y: float, lines: list[Line], colour: str, *, width: float, dashed: bool = False) -> None:
        """Lines with x, y as their origin, on a thin shadow that sets them off from any background."""
        from matplotlib.lines import Line2D

        if not lines:
            return
        # One artist for all: points that are NaN interrupt it.
        joined = np.concatenate([part for line in lines for part in (line, np.full((1, 2), np.nan))])
        artist = Line2D(
            x + joined[:, 0],
            self.height - (y + joined[:, 1]),
            transform=None,
            snap=False,
            color=colour,
            linewidth=width,
            path_effects=_shadow(width + SHADOW),
        )
        if dashed:
            artist.set_linestyle((0, DASHES))
        self._figure.add_artist(artist)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        colour: str,
        *,
        size: float = FONT,
        align: str = "left",
        weight: str = "normal",
        shadow: bool = False,
    ) -> None:
        """One line with the middle of its letters at height y."""
        effects = _shadow(2 * SHADOW) if shadow else None
        self._figure.text(
            x,
            self.height - y,
            text,
            transform=None,
            color=colour,
            fontsize=size,
            weight=weight,
            ha=align,
            va="center_baseline",
            parse_math=False,
            path_effects=effects,
        )

    def pixels(self) -> np.ndarray:
        """(height, width, 3) uint8."""
        self._agg.draw()
        return np.array(self._agg.buffer_rgba())[..., :3]


def text_width(text: str, size: float = FONT) -> float:
    """Pixels that a line of text takes."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    return text_to_path.get_text_width_height_descent(text, FontProperties(size=size), ismath=False)[0]


def shortened(text: str, width: float, size: float = FONT) -> str:
    """The text, its middle left out where it is wider than `width` pixels."""
    kept = len(text)
    short = text
    while kept > 2 and text_width(short, size) > width:
        kept -= 1
        short = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
    return short


def _shadow(width: float) -> list:
    from matplotlib.patheffects import Normal, Stroke

    return [Stroke(linewidth=width, foreground="black", alpha=0.35), Normal()]
