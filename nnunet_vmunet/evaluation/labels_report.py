"""Dice, IoU, HD95 and surface Dice of a folder of label images with any labels: tables, JSON, CSV and box plots."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from .. import __version__
from ..dataset_json import DatasetJson, Labels
from ..errors import InputError, size_text
from ..files.nnunet import write_json
from ..files.processes import run_parallel
from ..files.volumes import is_volume, refuse_other_grid
from .bootstrap import INTERVALS, LEVEL, Estimate
from .label_folders import BOX_PLOTS, Case, Folders
from .label_images import Coding, coding_of, stack_spacing
from .label_metrics import TOLERANCE, Agreement, label_agreements, long_axes
from .outputs import Panel, interval, make_folder, number, save_box_plots, table, write_csv
from .summary import Summary, summarise, summarise_by

METRICS = ("dice", "iou", "hd95_mm", "hd95_pixels", "surface_dice")
POOLED_METRICS = ("dice", "iou")
TITLES = {"dice": "Dice", "iou": "IoU", "hd95_mm": "HD95 mm", "hd95_pixels": "HD95", "surface_dice": "surface Dice"}
PERCENT = ("dice", "iou", "surface_dice")

WAY_OUT = "predict the reference's own image"


@dataclass(frozen=True)
class LabelsSummary:
    """Of the labels or of the regions: Dice, IoU and surface Dice in fractions of 1, HD95 in mm and in pixels."""

    over_cases: Summary
    all_pixels: Summary


@dataclass(frozen=True)
class CaseResult:
    """One case compared."""

    spacing_mm: tuple[float, ...] | None  # None for pictures, which carry none
    num_axes: int  # 2 or 3
    agreements: tuple[Agreement, ...]  # of each of the values that were asked for

    def values(self) -> np.ndarray:
        """(agreements, metrics), in the order of METRICS."""
        return np.array([self._of_one(found) for found in self.agreements])

    def _of_one(self, found: Agreement) -> tuple[float, ...]:
        hd95_mm = np.nan if self.spacing_mm is None else found.hd95[-1]
        return found.dice, found.iou, hd95_mm, found.hd95[0], found.surface_dice


def evaluate_labels(
    folders: Folders, output: Path | None = None, *, tolerance: float = TOLERANCE, num_processes: int | None = None
) -> dict[str, LabelsSummary]:
    """Print the tables, write metrics.json, metrics.csv and metrics.png, and return the summaries.

    output: folder, by default `metrics` in the predictions' folder.
    tolerance: of surface Dice, in mm, or in pixels where the files carry no spacing.

    Returns the summary of the "labels" and, where the dataset.json has some, of the "regions".

    Raises:
        InputError: folders that do not pair, a file that cannot be read or holds a value that the dataset.json does not
            know, or no room for the output.
    """
    output = output or folders.predictions / "metrics"
    cases = folders.cases()
    refuse_unusable(cases, tolerance)
    make_folder(output)
    evaluation = evaluate_cases(cases, folders.dataset_json, tolerance=tolerance, num_processes=num_processes)
    summaries = {group: evaluation.summary(group) for group in evaluation.groups}
    print(_report(evaluation, summaries))
    write_json(output / "metrics.json", _json(folders, evaluation, summaries))
    write_csv(output / "metrics.csv", _rows(evaluation))
    save_metrics_picture(output / BOX_PLOTS, evaluation, summaries)
    print(f"Wrote metrics.json, metrics.csv (a row per case) and {BOX_PLOTS} to {output}")
    return summaries


def refuse_unusable(cases: list[Case], tolerance: float) -> None:
    """Raise InputError, before anything is written or read, for what `evaluate_cases` could not take."""
    if not 0 <= tolerance < np.inf:
        raise InputError(f"--tolerance {tolerance:g}: give a number from 0")
    _refuse_mixture(cases)


def evaluate_cases(
    cases: list[Case], dataset_json: DatasetJson | None, *, tolerance: float, num_processes: int | None
) -> Evaluation:
    """Compare each case's prediction with its reference; their labels mean the same in all of them.

    Raises:
        InputError: a file that cannot be read or holds a value that the dataset.json does not know, and shapes or
            spacings that do not fit.
    """
    coding = coding_of(dataset_json, [f for c in cases for f in (c.prediction, c.reference)], num_processes)
    groups = groups_of(dataset_json, coding)
    asked = tuple(dict.fromkeys(values for group in groups.values() for values in group.values()))
    results = run_parallel(_Compare(coding, asked, tolerance), cases, num_processes, "Comparing")
    _refuse_missing_spacing(cases, results)
    return Evaluation(cases, coding, groups, asked, results, tolerance)


def groups_of(dataset_json: DatasetJson | None, coding: Coding) -> dict[str, Labels]:
    """The "labels", and before them the "regions" where there are some.

    With regions, the values that they are made of are the labels; one that has no name of its own is called by number.
    """
    if dataset_json is None or not dataset_json.has_regions:
        return {"labels": coding.labels}
    names = {values[0]: name for name, values in coding.labels.items() if len(values) == 1}
    values = sorted({value for values in coding.labels.values() for value in values})
    return {"regions": coding.labels, "labels": {_name(value, names, coding.labels): (value,) for value in values}}


def _name(value: int, names: dict[int, str], taken: Labels) -> str:
    by_number = f"label {value}"
    return names.get(value) or (by_number if by_number not in taken else f"label image value {value}")


@dataclass(frozen=True)
class Evaluation:
    """What was compared and what was found."""

    cases: list[Case]
    coding: Coding
    groups: dict[str, Labels]
    asked: tuple[tuple[int, ...], ...]  # values of each agreement of a result
    results: list[CaseResult]
    tolerance: float

    @property
    def has_spacing(self) -> bool:
        """Whether distances are in mm too; all cases are alike in this."""
        return self.results[0].spacing_mm is not None

    @property
    def pixel(self) -> str:
        """What the cases consist of."""
        return "voxel" if any(result.num_axes > 2 for result in self.results) else "pixel"

    @property
    def unit(self) -> str:
        """Of the tolerance."""
        return "mm" if self.has_spacing else f"{self.pixel}s"

    def places(self, group: str) -> list[int]:
        """Where the agreements of a group's names lie in each result."""
        return [self.asked.index(values) for values in self.groups[group].values()]

    def values(self, group: str) -> np.ndarray:
        """(cases, names, metrics), NaN where undefined."""
        return self._values[:, self.places(group)]

    @cached_property
    def _values(self) -> np.ndarray:
        return np.stack([result.values() for result in self.results])

    def counts(self, group: str) -> np.ndarray:
        """(cases, names, 3) pixels that are predicted, in the reference, and both."""
        found = [
            [(a.pred_pixels, a.reference_pixels, a.common_pixels) for a in result.agreements] for result in self.results
        ]
        return np.array(found, np.float64)[:, self.places(group)]  # exact, and floats multiply fast

    def summary(self, group: str) -> LabelsSummary:
        names = list(self.groups[group])
        counts = self.counts(group)

        def pooled(weights: np.ndarray) -> np.ndarray:
            return pooled_rates((weights @ counts.reshape(len(counts), -1)).reshape(-1, *counts.shape[1:])).reshape(
                len(weights), -1
            )

        undefined = np.isnan(pooled_rates(counts)).sum(axis=0).tolist()
        return LabelsSummary(
            summarise(self.values(group), names, METRICS),
            summarise_by(pooled, len(counts), names, POOLED_METRICS, undefined),
        )


