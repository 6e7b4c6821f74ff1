"""The table of one data set, a column for each trainer: what `evaluate labels` and `compare` wrote."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from report import Row

METRICS = {"dice": "Dice (%)", "iou": "IoU (%)"}


@dataclass
class Estimated(Row):
    """Percent or points, with the ends of a 95 % interval; None where there is none."""

    intervals: dict[str, tuple[float | None, float | None]] = field(default_factory=dict)
    verdicts: dict[str, str] = field(default_factory=dict)  # of a difference


def cell(row: Row, column: str) -> str:
    if not isinstance(row, Estimated):
        return f"{row.values[column]:.4g}" if row.measure == "time (min)" else f"{row.values[column]:.0f}"
    low, high = row.intervals[column]
    if column not in row.verdicts:
        return f"{row.values[column]:.1f}" + ("" if low is None else f" ({low:.1f} to {high:.1f})")
    ends = "" if low is None else f" ({low:+.1f} to {high:+.1f})"
    return f"{row.values[column]:+.1f}{ends}, {row.verdicts[column]}"


def outcome_rows(trained: dict[str, dict], metrics: dict[str, dict], comparison: dict) -> Iterator[Row]:
    """By trainer's name, the baseline first.

    trained: "steps", "images" and "minutes" of each training.
    metrics: what `evaluate labels` wrote of each as metrics.json.
    comparison: what `compare` wrote of all as comparison.json, in the same order.
    """
    for measure, key in (("steps", "steps"), ("images seen", "images"), ("time (min)", "minutes")):
        yield Row("training", measure, {name: of_one[key] for name, of_one in trained.items()})
    baseline, *others = trained
    evaluated = {name: _names(of_one["mean_over_cases"]["labels"]) for name, of_one in metrics.items()}
    pairs = {name: _names(pair["labels"]) for name, pair in zip(others, comparison["comparisons"], strict=True)}
    for label in evaluated[baseline]:
        for metric, title in METRICS.items():
            yield _estimates(label, title, {name: of_one[label][metric] for name, of_one in evaluated.items()})
        found = {name: pair[label]["dice"] for name, pair in pairs.items()}
        row = _estimates(
            label, f"Dice, difference to {baseline} (points)", {k: v["difference"] for k, v in found.items()}
        )
        row.verdicts = {name: _verdict(of_one["difference"], of_one["better"]) for name, of_one in found.items()}
        yield row


def _names(group: dict) -> dict[str, dict]:
    """The figures of each label, and of their mean where there are several."""
    each = group["each"]
    return {**each, "mean of labels": group["mean"]} if len(each) > 1 else each


def _estimates(label: str, title: str, found: dict[str, dict]) -> Estimated:
    """In fractions of 1 as the package writes them; a figure that is undefined leaves its cell empty."""
    defined = {name: of_one for name, of_one in found.items() if of_one["value"] is not None}
    return Estimated(
        label,
        title,
        {name: 100 * of_one["value"] for name, of_one in defined.items()},
        {name: (_percent(of_one["low"]), _percent(of_one["high"])) for name, of_one in defined.items()},
    )


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else 100 * fraction


def _verdict(difference: dict, better: str | None) -> str:
    """`compare`'s: it names the better model only where the interval excludes 0 and the adjusted p agrees."""
    if better is None:
        return "not told apart"
    return "better" if difference["value"] > 0 else "worse"
