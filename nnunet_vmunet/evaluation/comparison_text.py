"""A comparison of models in words: tables, notes, and sentences that say whether the data tells them apart."""

from __future__ import annotations

import math
from string import ascii_uppercase

from ..files.case_groups import likely_group
from .bootstrap import LEVEL
from .labels_report import PERCENT, TITLES
from .model_differences import Comparison, Pair
from .outputs import number, table
from .paired import ALPHA, PairedComparison, smallest_p_value


def _letter(place: int) -> str:
    """A, B, ..., Z, AA, BB: the model in tables."""
    return ascii_uppercase[place % 26] * (1 + place // 26)


def report(comparison: Comparison, left_out: list[str], sentences: list[str]) -> str:
    evaluation = comparison.evaluation
    distances = f"millimetres and {evaluation.pixel}s" if evaluation.has_spacing else f"{evaluation.pixel}s"
    models = [f"{_letter(i)}  {model.name}" for i, model in enumerate(comparison.models)]
    size = f"{len(comparison.names)} cases"
    if comparison.groups is not None:
        size += f" in {len(comparison.names_of_units)} groups, each with the mean over its cases"
    parts = [
        *models,
        f"{size}; Dice, IoU and surface Dice in percent, HD95 in {distances}",
        f"Surface Dice: the share of both surfaces that lies within {evaluation.tolerance:g} {evaluation.unit} of the "
        f"other (--tolerance)",
        f"{LEVEL:.0%}: bootstrap interval of the mean difference; p: two-sided, by flipping signs",
        f"better: which one, where the interval excludes 0 and p, adjusted for several labels and models, is at most "
        f"{ALPHA:.2f}",
        *_notes(comparison, left_out),
    ]
    for kind in evaluation.groups:
        for metric in comparison.metrics:
            unit = "percent" if metric in PERCENT else ("mm" if metric == "hd95_mm" else f"{evaluation.pixel}s")
            for i, pair in enumerate(comparison.pairs, start=1):
                title = f"{kind.capitalize()}, {TITLES[metric].removesuffix(' mm')}, {unit}: {_letter(i)} - A"
                parts += ["", title, _table(comparison, kind, metric, pair, _letter(i))]
    if any(_left_out(pair, kind) for pair in comparison.pairs for kind in pair.each):
        parts += [
            "",
            "Left out: cases in which it is defined for A alone / the other alone / neither. Where for one alone, the",
            "other may have missed what is there, or found what is not",
        ]
    return "\n".join([*parts, "", *sentences, ""])


def _notes(comparison: Comparison, left_out: list[str]) -> list[str]:
    notes = []
    if left_out:
        notes.append(f"Left out: {len(left_out)} cases that a model lacks, such as {left_out[0]} (--chill)")
    if any(
        part.fold is not None and part.fold.name == "fold_all" for model in comparison.models for part in model.parts
    ):
        notes.append(
            "Note: fold all was validated on cases that it was trained on: this says little about other images"
        )
    likely = likely_group(comparison.names) if comparison.groups is None else None
    if likely:
        notes.append(
            f"Note: several names share a beginning. Cases of one patient are not independent: their intervals are too "
            f"narrow and p-values too small. If so, give --group '{likely}'"
        )
    return [*notes, *_notes_on_few(comparison)]


def _notes_on_few(comparison: Comparison) -> list[str]:
    number_of_units = f"{len(comparison.names_of_units)} {comparison.units}"
    smallest = smallest_p_value(len(comparison.names_of_units))
    if smallest > ALPHA:
        return [f"Too few: {number_of_units} tell nothing apart, even if all differ alike: p is {smallest:.3f} at best"]
    kinds = comparison.evaluation.groups
    tests = max(comparison.tests(kind, metric) for kind in kinds for metric in comparison.metrics)
    if tests * smallest > ALPHA:
        return [
            f"Too few: {number_of_units} tell no single label apart, even if all differ alike: p is {smallest:.3f} at "
            f"best, and {min(1, tests * smallest):.3f} adjusted for {tests} tests"
        ]
    return []


def _table(comparison: Comparison, kind: str, metric: str, pair: Pair, letter: str) -> str:
    adjusts, some_left_out = comparison.tests(kind, metric) > 1, _left_out(pair, kind, metric)
    heading = ["", "A", letter, "difference", f"{LEVEL:.0%}", "won", "lost", "tied", "p"]
    rows = [[*heading, *["adjusted"] * adjusts, "better", *["left out"] * some_left_out]]
    for name, found in _with_mean(pair, kind, metric).items():
        scale = _scale(metric)
        row = [name, number(found.mean_a, scale), number(found.mean_b, scale), _signed(found.difference.value, scale)]
        row += [_interval(found, scale), *map(str, (found.won, found.lost, found.tied)), _p_text(found.p_value)]
        row += [_p_text(found.p_adjusted)] * adjusts
        row.append({"a": "A", "b": letter, None: "-"}[found.better])
        row += [
            f"{found.defined_for_a_alone} / {found.defined_for_b_alone} / {found.undefined_for_both}"
        ] * some_left_out
        rows.append(row)
    return table(rows)


def _with_mean(pair: Pair, kind: str, metric: str) -> dict[str, PairedComparison]:
    """The rows of a table; of one label alone there is no mean."""
    found = {name: row[metric] for name, row in pair.each[kind].items()}
    return {**found, f"mean over {kind}": pair.mean[kind][metric]} if len(found) > 1 else found


def _left_out(pair: Pair, kind: str, metric: str | None = None) -> bool:
    """Whether a metric, or any, is undefined in some cases."""
    return any(found.left_out for row in pair.each[kind].values() for m, found in row.items() if metric in (None, m))


def sentences_of(comparison: Comparison) -> list[str]:
    """By label and region, and for the mean over these: whether the data tells a model from the baseline by Dice."""
    sentences = []
    for pair in comparison.pairs:
        for kind, names in comparison.evaluation.groups.items():
            for name, found in _with_mean(pair, kind, "dice").items():
                tests = comparison.tests(kind, "dice") if name in names else len(comparison.pairs)
                sentences.append(_sentence(name, pair, found, comparison.units, tests))
    return sentences


def _sentence(name: str, pair: Pair, found: PairedComparison, units: str, tests: int) -> str:
    if not found.cases:
        return f"{name}, Dice: no case in which it is defined for both {pair.model_a} and {pair.model_b}"
    adjusted_for = f" adjusted for {tests} tests" if tests > 1 else ""
    p_text = _p_text(found.p_adjusted)
    p = f"p {p_text if p_text.startswith('<') else f'= {p_text}'}{adjusted_for}"
    value, low, high = (100 * end for end in (found.difference.value, found.difference.low, found.difference.high))
    if found.better == "b":
        better = f"{pair.model_b} is better than {pair.model_a} by {value:.2f} points ({low:.2f} to {high:.2f}"
        return f"{name}, Dice: {better}; {found.won} of {found.cases} {units}, {p})"
    if found.better == "a":
        better = f"{pair.model_a} is better than {pair.model_b} by {-value:.2f} points ({-high:.2f} to {-low:.2f}"
        return f"{name}, Dice: {better}; {found.lost} of {found.cases} {units}, {p})"
    ends = "no interval" if math.isnan(low) else f"{low:+.2f} to {high:+.2f}"
    return (
        f"{name}, Dice: the data does not tell {pair.model_a} and {pair.model_b} apart ({pair.model_b} differs by "
        f"{value:+.2f} points, {ends}; better in {found.won} of {found.cases} {units}, worse in {found.lost}, {p})"
    )


def _scale(metric: str) -> int:
    return 100 if metric in PERCENT else 1


def _signed(value: float, scale: int) -> str:
    return "-" if math.isnan(value) else f"{scale * value:+.2f}"


def _interval(found: PairedComparison, scale: int) -> str:
    low, high = found.difference.low, found.difference.high
    return "-" if math.isnan(low) else f"{_signed(low, scale)} to {_signed(high, scale)}"


def _p_text(p_value: float) -> str:
    if math.isnan(p_value):
        return "-"
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"