def pooled_rates(counts: np.ndarray) -> np.ndarray:
    """(..., 3) pixels that are predicted, in the reference, and both, to (..., 2) Dice and IoU; NaN where all are 0."""
    predicted, reference, both = np.moveaxis(counts, -1, 0)
    total = predicted + reference
    with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN that is wanted
        return np.stack([2 * both / total, both / (total - both)], axis=-1)


@dataclass(frozen=True)
class _Compare:
    coding: Coding
    asked: tuple[tuple[int, ...], ...]
    tolerance: float

    def __call__(self, case: Case) -> CaseResult:
        spacing = _volume_spacing(case) if is_volume(case.prediction) else None
        prediction, reference = self.coding.prediction(case.prediction), self.coding.reference(case.reference)
        if prediction.shape != reference.shape:
            raise InputError(
                f"{case.prediction} is {size_text(prediction.shape[::-1])} pixels, its reference {case.reference} "
                f"{size_text(reference.shape[::-1])}: {WAY_OUT}"
            )
        if spacing is None and prediction.ndim > 2:
            spacing = _stack_spacing(case)
        kept = long_axes(prediction.shape)
        shape = [prediction.shape[axis] for axis in kept]
        scale = None if spacing is None else [spacing[axis] for axis in kept]
        agreements = label_agreements(
            prediction.reshape(shape),
            reference.reshape(shape),
            {values: values for values in self.asked},
            [None] if scale is None else [None, scale],
            ignore_label=self.coding.ignore_label,
            tolerance=self.tolerance,
        )
        return CaseResult(spacing, max(2, len(shape)), tuple(agreements[values] for values in self.asked))


