"""What an evaluation puts out: its folder, the CSV file, tables on the terminal, and box plots."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np

from ..errors import InputError
from ..files.atomic import atomic_file
from .bootstrap import Estimate

BOX, EDGE, OURS, PAPER = "#dbe7f3", "#33658a", "#111111", "#d1495b"  # of box plots


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
    """A row of boxes under one axis."""

    ylabel: str
    values: dict[str, np.ndarray]  # per box: one value per case, NaN where undefined
    ours: tuple[str, list[float]]  # what the diamonds are, and one per box
    paper: tuple[str, list[float | None]] | None  # what the dashes are, and one per box
    ceiling: float | None = None  # the best value there is; None: it is 0


def save_box_plots(path: Path, title: str, panels: list[Panel]) -> None:
    """One panel under the other."""
    from matplotlib.figure import Figure  # not pyplot: no display, no state

    width = max(6.0, 1.1 * len(panels[0].values) + 1.5)
    figure = Figure(figsize=(width, 0.5 + 3.6 * len(panels)), layout="constrained")
    figure.suptitle(title, fontsize=11)
    for axes, panel in zip(np.atleast_1d(figure.subplots(len(panels))), panels, strict=True):
        _draw(axes, panel)
    figure.align_ylabels()
    with atomic_file(path) as partial:
        figure.savefig(partial, dpi=150)


def _draw(axes, panel: Panel) -> None:
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
    )
    jitter = np.random.RandomState(0)
    for position, values in zip(positions, defined, strict=True):
        x = position + jitter.uniform(-0.18, 0.18, len(values))
        axes.scatter(x, values, s=10, color=EDGE, alpha=0.6, linewidths=0, zorder=3)
    axes.scatter(positions, panel.ours[1], marker="D", s=34, color=OURS, zorder=4, label=panel.ours[0])
    if panel.paper:
        label, figures = panel.paper
        axes.scatter(
            positions,
            [np.nan if f is None else f for f in figures],
            marker="_",
            s=420,
            linewidths=2.5,
            color=PAPER,
            zorder=3.5,
            label=label,
        )
    axes.set_xticks(positions, [_tick(*box) for box in panel.values.items()])
    axes.set_ylabel(panel.ylabel)
    axes.grid(axis="y", color="#e5e5e5")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylim(bottom=0) if panel.ceiling is None else axes.set_ylim(top=panel.ceiling * 1.01)
    axes.legend(frameon=False, fontsize=9, ncols=2, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)


def _tick(name: str, values: np.ndarray) -> str:
    """The name, and how many cases the box stands for where it is not all of them."""
    defined = int((~np.isnan(values)).sum())
    return name.replace(" ", "\n") if defined == len(values) else f"{name}\n{defined} of {len(values)}"
