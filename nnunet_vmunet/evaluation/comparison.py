"""Which of two or more models is better: paired differences over the same cases as tables, sentences, JSON, CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from .. import __version__
from ..files.case_groups import read_groups
from ..files.nnunet import write_json
from .bootstrap import INTERVALS
from .compared_models import Model, common_cases, common_dataset_json
from .comparison_picture import save_comparison
from .comparison_text import report, sentences_of
from .label_folders import COMPARISON
from .label_metrics import TOLERANCE
from .labels_report import PERCENT, evaluate_cases, refuse_unusable
from .model_differences import Comparison, Pair
from .outputs import make_folder, write_csv
from .paired import P_VALUES, PairedComparison


def compare_models(
    models: Sequence[Model],
    output: Path | None = None,
    *,
    chill: bool = False,
    group: str | None = None,
    tolerance: float = TOLERANCE,
    num_processes: int | None = None,
) -> Comparison:
    """Print the tables and what they say, write comparison.json, comparison.csv and comparison.png.

    models: as of `given_models` or `trained_models`; each is compared with the first.
    output: folder, by default `comparison` beside the first model's predictions, or beside the trained model.
    chill: leave out cases that a model lacks.
    group: regular expression for what names of one patient's cases share. A patient then counts once, with the means
        over its cases.
    tolerance: of surface Dice, in mm, or in pixels where the files carry no spacing.

    Raises:
        InputError: models whose cases or labels are not the same, and what `evaluate_labels` refuses.
    """
    names, cases, left_out = common_cases(models, chill=chill)
    every = [case for of_model in cases for case in of_model]
    refuse_unusable(every, tolerance)
    dataset_json = common_dataset_json(models)
    groups = read_groups(names, group) if group else None
    output = output or models[0].place / "comparison"
    make_folder(output)
    evaluation = evaluate_cases(every, dataset_json, tolerance=tolerance, num_processes=num_processes)
    comparison = Comparison(models, names, evaluation, groups)
    sentences = sentences_of(comparison)
    print(report(comparison, left_out, sentences))
    write_json(output / "comparison.json", _json(comparison, left_out, group, sentences))
    write_csv(output / "comparison.csv", _rows(comparison))
    save_comparison(output / COMPARISON, comparison)
    print(f"Wrote comparison.json, comparison.csv (a row per case, label and metric) and {COMPARISON} to {output}")
    return comparison


def _json(comparison: Comparison, left_out: list[str], group: str | None, sentences: list[str]) -> dict:
    evaluation = comparison.evaluation
    units = {metric: "fraction of 1" if metric in PERCENT else "millimetres" for metric in comparison.metrics}
    units["hd95_pixels"] = f"{evaluation.pixel}s"
    return {
        "task": "compare",
        "version": __version__,
        "settings": {
            "models": {model.name: model.described() for model in comparison.models},
            "baseline": comparison.models[0].name,
            **evaluation.groups,
            "ignore_label": evaluation.coding.ignore_label,
            "tolerance": {"value": evaluation.tolerance, "unit": evaluation.unit},
            "units": units,
            "intervals": INTERVALS,
            "p_values": P_VALUES,
            "group": group,
        },
        "cases": len(comparison.names),
        "groups": None if comparison.groups is None else len(comparison.names_of_units),
        "left_out": left_out,
        "comparisons": [
            {
                "model_a": pair.model_a,
                "model_b": pair.model_b,
                **{
                    kind: {
                        "each": {name: _as_dicts(row, pair) for name, row in each.items()},
                        "mean": _as_dicts(pair.mean[kind], pair),
                    }
                    for kind, each in pair.each.items()
                },
            }
            for pair in comparison.pairs
        ],
        "sentences": sentences,
    }


def _as_dicts(row: dict[str, PairedComparison], pair: Pair) -> dict[str, dict]:
    names = {"a": pair.model_a, "b": pair.model_b, None: None}
    return {
        metric: {**asdict(found), "share_won": found.share_won, "better": names[found.better]}
        for metric, found in row.items()
    }


def _rows(comparison: Comparison) -> list[dict]:
    """A row for each pair, case, label or region, and metric; values in the units of metrics.csv."""
    rows = []
    for kind, names in comparison.evaluation.groups.items():
        baseline, *others = comparison.values(kind)
        for pair, other in zip(comparison.pairs, others, strict=True):
            for i, case in enumerate(comparison.names):
                row = {"model_a": pair.model_a, "model_b": pair.model_b, "case": case}
                if comparison.groups is not None:
                    row["group"] = comparison.groups[case]
                for j, name in enumerate(names):
                    for k, metric in enumerate(comparison.metrics):
                        a, b = float(baseline[i, j, k]), float(other[i, j, k])
                        figures = {"value_a": a, "value_b": b, "difference": b - a}
                        rows.append({**row, "kind": kind.removesuffix("s"), "name": name, "metric": metric, **figures})
    return rows
