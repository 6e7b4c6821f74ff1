"""The picture of a comparison: in each panel a line per case between two models' Dice, the worst losses first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..files.atomic import atomic_file
from .model_differences import Comparison
from .outputs import EDGE, OURS, PAPER
from .paired import PairedComparison, paired_differences

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_PANELS = 9
ALL_NAMED, WORST_NAMED = 40, 20  # so many cases are named in a panel; of more, so many
WON, LOST, TIED = EDGE, PAPER, "#999999"
WIDTH, ROW, REST = 4.6, 0.155, 3.0  # inches: of a panel, of a named case, and at most of all that are not named
LONGEST_NAME, LONGEST_MODEL, LONGEST_TITLE = 30, 60, 46  # letters: of a case, of a model, of one above a panel

A_MARKER, B_MARKER = {"marker": "o", "facecolors": "white", "linewidths": 1.0}, {"marker": "o", "linewidths": 0}


@dataclass(frozen=True)
class Panel:
    """One label or region, or the mean over them, of two models."""

    title: str
    names: list[str]  # of the cases, or of groups of them
    a: np.ndarray  # (n,) Dice in percent, NaN where undefined
    b: np.ndarray
    found: PairedComparison  # of Dice, in fractions of 1

    def sorted(self) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
        """Names, a, b and b - a of the cases in which both are defined, the worst loss first."""
        difference = paired_differences(self.a, self.b)
        defined = np.flatnonzero(~np.isnan(difference))
        order = defined[np.argsort(difference[defined], kind="stable")]
        return [self.names[i] for i in order], self.a[order], self.b[order], difference[order]


def save_comparison(path: Path, comparison: Comparison) -> None:
    """Write what `comparison_figure` draws."""
    figure = comparison_figure(comparison)
    with atomic_file(path) as partial:
        figure.savefig(partial, dpi=150)


def comparison_figure(comparison: Comparison) -> Figure:
    """Draw up to MOST_PANELS panels: the mean over the names first, then the names, or those that differ most."""
    from matplotlib.figure import Figure  # not pyplot: no display, no state

    panels, note = _panels(comparison)
    columns = 2 if len(panels) == 4 else min(3, len(panels))
    rows = -(-len(panels) // columns)
    height = max(_height(panel) for panel in panels)
    figure = Figure(figsize=(WIDTH * max(columns, 1.5), 0.9 + rows * (height + 1.0)), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, panel in zip(grid, panels, strict=False):
        _draw(axes, panel, height)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    figure.suptitle(f"Dice in percent, a line per {comparison.units[:-1]}, worst losses of ● first{note}", fontsize=11)
    _add_legend(figure, comparison)
    return figure


def _panels(comparison: Comparison) -> tuple[list[Panel], str]:
    """The panels, and a note where there is none for some names."""
    most = max(1, MOST_PANELS // len(comparison.pairs))
    panels, note = [], ""
    for place in range(len(comparison.pairs)):
        every = _panels_of_pair(comparison, place)
        of_pair = [panel for panel in every if panel.found.cases] or every[:1]
        kept = _most_different(of_pair, most)
        if len(kept) < len(of_pair):
            note = f"; {len(kept)} of {len(of_pair)} panels, those that differ most"
        panels += kept
    return panels, note


def _panels_of_pair(comparison: Comparison, place: int) -> list[Panel]:
    """For each kind the mean over its names, where there are several, and each name once."""
    pair, dice = comparison.pairs[place], comparison.metrics.index("dice")
    panels: dict[str, Panel] = {}
    for kind, each in pair.each.items():
        a, b = (100 * values[..., dice] for values in comparison.values_of_units(kind, place))
        found = [row["dice"] for row in (*each.values(), pair.mean[kind])]
        titles = [*each, f"mean over {kind}"]
        order = [len(each), *range(len(each))] if len(each) > 1 else [0]
        for i in order:
            title = titles[i]
            if title not in panels:  # a region of one value is a label too
                panels[title] = Panel(title, comparison.names_of_units, a[:, i], b[:, i], found[i])
    if len(comparison.pairs) == 1:
        return list(panels.values())
    model = _shortened(pair.model_b, LONGEST_TITLE)
    return [Panel(f"{model}\n{p.title}", p.names, p.a, p.b, p.found) for p in panels.values()]


def _most_different(panels: list[Panel], most: int) -> list[Panel]:
    """The first one, and of the others those with the largest mean differences, in their order."""
    size = [abs(np.nan_to_num(panel.found.difference.value)) for panel in panels]
    kept = sorted(range(1, len(panels)), key=lambda i: -size[i])[: most - 1]
    return [panels[i] for i in (0, *sorted(kept))]


def _height(panel: Panel) -> float:
    """Inches that the rows of a panel want."""
    return max(6 * ROW, _positions(panel.found.cases)[1] * ROW)


def _positions(cases: int) -> tuple[np.ndarray, float]:
    """Where each row lies, in rows of a named case, and where the last one ends; those without names lie closer."""
    if cases <= ALL_NAMED:
        return np.arange(cases) + 0.5, float(cases)
    rest = cases - WORST_NAMED
    step = min(0.4, REST / ROW / rest)
    closer = WORST_NAMED + 0.5 + step * (np.arange(rest) + 0.5)
    return np.concatenate([np.arange(WORST_NAMED) + 0.5, closer]), float(closer[-1] + 0.5)


def _draw(axes, panel: Panel, height: float) -> None:
    names, a, b, difference = panel.sorted()
    at, end = _positions(len(names))
    named = len(names) if len(names) <= ALL_NAMED else WORST_NAMED
    _draw_lines(axes, a, b, difference, at, named)
    for mean, style in ((panel.found.mean_a, ":"), (panel.found.mean_b, "-")):
        axes.axvline(100 * mean, color=OURS, linestyle=style, linewidth=1, zorder=1)
    _name_rows(axes, names, at, named)
    axes.set_ylim(max(end, height / ROW), 0)  # the first on top
    _scale(axes, a, b)
    axes.set_title(_title(panel), fontsize=9, loc="left")
    axes.grid(axis="x", color="#e5e5e5", zorder=0)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_lines(axes, a: np.ndarray, b: np.ndarray, difference: np.ndarray, at: np.ndarray, named: int) -> None:
    from matplotlib.collections import LineCollection

    colours = np.where(difference < 0, LOST, np.where(difference > 0, WON, TIED)).tolist()
    lines = [((x, y), (x_b, y)) for x, x_b, y in zip(a, b, at, strict=True)]
    gap = 72 * ROW * (at[-1] - at[-2]) if named < len(at) else 0.0  # points between two rows without names
    first, rest = slice(named), slice(named, None)
    axes.scatter(a[first], at[first], s=16, edgecolors=colours[first], zorder=3, **A_MARKER)
    # Of those without names b alone has a dot: a is the line's other end.
    for part, width, size in ((first, 1.6, 16), (rest, min(1.0, gap), min(5.0, 2 + gap))):
        axes.add_collection(LineCollection(lines[part], colors=colours[part], linewidths=width, zorder=2))
        axes.scatter(b[part], at[part], s=size, color=colours[part], zorder=3, **B_MARKER)


def _name_rows(axes, names: list[str], at: np.ndarray, named: int) -> None:
    ticks = {
        place: _shortened(name, LONGEST_NAME) for place, name in zip(at[:named].tolist(), names[:named], strict=True)
    }
    if named < len(names):
        axes.axhline(named + 0.25, color="#bbbbbb", linewidth=0.6)
        ticks[(at[named] + at[-1]) / 2] = f"{len(names) - named} more"
    axes.set_yticks(list(ticks), list(ticks.values()), fontsize=6.5)
    axes.tick_params(axis="y", length=0)


def _scale(axes, a: np.ndarray, b: np.ndarray) -> None:
    """Room for every case, and hardly any beyond what Dice can be."""
    both = np.concatenate([a, b])
    low, high = (both.min(), both.max()) if len(both) else (0.0, 100.0)
    margin = max(0.04 * (high - low), 0.05)
    axes.set_xlim(max(low - margin, -2.0), min(high + margin, 102.0))
    axes.tick_params(axis="x", labelsize=8)


def _title(panel: Panel) -> str:
    found = panel.found
    name = _escaped(panel.title)
    if not found.cases:
        return f"{name}\nnot defined for both in any case"
    value, low, high = (100 * end for end in (found.difference.value, found.difference.low, found.difference.high))
    ends = "" if np.isnan(low) else f" ({low:+.2f} to {high:+.2f})"
    missing = f"; {found.cases} of {len(panel.names)}" if found.cases < len(panel.names) else ""
    return f"{name}\ndifference {value:+.2f}{ends}\n{found.won} won, {found.lost} lost, {found.tied} tied{missing}"


def _shortened(name: str, longest: int) -> str:
    """Without its middle where it is longer."""
    if len(name) > longest:
        half = longest // 2
        name = f"{name[: half - 1]}…{name[-half:]}"
    return _escaped(name)


def _add_legend(figure, comparison: Comparison) -> None:
    from matplotlib.lines import Line2D

    other = comparison.models[1].name if len(comparison.models) == 2 else "the other model"

    def dot(colour: str) -> Line2D:
        return Line2D([], [], marker="o", linestyle="none", color=OURS, markerfacecolor=colour, markersize=5)

    entries = [
        (_shortened(comparison.models[0].name, LONGEST_MODEL), dot("white")),
        (_shortened(other, LONGEST_MODEL), dot(OURS)),
        ("lost", Line2D([], [], color=LOST, linewidth=2)),
        ("won", Line2D([], [], color=WON, linewidth=2)),
        ("mean of ○", Line2D([], [], color=OURS, linestyle=":", linewidth=1)),
        ("mean of ●", Line2D([], [], color=OURS, linewidth=1)),
    ]
    labels, handles = zip(*entries, strict=True)
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8)


def _escaped(text: str) -> str:
    return text.replace("$", r"\$")  # which would begin a formula
