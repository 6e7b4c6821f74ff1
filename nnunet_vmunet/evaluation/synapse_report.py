"""Synapse's metrics of a folder of label volumes: tables, JSON, CSV and box plots."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import __version__
from ..errors import InputError
from ..files.nnunet import write_json
from ..files.processes import run_parallel
from ..files.volumes import is_volume, refuse_other_grid
from ..organs import BTCV_ORGANS, SYNAPSE_ORGANS
from . import paper
from .bootstrap import INTERVALS, LEVEL, Estimate
from .label_folders import BOX_PLOTS, Case, Folders
from .label_images import read_labels
from .label_metrics import Agreement
from .outputs import Panel, interval, make_folder, number, save_box_plots, table, write_csv
from .protocol import differences, protocol_of, release_of
from .summary import Summary, summarise
from .synapse_metrics import in_papers_convention, organ_agreements

# The paper reports the organs in TransUNet's order, which `nnunet-vmunet convert synapse` numbers them in.
ORGANS = {organ: label for label, organ in enumerate(SYNAPSE_ORGANS, start=1)}

METRICS = ("dice", "hd95_voxels", "hd95_mm")

# How empty masks are scored, by the names that the outputs carry.
CONVENTIONS = {
    "paper_convention": "The paper's convention: an empty prediction is Dice 0, HD95 0; that of an absent organ 1, 0",
    "undefined_excluded": "Undefined excluded: Dice where prediction and reference are empty, HD95 where either is",
}

Organs = dict[str, int]


@dataclass(frozen=True)
class CaseResult:
    """One volume compared."""

    spacing_mm: tuple[float, ...]  # z, y, x
    agreements: dict[int, Agreement]


def evaluate_synapse(
    folders: Folders, output: Path | None = None, *, with_paper: bool = False, num_processes: int | None = None
) -> dict[str, Summary]:
    """Print the tables, write metrics.json, metrics.csv and metrics.png, and return the summary of each convention.

    output: folder, by default `metrics` in the predictions' folder.
    with_paper: whether the paper's figures stand in the table where no dataset.json says that it is Synapse.

    The organs are the eight, or BTCV's thirteen where the dataset.json says so.

    Raises:
        InputError: folders that do not pair, a file that is no label map of the organs, labels of other things, or no
            room for the output.
    """
    organs = _organs(folders)
    cases = folders.cases()
    output = output or folders.predictions / "metrics"
    make_folder(output)
    results = run_parallel(_Compare(tuple(organs.values())), cases, num_processes, "Comparing")
    values = case_values([result.agreements for result in results], organs)
    summaries = {convention: summarise(values[convention], list(organs), METRICS) for convention in CONVENTIONS}
    with_paper = with_paper or release_of(folders) == "synapse"
    protocol = protocol_of(folders, "the volumes' own")
    print(_report(summaries, results, protocol, with_paper))
    write_json(output / "metrics.json", _json(summaries, folders, cases, organs, protocol, with_paper))
    write_csv(output / "metrics.csv", _rows(cases, results, values, organs))
    _save_picture(output / BOX_PLOTS, values["undefined_excluded"], summaries["undefined_excluded"], with_paper)
    print(f"Wrote metrics.json, metrics.csv (a row per volume) and {BOX_PLOTS} to {output}")
    return summaries


def _organs(folders: Folders) -> Organs:
    """Synapse's organs under the names of the dataset.json; those of TransUNet's order where there is none."""
    found = folders.dataset_json
    if found is None or not found.labels:
        return ORGANS
    organs = {name: values[0] for name, values in found.labels.items()}
    by_value = [paper.words(name) for name in sorted(organs, key=organs.__getitem__)]
    known = [[paper.words(organ) for organ in order] for order in (ORGANS, BTCV_ORGANS)]
    in_a_row = sorted(organs.values()) == list(range(1, len(organs) + 1))
    if found.has_regions or found.ignore_label is not None or not in_a_row or by_value not in known:
        raise InputError(
            f"{found.file} has other labels than Synapse's, the eight organs in TransUNet's order or BTCV's thirteen: "
            f"give nnunet-vmunet evaluate labels, which takes any dataset"
        )
    return organs


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


def case_values(agreements: list[dict[int, Agreement]], organs: Organs) -> dict[str, np.ndarray]:
    """(volumes, organs, metrics) under each convention."""
    found = [[by_label[label] for label in organs.values()] for by_label in agreements]
    return {
        "paper_convention": np.array([[in_papers_convention(organ) for organ in row] for row in found]),
        "undefined_excluded": np.array([[(organ.dice, *organ.hd95) for organ in row] for row in found]),
    }


def _report(summaries: dict[str, Summary], results: list[CaseResult], protocol: dict, with_paper: bool) -> str:
    parts = [f"{len(results)} volumes; Dice in percent, HD95 in voxels and in millimetres"]
    for convention, summary in summaries.items():
        in_papers = convention == "paper_convention"
        parts += ["", CONVENTIONS[convention], _table(summary, not in_papers, in_papers and with_paper)]
    parts += ["", *_notes(results, protocol, with_paper)]
    return "\n".join(parts).rstrip()


def _table(summary: Summary, with_excluded: bool, with_paper: bool) -> str:
    span = f"{LEVEL:.0%}"
    rows = [["", "Dice", span, "HD95 voxels", span, "HD95 mm", span]]
    rows += [[organ, *_cells(estimates)] for organ, estimates in {**summary.each, "mean": summary.mean}.items()]
    if with_excluded:
        counts = [f"{count['dice']} / {count['hd95_voxels']}" for count in summary.excluded.values()]
        _append_column(rows, ["excluded: Dice / HD95", *counts, ""])
    if with_paper:
        dice = [number(paper.synapse_dice(organ)) for organ in summary.each]
        means = (paper.SYNAPSE_MEAN_DICE, paper.SYNAPSE_MEAN_HD95) if len(dice) == len(ORGANS) else (None, None)
        _append_column(rows, ["paper: Dice", *dice, number(means[0])])
        _append_column(rows, ["paper: HD95", *("" for _ in dice), number(means[1])])
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


def _notes(results: list[CaseResult], protocol: dict[str, str], with_paper: bool) -> list[str]:
    notes = []
    if all(np.allclose(result.spacing_mm, 1) for result in results):
        notes.append("Every spacing is 1, so mm are voxels here: TransUNet's preprocessed form stores no spacing")
    if with_paper:
        notes += ["The paper's columns are its means over the 12 test volumes", differences(protocol, "synapse")]
    return notes


def _json(
    summaries: dict[str, Summary],
    folders: Folders,
    cases: list[Case],
    organs: Organs,
    protocol: dict[str, str],
    with_paper: bool,
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
            "protocol": protocol,
        },
        "volumes": len(cases),
        **{convention: summary.as_dict("organs") for convention, summary in summaries.items()},
        "paper": _paper_json() if with_paper else None,
    }


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
            row[f"{organ} pred_voxels"] = agreement.pred_pixels
            row[f"{organ} reference_voxels"] = agreement.reference_pixels
            for convention, suffix in (("undefined_excluded", ""), ("paper_convention", " paper_convention")):
                for metric, value in zip(METRICS, values[convention][i, j].tolist(), strict=True):
                    row[f"{organ} {metric}{suffix}"] = value
        rows.append(row)
    return rows


def _save_picture(path: Path, values: np.ndarray, summary: Summary, with_paper: bool) -> None:
    dice, hd95_mm = 100 * values[..., 0].T, values[..., 2].T
    names = list(summary.each)
    panels = [
        Panel(
            ylabel="Dice, percent",
            values=dict(zip(names, dice, strict=True)),
            ours=("mean", [100 * summary.each[organ]["dice"].value for organ in names]),
            paper=("paper's mean", [paper.synapse_dice(organ) for organ in names]) if with_paper else None,
            ceiling=100,
        ),
        Panel(
            ylabel="HD95, mm",
            values=dict(zip(names, hd95_mm, strict=True)),
            ours=("mean", [summary.each[organ]["hd95_mm"].value for organ in names]),
            paper=None,
        ),
    ]
    save_box_plots(path, f"{values.shape[0]} volumes, one point each; undefined values excluded", panels)
