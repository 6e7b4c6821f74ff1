"""Synapse's metrics of a folder of label volumes: tables, JSON, CSV and box plots."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from .. import __version__
from ..errors import InputError
from ..files.nnunet import write_json
from ..files.processes import run_parallel
from ..files.volumes import is_volume, refuse_other_grid
from . import paper
from .bootstrap import INTERVALS, LEVEL, Estimate, estimate, mean_of_defined
from .label_folders import BOX_PLOTS, Case, Folders, read_labels
from .outputs import Panel, interval, make_folder, number, save_box_plots, table, write_csv
from .synapse_metrics import OrganAgreement, organ_agreements

# The paper reports the organs in TransUNet's order, which `nnunet-vmunet convert synapse` numbers them in.
ORGANS = {organ: label for label, organ in enumerate(paper.SYNAPSE_DICE, start=1)}

METRICS = ("dice", "hd95_voxels", "hd95_mm")

# How empty masks are scored, by the names that the outputs carry.
CONVENTIONS = {
    "paper_convention": "The paper's convention: an empty prediction is Dice 0, HD95 0; that of an absent organ 1, 0",
    "undefined_excluded": "Undefined excluded: Dice where prediction and reference are empty, HD95 where either is",
}

Organs = dict[str, int]


@dataclass(frozen=True)
class ConventionSummary:
    """Dice in fractions of 1, HD95 in voxels and in millimetres."""

    organs: dict[str, dict[str, Estimate]]  # by organ and metric
    mean: dict[str, Estimate]  # over the organs
    excluded: dict[str, dict[str, int]]  # volumes left out, by organ and metric


@dataclass(frozen=True)
class CaseResult:
    """One volume compared."""

    spacing_mm: tuple[float, ...]  # z, y, x
    agreements: dict[int, OrganAgreement]


def evaluate_synapse(
    folders: Folders, output: Path | None = None, *, num_processes: int | None = None
) -> dict[str, ConventionSummary]:
    """Print the tables, write metrics.json, metrics.csv and metrics.png, and return the summary of each convention.

    output: folder, by default `metrics` in the predictions' folder. The organs are those that the dataset.json beside
    the predictions or references names, or else Synapse's eight.

    Raises:
        InputError: folders that do not pair, a file that is no label map of the organs, or no room for the output.
    """
    cases = folders.cases()
    output = output or folders.predictions / "metrics"
    make_folder(output)
    organs = folders.labels or ORGANS
    results = run_parallel(_Compare(tuple(organs.values())), cases, num_processes, "Comparing")
    values = case_values([result.agreements for result in results], organs)
    summaries = {convention: summarise(values[convention], organs) for convention in CONVENTIONS}
    # Folders say nothing about the dataset beyond what the command is called.
    with_paper = folders.dataset_name is None or paper.is_synapse(folders.dataset_name)
    print(_report(summaries, results, with_paper))
    write_json(output / "metrics.json", _json(summaries, folders, cases, organs, with_paper))
    write_csv(output / "metrics.csv", _rows(cases, results, values, organs))
    _save_picture(output / BOX_PLOTS, values["undefined_excluded"], summaries["undefined_excluded"], with_paper)
    print(f"Wrote metrics.json, metrics.csv (a row per volume) and {BOX_PLOTS} to {output}")
    return summaries


@dataclass(frozen=True)
class _Compare:
    labels: tuple[int, ...]

    def __call__(self, case: Case) -> CaseResult:
        for path in (case.prediction, case.reference):
            if not is_volume(path):
                raise InputError(f"{path} is a picture: organs are compared in volumes of three dimensions")
        grid = refuse_other_grid(case.prediction, case.reference, "predict the reference's own image")
        spacing = tuple(grid.spacing_mm[::-1].tolist())
        prediction, reference = (read_labels(path, (0, *self.labels)) for path in (case.prediction, case.reference))
        return CaseResult(spacing, organ_agreements(prediction, reference, self.labels, [None, spacing]))


def case_values(agreements: list[dict[int, OrganAgreement]], organs: Organs) -> dict[str, np.ndarray]:
    """(volumes, organs, metrics) under each convention."""
    found = [[by_label[label] for label in organs.values()] for by_label in agreements]
    return {
        "paper_convention": np.array([[organ.in_papers_convention() for organ in row] for row in found]),
        "undefined_excluded": np.array([[(organ.dice, *organ.hd95) for organ in row] for row in found]),
    }


def summarise(values: np.ndarray, organs: Organs) -> ConventionSummary:
    """(n, organs, metrics) values, NaN where undefined, to means over the volumes and their mean over the organs."""
    num_cases, *shape = values.shape
    flat = values.reshape(num_cases, -1)

    def organ_means(weights: np.ndarray) -> np.ndarray:
        return mean_of_defined(flat, weights)

    def overall_means(weights: np.ndarray) -> np.ndarray:
        means = organ_means(weights).reshape(-1, *shape)
        defined = ~np.isnan(means)
        with np.errstate(invalid="ignore"):  # no organ is defined: 0 / 0
            return np.where(defined, means, 0).sum(axis=1) / defined.sum(axis=1)

    per_organ = np.array(estimate(organ_means, num_cases), dtype=object).reshape(shape)
    excluded = np.isnan(values).sum(axis=0)
    return ConventionSummary(
        organs={organ: _by_metric(row) for organ, row in zip(organs, per_organ, strict=True)},
        mean=_by_metric(estimate(overall_means, num_cases)),
        excluded={organ: _by_metric(row) for organ, row in zip(organs, excluded.tolist(), strict=True)},
    )


def _by_metric(values) -> dict:
    return dict(zip(METRICS, values, strict=True))


def _report(summaries: dict[str, ConventionSummary], results: list[CaseResult], with_paper: bool) -> str:
    parts = [f"{len(results)} volumes; Dice in percent, HD95 in voxels and in millimetres"]
    for convention, summary in summaries.items():
        in_papers = convention == "paper_convention"
        parts += ["", CONVENTIONS[convention], _table(summary, not in_papers, in_papers and with_paper)]
    parts += ["", *_notes(results, with_paper)]
    return "\n".join(parts).rstrip()


def _table(summary: ConventionSummary, with_excluded: bool, with_paper: bool) -> str:
    span = f"{LEVEL:.0%}"
    rows = [["", "Dice", span, "HD95 voxels", span, "HD95 mm", span]]
    rows += [[organ, *_cells(estimates)] for organ, estimates in {**summary.organs, "mean": summary.mean}.items()]
    if with_excluded:
        counts = [f"{count['dice']} / {count['hd95_voxels']}" for count in summary.excluded.values()]
        _append_column(rows, ["excluded: Dice / HD95", *counts, ""])
    if with_paper:
        dice = [number(paper.synapse_dice(organ)) for organ in summary.organs]
        _append_column(rows, ["paper: Dice", *dice, number(paper.SYNAPSE_MEAN_DICE)])
        _append_column(rows, ["paper: HD95", *("" for _ in dice), number(paper.SYNAPSE_MEAN_HD95)])
    return table(rows)


def _cells(estimates: dict[str, Estimate]) -> list[str]:
    scales = {"dice": 100, "hd95_voxels": 1, "hd95_mm": 1}
    return [
        cell
        for metric in METRICS
        for cell in (number(estimates[metric].value, scales[metric]), interval(estimates[metric], scales[metric]))
    ]


def _append_column(rows: list[list[str]], cells: list[str]) -> None:
    for row, cell in zip(rows, cells, strict=True):
        row.append(cell)


def _notes(results: list[CaseResult], with_paper: bool) -> list[str]:
    notes = []
    if all(np.allclose(result.spacing_mm, 1) for result in results):
        notes.append("Every spacing is 1, so mm are voxels here: TransUNet's preprocessed form stores no spacing")
    if with_paper:
        notes.append("The paper's columns are its means over the 12 test volumes")
    return notes


def _json(
    summaries: dict[str, ConventionSummary], folders: Folders, cases: list[Case], organs: Organs, with_paper: bool
) -> dict:
    return {
        "task": "synapse",
        "version": __version__,
        "settings": {
            **folders.described(),
            "organs": organs,
            "units": {"dice": "fraction of 1", "hd95_voxels": "voxels", "hd95_mm": "millimetres"},
            "intervals": INTERVALS,
            "conventions": CONVENTIONS,
        },
        "volumes": len(cases),
        **{convention: _summary_json(summary) for convention, summary in summaries.items()},
        "paper": _paper_json() if with_paper else None,
    }


def _summary_json(summary: ConventionSummary) -> dict:
    organs = {
        organ: {m: {**asdict(found), "excluded": summary.excluded[organ][m]} for m, found in estimates.items()}
        for organ, estimates in summary.organs.items()
    }
    return {"organs": organs, "mean": {metric: asdict(found) for metric, found in summary.mean.items()}}


def _paper_json() -> dict:
    return {
        "units": {"dice": "percent", "hd95_voxels": "voxels"},
        "dice": paper.SYNAPSE_DICE,
        "mean": {"dice": paper.SYNAPSE_MEAN_DICE, "hd95_voxels": paper.SYNAPSE_MEAN_HD95},
    }


def _rows(cases: list[Case], results: list[CaseResult], values: dict[str, np.ndarray], organs: Organs) -> list[dict]:
    """Per organ the voxel counts, the defined values, and what the paper's convention makes of them."""
    rows = []
    for i, (case, result) in enumerate(zip(cases, results, strict=True)):
        row: dict[str, str | float] = {"case": case.name}
        for j, (organ, label) in enumerate(organs.items()):
            agreement = result.agreements[label]
            row[f"{organ} pred_voxels"] = agreement.pred_voxels
            row[f"{organ} reference_voxels"] = agreement.reference_voxels
            for convention, suffix in (("undefined_excluded", ""), ("paper_convention", " paper_convention")):
                for metric, value in zip(METRICS, values[convention][i, j].tolist(), strict=True):
                    row[f"{organ} {metric}{suffix}"] = value
        rows.append(row)
    return rows


def _save_picture(path: Path, values: np.ndarray, summary: ConventionSummary, with_paper: bool) -> None:
    dice, hd95_mm = 100 * values[..., 0].T, values[..., 2].T
    names = list(summary.organs)
    panels = [
        Panel(
            ylabel="Dice, percent",
            values=dict(zip(names, dice, strict=True)),
            ours=("mean", [100 * summary.organs[organ]["dice"].value for organ in names]),
            paper=("paper's mean", [paper.synapse_dice(organ) for organ in names]) if with_paper else None,
            ceiling=100,
        ),
        Panel(
            ylabel="HD95, mm",
            values=dict(zip(names, hd95_mm, strict=True)),
            ours=("mean", [summary.organs[organ]["hd95_mm"].value for organ in names]),
            paper=None,
        ),
    ]
    save_box_plots(path, f"{values.shape[0]} volumes, one point each; undefined values excluded", panels)
