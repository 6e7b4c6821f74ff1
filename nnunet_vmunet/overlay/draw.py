"""`nnunet-vmunet overlay`: a picture per case, and contact sheets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..dataset_json import DatasetJson
from ..errors import InputError
from ..evaluation.label_images import Coding, coding_of
from ..files.atomic import atomic_folder, refuse_foreign_files
from ..files.photographs import write_png
from ..files.processes import run_parallel
from .agreement import areas, choose_slices, dice, mean_dice
from .cases import Case, Source
from .panels import rendered
from .pictures import Thumbnail, case_picture, contact_sheets, thumbnail_pixels, worst_first
from .stacks import Window, read_stack

MOST_SLICES = 100  # in one picture


def draw_cases(
    source: Source,
    output: Path,
    *,
    slices: int = 3,
    window: Window | None = None,
    num_processes: int | None = None,
    overwrite: bool = False,
) -> list[Thumbnail]:
    """Write NAME.png for every case and contact_sheet.png, several of them where there are many cases.

    slices: how many of each volume.
    window: the intensities of volumes to draw black and white; None chooses, see `window_of`.
    overwrite: replace an earlier overlay.

    Returns the thumbnails in the order of the contact sheet, worst Dice first.

    Raises:
        InputError: files that do not belong together or cannot be read, or an output folder that is in use.
    """
    _check(source, output, slices, window, overwrite)
    cases = source.cases()
    with atomic_folder(output, overwrite=overwrite) as folder:
        thumbnails = draw_pictures(
            cases, folder, source.dataset_json, slices=slices, window=window, num_processes=num_processes
        )
        sheets = []
        for name, sheet in contact_sheets(thumbnails, _sheet_title(cases)):
            write_png(rendered(sheet), folder / name)
            sheets.append(name)
    _report(source, output, thumbnails, sheets)
    return thumbnails


def draw_pictures(
    cases: list[Case],
    folder: Path,
    dataset_json: DatasetJson | None,
    *,
    slices: int = 3,
    window: Window | None = None,
    num_processes: int | None = None,
) -> list[Thumbnail]:
    """Write NAME.png for every case into a folder that is there, and return the thumbnails, worst Dice first.

    Raises:
        InputError: files that do not belong together or cannot be read.
    """
    files = [file for case in cases for file in (case.prediction, case.reference) if file]
    coding = coding_of(dataset_json, files, num_processes)
    is_ct = dataset_json is not None and dataset_json.is_ct
    draw = _Draw(folder, coding, slices, window, is_ct)
    return worst_first(run_parallel(draw, cases, num_processes, "Drawing"))


@dataclass(frozen=True)
class _Draw:
    folder: Path
    coding: Coding
    slices: int
    window: Window | None
    is_ct: bool

    def __call__(self, case: Case) -> Thumbnail:
        labels = self.coding.labels
        stack = read_stack(case, self.coding, self.window, self.is_ct)
        counts = areas(stack.prediction, stack.reference, labels, self.coding.ignore_label)
        chosen = choose_slices(counts, self.slices)
        drawn = case_picture(case.name, stack, sorted(chosen), labels, counts)
        write_png(rendered(drawn), self.folder / f"{case.name}.png")
        mean = mean_dice(dice(counts)) if case.reference else None
        return Thumbnail(case.name, thumbnail_pixels(stack, chosen[0], labels), mean)


def _check(source: Source, output: Path, slices: int, window: Window | None, overwrite: bool) -> None:
    if not 1 <= slices <= MOST_SLICES:
        raise InputError(f"--slices {slices}: give 1 to {MOST_SLICES}")
    if window and not window[0] < window[1]:
        raise InputError(f"--window {window[0]:g} {window[1]:g}: give the lower intensity first")
    place = output.resolve()
    for folder in filter(None, (source.images, source.predictions, source.references)):
        if place == folder.resolve() or place in folder.resolve().parents:
            raise InputError(f"{output} holds {folder}, which is read: choose another folder for -o")
    if overwrite:
        is_overlay = any(output.glob("contact_sheet*.png"))
        refuse_foreign_files(output, lambda name: is_overlay and name.endswith(".png"), "overlay")


def _sheet_title(cases: list[Case]) -> str:
    if any(case.reference for case in cases):
        return f"{len(cases)} cases, lowest Dice first; prediction solid, reference dashed"
    return f"{len(cases)} cases, predictions by name"


def _report(source: Source, output: Path, thumbnails: list[Thumbnail], sheets: list[str]) -> None:
    missing = source.not_predicted
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        print(f"Not in {source.predictions}, so not drawn: {', '.join(missing[:5])}{more}")
    pictures = "1 picture" if len(thumbnails) == 1 else f"{len(thumbnails)} pictures"
    pages = sheets[0] if len(sheets) == 1 else f"{sheets[0]} to {sheets[-1]}"
    print(f"Wrote {output}: {pictures} and {pages}")
