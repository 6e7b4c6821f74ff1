"""ISIC's metrics of a folder of masks: table, JSON, CSV and box plots."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from .. import __version__
from ..errors import InputError, size_text
from ..files.nnunet import write_json
from ..files.processes import run_parallel
from . import paper
from .bootstrap import INTERVALS, LEVEL, Estimate, estimate, mean_of_defined
from .isic_metrics import METRICS, as_mask, confusion, nearest, rates
from .label_folders import BOX_PLOTS, Case, Folders
from .label_images import read_labels
from .outputs import Panel, interval, make_folder, number, save_box_plots, table, write_csv
from .protocol import differences, protocol_of, release_of

# The side that the paper resizes images and masks to.
SIDE = 256

# Columns in the paper's order, under the names that readers know.
TITLES = {"miou": "IoU", "dsc": "Dice", "acc": "Accuracy", "spe": "Specificity", "sen": "Sensitivity"}


@dataclass(frozen=True)
class IsicSummary:
    """All in fractions of 1, per metric."""

    all_pixels: dict[str, Estimate]
    mean_over_images: dict[str, Estimate]
    excluded: dict[str, int]  # images that the mean leaves out because the metric is undefined there


def evaluate_isic(
    folders: Folders,
    output: Path | None = None,
    *,
    native: bool = False,
    paper_row: str | None = None,
    num_processes: int | None = None,
) -> IsicSummary:
    """Print the table and write metrics.json, metrics.csv and metrics.png.

    output: folder, by default `metrics` in the predictions' folder.
    native: compare at the images' own size instead of 256×256.
    paper_row: "isic17" or "isic18"; by default the release that a converter made the dataset of, as it wrote there.

    Raises:
        InputError: folders that do not pair, a file that is no mask, labels that are no lesion's, or no room for the
            output.
    """
    _refuse_other_labels(folders)
    cases = folders.cases()
    output = output or folders.predictions / "metrics"
    make_folder(output)
    side = None if native else SIDE
    counts = np.stack(run_parallel(_Compare(side), cases, num_processes, "Comparing"))
    summary = summarise(counts)
    released = release_of(folders)
    paper_row = paper_row or (released if released in paper.ISIC else None)
    protocol = protocol_of(folders, f"{side}x{side}" if side else "the images' own")
    print(_table(summary, len(cases), side, paper_row, protocol))
    write_json(output / "metrics.json", _json(summary, folders, len(cases), side, paper_row, protocol))
    write_csv(output / "metrics.csv", _rows(cases, counts))
    _save_picture(output / BOX_PLOTS, summary, counts, paper_row)
    print(f"Wrote metrics.json, metrics.csv (a row per image) and {BOX_PLOTS} to {output}")
    return summary


def _refuse_other_labels(folders: Folders) -> None:
    found = folders.dataset_json
    if found is None:
        return
    kinds = {
        "regions": found.has_regions,
        "an ignore label": found.ignore_label is not None,
        f"{len(found.labels)} labels": len(found.labels) > 1,
    }
    has = ", ".join(kind for kind, is_there in kinds.items() if is_there)
    if has:
        raise InputError(
            f"{found.file} has {has}, and ISIC's protocol knows one lesion and nothing else: give nnunet-vmunet "
            f"evaluate labels, which takes any dataset"
        )


@dataclass(frozen=True)
class _Compare:
    """Counts one case, as of `confusion`, at side × side pixels; where side is None, at the image's own size."""

    side: int | None

    def __call__(self, case: Case) -> np.ndarray:
        prediction, reference = _read_mask(case.prediction), _read_mask(case.reference)
        if prediction.shape != reference.shape:
            raise InputError(
                f"{case.prediction} is {size_text(prediction.shape[::-1])} pixels, its reference {case.reference} "
                f"{size_text(reference.shape[::-1])}: predict the image that the reference belongs to"
            )
        if self.side:
            prediction, reference = nearest(prediction, self.side), nearest(reference, self.side)
        return confusion(prediction, reference)


