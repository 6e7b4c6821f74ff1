"""`nnunet-vmunet report`: what is known about a trained fold, in one HTML file for a notebook or a technical file."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from importlib import metadata
from pathlib import Path

import numpy as np
from PIL import Image

from .. import __version__
from ..errors import InputError
from ..evaluation.compared_models import common_cases, common_dataset_json, trained_models
from ..evaluation.comparison_picture import save_comparison
from ..evaluation.comparison_text import sentences_of
from ..evaluation.label_folders import Folders, trained_fold
from ..evaluation.label_metrics import TOLERANCE
from ..evaluation.labels_report import Evaluation, evaluate_cases, rows_over_cases, save_metrics_picture
from ..evaluation.model_differences import Comparison
from ..files.atomic import atomic_file
from ..files.nnunet import nnunet_folder, read_json
from ..overlay.cases import fold_source
from ..overlay.draw import draw_pictures
from . import html
from .curves import save_curves
from .training_record import read_training

WORST, MEDIAN = 4, 2  # cases that are drawn
MOST_OTHERS = 4  # models that are compared
LONGER_SIDE, QUALITY = 900, 85  # of the JPEG pictures of cases: a report stays below 10 MB
INSTALLED = ("nnunet-vmunet", "nnunetv2", "torch", "numpy")


@dataclass(frozen=True)
class Fold:
    """Which trained fold the report is about: nnU-Net's id or name, and its options."""

    dataset: str
    fold: str
    trainer: str = "nnUNetTrainerVMUNet"
    plans: str = "nnUNetPlans"
    configuration: str = "2d"


def write_report(fold: Fold, output: Path, *, num_processes: int | None = None, overwrite: bool = False) -> None:
    """Write one self-contained HTML file.

    Raises:
        InputError: the fold has no finished validation, its files cannot be read, or `output` exists.
    """
    if output.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"-o {output}: give the name of a file that ends in .html")
    if output.exists() and not overwrite:
        raise InputError(f"{output} exists: give --overwrite to replace it")
    folders = trained_fold(fold.dataset, fold.fold, fold.trainer, fold.plans, fold.configuration)
    with tempfile.TemporaryDirectory(prefix="nnunet-vmunet-") as pictures, atomic_file(output) as partial:
        report = FoldReport(fold, folders, Path(pictures), num_processes)
        title = f"{folders.dataset_name}, fold {fold.fold}"
        under = f"{fold.trainer}, {fold.plans}, {fold.configuration}; written on {date.today()}"
        partial.write_text(html.page(title, under, report.sections()), encoding="utf-8")
    print(f"Wrote {output} ({output.stat().st_size / 1e6:.1f} MB)")