def _volume_spacing(case: Case) -> tuple[float, ...]:
    """(z, y, x) in mm; both files must have the same."""
    grid = refuse_other_grid(case.prediction, case.reference, WAY_OUT, may_be_flat=True)
    return tuple(grid.spacing_mm[::-1].tolist())


def _stack_spacing(case: Case) -> tuple[float, ...] | None:
    """(z, y, x) in mm of a TIFF's pages, where nnU-Net's file beside either says it."""
    predicted, there = stack_spacing(case.prediction), stack_spacing(case.reference)
    if predicted and there and not np.allclose(predicted, there):
        raise InputError(
            f"{case.prediction} has the spacing {predicted}, its reference {case.reference} {there}: {WAY_OUT}"
        )
    return there or predicted


def _refuse_mixture(cases: list[Case]) -> None:
    """Pictures have pixels and volumes have millimetres, which no mean can be taken over."""
    files = [file for case in cases for file in (case.prediction, case.reference)]
    for file in files:
        if is_volume(file) != is_volume(files[0]):
            raise InputError(
                f"{file} and {files[0]} are a picture and a volume: evaluate them one after the other, in folders of "
                f"their own"
            )


def _refuse_missing_spacing(cases: list[Case], results: list[CaseResult]) -> None:
    without = [case for case, result in zip(cases, results, strict=True) if result.spacing_mm is None]
    if 0 < len(without) < len(cases):
        raise InputError(f"{without[0].reference} has no spacing, and other cases have one: add it to all of them")


def _report(evaluation: Evaluation, summaries: dict[str, LabelsSummary]) -> str:
    distances = f"millimetres and {evaluation.pixel}s" if evaluation.has_spacing else f"{evaluation.pixel}s"
    parts = [
        f"{_number_of_cases(evaluation)}; Dice, IoU and surface Dice in percent, HD95 in {distances}",
        f"Surface Dice: the share of both surfaces that lies within {evaluation.tolerance:g} {evaluation.unit} of the "
        f"other (--tolerance)",
    ]
    parts += _notes(evaluation)
    for group, summary in summaries.items():
        parts += ["", f"{group.capitalize()}, mean over cases", _table(evaluation, summary.over_cases)]
        parts += ["", f"{group.capitalize()}, over all {evaluation.pixel}s", _pooled_table(evaluation, group, summary)]
    return "\n".join([*parts, ""])


def _number_of_cases(evaluation: Evaluation) -> str:
    return f"{len(evaluation.cases)} case{'s' * (len(evaluation.cases) > 1)}"


def _notes(evaluation: Evaluation) -> list[str]:
    notes = []
    ignored = evaluation.coding.ignore_label
    if ignored is not None:
        notes.append(f"What the reference ignores (label {ignored}) is left out on both sides")
    spacings = [result.spacing_mm for result in evaluation.results if result.spacing_mm is not None]
    if spacings and all(np.allclose(spacing, 1) for spacing in spacings):
        notes.append(f"Every spacing is 1: where nobody set it, mm are {evaluation.pixel}s")
    return notes


def _table(evaluation: Evaluation, summary: Summary) -> str:
    rows, note = rows_over_cases(evaluation, summary)
    return "\n".join(filter(None, [table(rows), note]))


def rows_over_cases(evaluation: Evaluation, summary: Summary) -> tuple[list[list[str]], str]:
    """The table of means over cases, its heading first, and a note on what was excluded, or ""."""
    metrics = [metric for metric in METRICS if metric != "hd95_mm" or evaluation.has_spacing]
    titles = {**TITLES, "hd95_pixels": f"HD95 {evaluation.pixel}s"}
    rows = [["", *(cell for metric in metrics for cell in (titles[metric], f"{LEVEL:.0%}"))]]
    rows += [[name, *_cells(estimates, metrics)] for name, estimates in _with_mean(summary).items()]
    if not any(count[metric] for count in summary.excluded.values() for metric in metrics):
        return rows, ""
    rows[0].append("excluded")
    for row, count in zip(rows[1:], summary.excluded.values(), strict=False):  # the mean has none
        row.append(f"{count['dice']} / {count['hd95_pixels']} / {count['surface_dice']}")
    if len(rows) > len(summary.each) + 1:
        rows[-1].append("")
    return rows, "Excluded: cases in which Dice / HD95 / surface Dice are undefined"


