"""What an evaluation puts out: its folder, the CSV file, tables on the terminal, and box plots."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, replace
from inspect import signature
from pathlib import Path
from tempfile import TemporaryFile
from textwrap import wrap

import numpy as np

from ..errors import InputError
from ..files.atomic import atomic_file
from .bootstrap import Estimate

BOX, EDGE, OURS, PAPER = "#dbe7f3", "#33658a", "#111111", "#d1495b"  # of box plots
MOST_UPRIGHT, MOST_LYING = 13, 60  # boxes beside each other, and one under the other


def make_folder(folder: Path) -> None:
    """Make the folder before anything is computed: an InputError tells at once that it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"{folder} cannot be written, make room or choose another place ({error})") from error


def write_csv(path: Path, rows: list[dict]) -> None:
    """One line per row under the first row's keys; NaN is an empty field."""
    # A name that is no text in any encoding goes through byte by byte.
    with atomic_file(path) as partial, partial.open("w", -1, "utf-8", "surrogateescape", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows({key: "" if _is_nan(value) else value for key, value in row.items()} for row in rows)


def _is_nan(value) -> bool:
    return isinstance(value, float) and math.isnan(value)


def table(rows: list[list[str]]) -> str:
    """Columns aligned: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        for first, *others in rows
    )
    return "\n".join("  ".join(line).rstrip() for line in lines)


def number(value: float | None, scale: float = 1) -> str:
    """Two decimals; a dash for what is undefined."""
    return "-" if value is None or math.isnan(value) else f"{scale * value:.2f}"


def interval(estimate: Estimate, scale: float = 1) -> str:
    """Both ends, one decimal; a dash for what is undefined."""
    return "-" if math.isnan(estimate.low) else f"{scale * estimate.low:.1f}-{scale * estimate.high:.1f}"


@dataclass(frozen=True)
class Panel:
    """A row of boxes along one axis."""

    ylabel: str
    values: dict[str, np.ndarray]  # per box: one value per case, NaN where undefined
    ours: tuple[str, list[float]]  # what the diamonds are, and one per box
    paper: tuple[str, list[float | None]] | None  # what the dashes are, and one per box
    ceiling: float | None = None  # the best value there is; None: it is 0

    def part(self, boxes: slice) -> Panel:
        """Some of the boxes."""
        paper = None if self.paper is None else (self.paper[0], self.paper[1][boxes])
        values = dict(list(self.values.items())[boxes])
        return replace(self, values=values, ours=(self.ours[0], self.ours[1][boxes]), paper=paper)


def save_box_plots(path: Path, title: str, panels: list[Panel]) -> None:
    """Panels of the same boxes: one under the other, or side by side with lying boxes where there are many of these."""
    from matplotlib.figure import Figure  # not pyplot: no display, no state

    boxes = len(panels[0].values)
    if boxes <= MOST_UPRIGHT:
        figure = Figure(figsize=(max(6.0, 1.1 * boxes + 1.5), 0.5 + 3.6 * len(panels)), layout="constrained")
        for axes, panel in zip(np.atleast_1d(figure.subplots(len(panels))), panels, strict=True):
            _draw_upright(axes, panel)
        figure.align_ylabels()
    else:
        blocks = -(-boxes // MOST_LYING)
        rows = -(-boxes // blocks)
        size = blocks * (2.4 * len(panels) + 2), 1.2 + 0.24 * rows
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(1, blocks * len(panels), squeeze=False)[0].reshape(blocks, len(panels))
        for number_, in_block in enumerate(grid):
            of_block = slice(number_ * rows, (number_ + 1) * rows)
            for column, (axes, panel) in enumerate(zip(in_block, panels, strict=True)):
                _draw_lying(axes, panel.part(of_block), rows, with_names=column == 0)
        for column, panel in enumerate(panels):  # the same for all blocks
            for axes in grid[:, column]:
                _scale(axes.xaxis, panel)
        figure.legend(*grid[0, 0].get_legend_handles_labels(), frameon=False, fontsize=9, ncols=2, loc="upper right")
    figure.suptitle(title, fontsize=11)
    with atomic_file(path) as partial:
        figure.savefig(partial, dpi=150)


def _draw_upright(axes, panel: Panel) -> None:
    _draw_boxes(axes, panel, lies=False)
    axes.set_xticks(np.arange(len(panel.values)), [_tick(*box) for box in panel.values.items()])
    axes.set_ylabel(panel.ylabel)
    _scale(axes.yaxis, panel)
    axes.grid(axis="y", color="#e5e5e5")
    axes.legend(frameon=False, fontsize=9, ncols=2, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)


def _draw_lying(axes, panel: Panel, rows: int, with_names: bool) -> None:
    _draw_boxes(axes, panel, lies=True)
    axes.set_yticks(np.arange(len(panel.values)), [_tick(*box, lies=True) for box in panel.values.items()], fontsize=8)
    axes.tick_params(labelleft=with_names)
    axes.set_ylim(rows - 0.5, -0.5)  # the first on top
    axes.set_xlabel(panel.ylabel)
    axes.grid(color="#e5e5e5")


def _draw_boxes(axes, panel: Panel, lies: bool) -> None:
    """Boxes at 0, 1, ... along one axis, upwards or to the right."""
    defined = [values[~np.isnan(values)] for values in panel.values.values()]
    positions = np.arange(len(defined))
    axes.boxplot(
        defined,
        positions=positions,
        widths=0.55,
        showfliers=False,  # the points below show every case
        patch_artist=True,
        boxprops={"facecolor": BOX, "edgecolor": EDGE},
        whiskerprops={"color": EDGE},
        capprops={"color": EDGE},
        medianprops={"color": EDGE, "linewidth": 2},
        **(_lying(axes) if lies else {}),
    )

    def scatter(along, values, **style) -> None:
        axes.scatter(*((values, along) if lies else (along, values)), **style)

    jitter = np.random.RandomState(0)
    for position, values in zip(positions, defined, strict=True):
        along = position + jitter.uniform(-0.18, 0.18, len(values))
        scatter(along, values, s=10, color=EDGE, alpha=0.6, linewidths=0, zorder=3)
    scatter(positions, panel.ours[1], marker="D", s=20 if lies else 34, color=OURS, zorder=4, label=panel.ours[0])
    if panel.paper:
        label, figures = panel.paper
        known = [np.nan if f is None else f for f in figures]
        marker, size = ("|", 120) if lies else ("_", 420)
        scatter(positions, known, marker=marker, s=size, linewidths=2.5, color=PAPER, zorder=3.5, label=label)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _lying(axes) -> dict:
    """What tells `boxplot` so: `orientation` since matplotlib 3.10, which began to do without `vert`."""
    known = "orientation" in signature(axes.boxplot).parameters
    return {"orientation": "horizontal"} if known else {"vert": False}


def _scale(axis, panel: Panel) -> None:
    """Limits and ticks of the values' axis: room for every point, and no tick above the best value there is."""
    figures = [figure for figure in (panel.paper[1] if panel.paper else ()) if figure is not None]
    values = np.concatenate([*panel.values.values(), panel.ours[1], figures])
    values = values[~np.isnan(values)]
    low, high = (values.min(), values.max()) if len(values) else (0.0, 1.0)
    if panel.ceiling is None:
        low, best = 0.0, 1.08 * high or 1.0
        high = best
    else:
        best = panel.ceiling
        low = min(low - 0.05 * (best - low), 0.97 * best)
        high = best + 0.03 * (best - low)
    axis.set_view_interval(low, high, ignore=True)
    axis.set_ticks([tick for tick in axis.get_majorticklocs() if low <= tick <= best])
    axis.set_view_interval(low, high, ignore=True)


def _tick(name: str, values: np.ndarray, lies: bool = False) -> str:
    """The name, and how many cases the box stands for where it is not all of them."""
    defined = int((~np.isnan(values)).sum())
    name = name.replace("$", r"\$")  # which would begin a formula
    if defined == len(values):
        return name if lies else _wrapped(name)
    return f"{name} ({defined} of {len(values)})" if lies else f"{_wrapped(name)}\n{defined} of {len(values)}"


def _wrapped(name: str) -> str:
    return "\n".join(wrap(name, 12, break_long_words=False))