def _read_mask(path: Path) -> np.ndarray:
    labels = read_labels(path, (0, 1, 255))
    if labels.ndim != 2:
        raise InputError(f"{path} has shape {labels.shape}: a lesion mask is one picture, of two dimensions")
    try:
        return as_mask(labels, str(path))
    except ValueError as error:  # 1 and 255 in one file
        raise InputError(str(error)) from error


def summarise(counts: np.ndarray) -> IsicSummary:
    """(n, 4) counts of n images, as of `confusion`, to both kinds of averages and their intervals."""
    per_image = rates(counts)
    pooled = estimate(lambda weights: rates(weights @ counts), len(counts))
    means = estimate(lambda weights: mean_of_defined(per_image, weights), len(counts))
    excluded = np.isnan(per_image).sum(axis=0).tolist()
    return IsicSummary(*(dict(zip(METRICS, values, strict=True)) for values in (pooled, means, excluded)))


def _table(
    summary: IsicSummary, num_images: int, side: int | None, paper_row: str | None, protocol: dict[str, str]
) -> str:
    rows = [["percent", *TITLES.values()]]
    for title, estimates in (("all pixels", summary.all_pixels), ("mean over images", summary.mean_over_images)):
        rows.append([title, *(number(estimates[metric].value, 100) for metric in TITLES)])
        rows.append([f"  {LEVEL:.0%} interval", *(interval(estimates[metric], 100) for metric in TITLES)])
    if paper_row:
        rows.append([_title(paper_row), *(number(paper.ISIC[paper_row][metric]) for metric in TITLES)])
    size = f"{side}x{side} pixels" if side else "the images' own sizes"
    lines = [f"{num_images} images, masks compared at {size}", table(rows)]
    if any(summary.excluded.values()):
        undefined = ", ".join(f"{TITLES[metric]} {count}" for metric, count in summary.excluded.items() if count)
        lines.append(f"Undefined for empty masks and left out of the mean over images: {undefined}")
    if paper_row:
        lines += ["The paper's row is all pixels at 256x256", differences(protocol, "isic")]
    return "\n".join(lines)


def _json(
    summary: IsicSummary,
    folders: Folders,
    num_images: int,
    side: int | None,
    paper_row: str | None,
    protocol: dict[str, str],
) -> dict:
    return {
        "task": "isic",
        "version": __version__,
        "settings": {
            **folders.described(),
            "size": [side, side] if side else "native",
            "protocol": protocol,
            "unit": "fraction of 1",
            "intervals": INTERVALS,
        },
        "images": num_images,
        "all_pixels": {metric: asdict(found) for metric, found in summary.all_pixels.items()},
        "mean_over_images": {
            metric: {**asdict(found), "excluded": summary.excluded[metric]}
            for metric, found in summary.mean_over_images.items()
        },
        "paper": {"dataset": paper_row, "unit": "percent", **paper.ISIC[paper_row]} if paper_row else None,
    }


def _rows(cases: list[Case], counts: np.ndarray) -> list[dict]:
    names = ("true_positives", "false_positives", "false_negatives", "true_negatives")
    return [
        {
            "case": case.name,
            **dict(zip(METRICS, rates(case_counts).tolist(), strict=True)),
            **dict(zip(names, case_counts.tolist(), strict=True)),
        }
        for case, case_counts in zip(cases, counts, strict=True)
    ]


def _save_picture(path: Path, summary: IsicSummary, counts: np.ndarray, paper_row: str | None) -> None:
    per_image = dict(zip(METRICS, 100 * rates(counts).T, strict=True))
    panel = Panel(
        ylabel="percent",
        values={title: per_image[metric] for metric, title in TITLES.items()},
        ours=("all pixels", [100 * summary.all_pixels[metric].value for metric in TITLES]),
        paper=(_title(paper_row), [paper.ISIC[paper_row][metric] for metric in TITLES]) if paper_row else None,
        ceiling=100,
    )
    save_box_plots(path, f"{len(counts)} images, one point each", [panel])


def _title(paper_row: str) -> str:
    return f"paper, {paper_row.upper()}"