def _pooled_table(evaluation: Evaluation, group: str, summary: LabelsSummary) -> str:
    titles = [cell for metric in POOLED_METRICS for cell in (TITLES[metric], f"{LEVEL:.0%}")]
    rows = [["", *titles, f"{evaluation.pixel}s predicted", "in reference"]]
    pixels = evaluation.counts(group).sum(axis=0)
    for i, (name, estimates) in enumerate(_with_mean(summary.all_pixels).items()):
        totals = [f"{count:.0f}" for count in pixels[i, :2]] if i < len(pixels) else ["", ""]
        rows.append([name, *_cells(estimates, POOLED_METRICS), *totals])
    return table(rows)


def _with_mean(summary: Summary) -> dict[str, dict[str, Estimate]]:
    """The rows of a table; of one label alone there is no mean."""
    mean = "mean" if "mean" not in summary.each else "mean of these"
    return {**summary.each, mean: summary.mean} if len(summary.each) > 1 else summary.each


def _cells(estimates: dict[str, Estimate], metrics) -> list[str]:
    return [
        cell
        for metric in metrics
        for cell in (number(estimates[metric].value, _scale(metric)), interval(estimates[metric], _scale(metric)))
    ]


def _scale(metric: str) -> int:
    return 100 if metric in PERCENT else 1


def _json(folders: Folders, evaluation: Evaluation, summaries: dict[str, LabelsSummary]) -> dict:
    over_cases = {group: summary.over_cases.as_dict("each") for group, summary in summaries.items()}
    all_pixels = {
        group: {
            "each": {name: _as_dicts(row) for name, row in summary.all_pixels.each.items()},
            "mean": _as_dicts(summary.all_pixels.mean),
        }
        for group, summary in summaries.items()
    }
    return {
        "task": "labels",
        "version": __version__,
        "settings": {
            **folders.described(),
            **evaluation.groups,
            "ignore_label": evaluation.coding.ignore_label,
            "tolerance": {"value": evaluation.tolerance, "unit": evaluation.unit},
            "units": {
                "dice": "fraction of 1",
                "iou": "fraction of 1",
                "surface_dice": "fraction of 1",
                "hd95_mm": "millimetres",
                "hd95_pixels": f"{evaluation.pixel}s",
            },
            "intervals": INTERVALS,
        },
        "cases": len(evaluation.cases),
        "mean_over_cases": over_cases,
        "all_pixels": all_pixels,
    }


def _as_dicts(estimates: dict[str, Estimate]) -> dict[str, dict]:
    return {metric: asdict(found) for metric, found in estimates.items()}


def _rows(evaluation: Evaluation) -> list[dict]:
    """Per name the pixel counts and the values, empty where undefined."""
    columns = {name: values for group in evaluation.groups.values() for name, values in group.items()}
    rows = []
    for case, result in zip(evaluation.cases, evaluation.results, strict=True):
        row: dict[str, str | float] = {"case": case.name}
        by_values = dict(zip(evaluation.asked, zip(result.agreements, result.values(), strict=True), strict=True))
        for name, values in columns.items():
            agreement, figures = by_values[values]
            row[f"{name} pred_pixels"] = agreement.pred_pixels
            row[f"{name} reference_pixels"] = agreement.reference_pixels
            row[f"{name} common_pixels"] = agreement.common_pixels
            for metric, value in zip(METRICS, figures.tolist(), strict=True):
                row[f"{name} {metric}"] = value
        rows.append(row)
    return rows


def save_metrics_picture(path: Path, evaluation: Evaluation, summaries: dict[str, LabelsSummary]) -> None:
    """IoU has no panel: it says of each case what Dice says, on another scale."""
    distance = "hd95_mm" if evaluation.has_spacing else "hd95_pixels"
    titles = {
        "dice": "Dice, percent",
        "surface_dice": f"surface Dice at {evaluation.tolerance:g} {evaluation.unit}, percent",
        distance: f"HD95, {evaluation.unit}",
    }
    panels = []
    for metric, title in titles.items():
        values: dict[str, np.ndarray] = {}
        means: list[float] = []
        for group, summary in summaries.items():
            of_group = _scale(metric) * evaluation.values(group)[..., METRICS.index(metric)].T
            for name, of_cases in zip(evaluation.groups[group], of_group, strict=True):
                if name not in values:  # a region of one value is a label too
                    values[name] = of_cases
                    means.append(_scale(metric) * summary.over_cases.each[name][metric].value)
        panels.append(Panel(title, values, ("mean", means), None, 100 if metric in PERCENT else None))
    text = f"{_number_of_cases(evaluation)}, one point each; undefined values excluded"
    save_box_plots(path, text, panels)