@dataclass(frozen=True)
class FoldReport:
    """The sections of a report. pictures: a folder for what is drawn on the way."""

    fold: Fold
    folders: Folders
    pictures: Path
    num_processes: int | None

    def sections(self) -> Iterator[str]:
        """In the order of reading; each is computed when it is asked for."""
        yield self._validation()
        yield self._cases()
        yield self._comparison()
        yield self._training()
        yield self._data()
        yield self._plans()
        yield self._versions()

    @cached_property
    def evaluation(self) -> Evaluation:
        return evaluate_cases(
            self.folders.cases(), self.folders.dataset_json, tolerance=TOLERANCE, num_processes=self.num_processes
        )

    @property
    def trained(self) -> Path:
        """nnU-Net's folder of the fold."""
        assert self.folders.fold is not None  # the folders are those of a fold
        return self.folders.fold

    def _validation(self) -> str:
        evaluation, parts = self.evaluation, []
        summaries = {group: evaluation.summary(group) for group in evaluation.groups}
        for group, summary in summaries.items():
            rows, note = rows_over_cases(evaluation, summary.over_cases)
            parts += [html.paragraph(f"{group.capitalize()}, mean over cases:"), html.table(rows)]
            parts += [html.paragraph(note, is_note=True)] if note else []
        distances = f"millimetres and {evaluation.pixel}s" if evaluation.has_spacing else f"{evaluation.pixel}s"
        legend = (
            f"{len(evaluation.cases)} cases of the validation part. Dice, IoU and surface Dice (within "
            f"{evaluation.tolerance:g} {evaluation.unit}) in percent, HD95 in {distances}; 95 % bootstrap intervals "
            "over cases."
        )
        save_metrics_picture(self.pictures / "metrics.png", evaluation, summaries)
        plots = html.picture(self.pictures / "metrics.png", "One point for each case; the diamond is the mean")
        return html.section("Validation", html.paragraph(legend), *parts, plots)

    def _cases(self) -> str:
        fold, title = self.fold, "Worst and median cases"
        try:
            source = fold_source(None, fold.dataset, fold.fold, fold.trainer, fold.plans, fold.configuration)
            cases = {case.name: case for case in source.cases()}
        except InputError as error:
            return html.section(title, html.paragraph(f"Not drawn: {error}", is_note=True))
        chosen = self._chosen_cases()
        drawn = [cases[name] for name, _, _ in chosen]
        draw_pictures(drawn, self.pictures, source.dataset_json, num_processes=self.num_processes)
        shown = (
            html.picture(_as_jpeg(self.pictures / f"{name}.png"), f"{name}: {rank}, mean Dice {100 * dice:.1f}")
            for name, rank, dice in chosen
        )
        legend = "The prediction's contour is solid, the reference's dashed."
        return html.section(title, html.paragraph(legend), html.side_by_side(shown))

    def _chosen_cases(self) -> list[tuple[str, str, float]]:
        """Name, rank and mean Dice over the labels: the worst cases, then those in the middle."""
        dice = self.evaluation.values(next(iter(self.evaluation.groups)))[..., 0]  # (cases, names)
        defined = np.flatnonzero(~np.isnan(dice).all(axis=1))
        means = np.nanmean(dice[defined], axis=1)
        order = np.argsort(means, kind="stable").tolist()
        worst = order[:WORST]
        middle = max(len(worst), (len(order) - MEDIAN) // 2)
        places = [*((i, "worst") for i in worst), *((i, "median") for i in order[middle : middle + MEDIAN])]
        names = [case.name for case in self.evaluation.cases]
        return [(names[defined[i]], rank, float(means[i])) for i, rank in places]

    def _comparison(self) -> str:
        title, others = "Compared with other models of this fold", self._others()
        if not others:
            return html.section(title, html.paragraph("No other model has validated the same fold.", is_note=True))
        parts = []
        for other in others:
            try:
                parts.append(self._compared_with(other))
            except InputError as error:
                parts.append(html.paragraph(f"{'__'.join(other)} is left out: {error}", is_note=True))
        return html.section(title, *parts)

    def _others(self) -> Sequence[tuple[str, ...]]:
        """Trainer, plans and configuration of the models that have validated the same fold."""
        own = self.trained.parent
        found: list[tuple[str, ...]] = [
            tuple(validation.parents[1].name.split("__"))
            for validation in sorted(own.parent.glob(f"*__*__*/fold_{self.fold.fold}/validation"))
            if validation.parents[1] != own and (validation / "summary.json").is_file()
        ]
        return [names for names in found if len(names) == 3][:MOST_OTHERS]

    def _compared_with(self, other: Sequence[str]) -> str:
        fold = self.fold
        own = (fold.trainer, fold.plans, fold.configuration)
        models = trained_models(
            fold.dataset, [fold.fold], *([theirs, ours] for theirs, ours in zip(other, own, strict=True))
        )
        names, cases, _ = common_cases(models)
        every = [case for of_model in cases for case in of_model]
        dataset_json = common_dataset_json(models)
        evaluation = evaluate_cases(every, dataset_json, tolerance=TOLERANCE, num_processes=self.num_processes)
        comparison = Comparison(models, names, evaluation, None)
        file = self.pictures / f"{'__'.join(other)}.png"
        save_comparison(file, comparison)
        caption = f"{models[0].name} (○) and {models[1].name} (●): a line for each case"
        return "".join(map(html.paragraph, sentences_of(comparison))) + html.picture(file, caption)

    def _training(self) -> str:
        record = read_training(self.trained)
        facts = {
            "epochs": record.epochs or None,
            "minutes": None if record.minutes is None else f"{record.minutes:.0f}, of the epochs",
            "seed": record.seed,
            "weights at the start": record.start,
            **record.machine,
        }
        weights = {f"weights: {name}": value for name, value in record.weights.items()}
        parts = [html.facts({**facts, **weights})]
        if record.curves:
            save_curves(self.pictures / "curves.png", record)
            caption = "As nnU-Net logged them; Dice during training is of patches, not of whole cases"
            parts.insert(0, html.picture(self.pictures / "curves.png", caption))
        else:
            parts.append(html.paragraph("No final checkpoint: there are no curves and no weights.", is_note=True))
        return html.section("Training", *parts)

    def _data(self) -> str:
        description = self.folders.dataset_json
        assert description is not None  # a trained fold has one
        content = description.content
        splits = _split(self.folders.dataset_name, self.fold.fold)
        facts = {
            "dataset": self.folders.dataset_name,
            "release": content.get("release"),
            "description": content.get("description"),
            "licence": content.get("licence") or content.get("license"),
            "channels": ", ".join(description.channels),
            "labels": ", ".join(f"{name} ({_numbers(values)})" for name, values in description.labels.items()),
            "ignored label": description.ignore_label,
            "cases": content.get("numTraining"),
            "size in pixels": content.get("size"),
            **_measured(self.trained.parent / "dataset_fingerprint.json"),
        }
        parts = [html.facts(facts)]
        if splits:
            counts = {part: len(names) for part, names in splits.items()}
            parts.append(
                html.paragraph(
                    f"Fold {self.fold.fold}: {counts['train']} training cases, {counts['val']} for validation."
                )
            )
            parts.append(html.folded("The validation cases", ", ".join(sorted(splits["val"]))))
        return html.section("Data and split", *parts)

    def _plans(self) -> str:
        plans = read_json(self.trained.parent / "plans.json", dict)
        settings = _inherited(plans["configurations"], self.fold.configuration)
        architecture = settings.get("architecture", {})
        sizes = {name: value for name, value in architecture.get("arch_kwargs", {}).items() if "import" not in name}
        return html.section(
            "Plans",
            html.facts(
                {
                    "plans": plans.get("plans_name"),
                    "planner": plans.get("experiment_planner_used"),
                    "image reader": plans.get("image_reader_writer"),
                    "patch": _by(settings.get("patch_size")),
                    "batch": settings.get("batch_size"),
                    "spacing": _by(settings.get("spacing"), "{:.4g}"),
                    "normalisation": ", ".join(settings.get("normalization_schemes", ())),
                    "resampling of images": settings.get("resampling_fn_data"),
                    "network": architecture.get("network_class_name"),
                    **{f"network: {name}": value for name, value in sizes.items() if not isinstance(value, dict)},
                }
            ),
        )

    def _versions(self) -> str:
        installed = {name: _version(name) for name in INSTALLED}
        return html.section(
            "Written with",
            html.facts({**installed, "Python": platform.python_version(), "system": platform.platform()}),
            html.paragraph(
                "The model is no medical device. Figures are of this validation part, which says little about other "
                "scanners, hospitals and patients.",
                is_note=True,
            ),
        )


def _as_jpeg(file: Path) -> Path:
    jpeg = file.with_suffix(".jpg")
    with Image.open(file) as image:
        image.thumbnail((LONGER_SIDE, LONGER_SIDE))
        image.convert("RGB").save(jpeg, quality=QUALITY)
    return jpeg


def _split(dataset_name: str | None, fold: str) -> dict[str, list[str]] | None:
    """The names in each part; None for fold all, and where nnU-Net's file is gone."""
    preprocessed = nnunet_folder("nnUNet_preprocessed")
    file = preprocessed / str(dataset_name) / "splits_final.json" if preprocessed else None
    if file is None or not file.is_file() or not fold.isdecimal():
        return None
    folds = read_json(file, list)
    return folds[int(fold)] if int(fold) < len(folds) else None


def _measured(fingerprint: Path) -> dict[str, str]:
    """Median size and spacing of the training images, as nnU-Net measured them."""
    if not fingerprint.is_file():
        return {}
    content = read_json(fingerprint, dict)
    sizes, spacings = (np.median(content[key], axis=0) for key in ("shapes_after_crop", "spacings"))
    return {
        "median size": _by([int(length) for length in sizes]) or "",
        "median spacing": _by(spacings.tolist(), "{:.4g}") or "",
    }


def _inherited(configurations: dict, name: str) -> dict:
    settings = configurations[name]
    parent = settings.get("inherits_from")
    return {**_inherited(configurations, parent), **settings} if parent else settings


def _numbers(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))


def _by(lengths: Sequence | None, form: str = "{}") -> str | None:
    """Such as 256 x 256, rows first as nnU-Net writes them."""
    return None if lengths is None else " x ".join(form.format(length) for length in lengths)


def _version(package: str) -> str | None:
    if package == "nnunet-vmunet":
        return __version__
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
