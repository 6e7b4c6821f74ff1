"""`nnunet-vmunet predict`: a mask for every image of a folder, each written when it is computed."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from ..dataset_json import FILE_NAME, DatasetJson
from ..errors import InputError, print_refusal
from ..files.atomic import staging_folder
from ..files.nnunet import write_json
from ..files.photographs import SUFFIXES, WRITTEN_ENDINGS, write_picture
from ..files.processes import progress
from .inputs import Input, inputs_of
from .model import Job, Model, Result

PICTURES = "overlay"  # the folder of the pictures, beside the masks


@dataclass(frozen=True)
class Output:
    """What is written, and where.

    values: of the pixels in the mask of the highest label, the others evenly below; None writes the labels themselves.
    keep: leave masks that are there, and predict what is missing. overwrite: replace them.
    """

    folder: Path
    values: int | None = None
    probabilities: bool = False
    overlay: bool = False
    keep: bool = False
    overwrite: bool = False


def predict_folder(model: Model, images: Path, output: Output) -> int:
    """Write NAME.png, or a volume of the input's own kind, into the output's folder for each image.

    A photograph's mask has the pixels of the photograph as viewers show it, upright. Beside the masks lies the model's
    dataset.json, which names their labels, unless the values are others.

    Returns:
        The exit code: 1 where images could not be read, which are named at the end.

    Raises:
        InputError: there is nothing to predict, or the output's folder is in use.
    """
    _check(model, images, output)
    endings = SUFFIXES if model.takes_photographs else model.endings
    inputs, others = inputs_of(images, endings, model.files_per_image)
    if others:
        print(f"Ignored in {images}: {others} other file{'s' * (others > 1)} (the model takes {', '.join(endings)})")
    files = {image.name: output.folder / mask_name(model, image.files[0], image.name) for image in inputs}
    wanted = [image for image in inputs if not (output.keep and _is_complete(files[image.name], output))]
    if len(wanted) < len(inputs):
        print(f"There already: {len(inputs) - len(wanted)} of {len(inputs)}")
    if output.values is None:
        write_json(output.folder / FILE_NAME, model.description.content)
    errors = _predict(model, wanted, files, output)
    written = [image for image in wanted if image.name not in errors]
    print(f"Wrote {output.folder}: {len(written)} mask{'s' * (len(written) != 1)}")
    predicted = [image for image in inputs if image.name not in errors]
    if output.overlay and predicted:
        _draw(predicted, files, model, output, images if images.is_dir() else images.parent)
    return _report(errors, len(wanted))


def _predict(model: Model, images: Sequence[Input], files: dict[str, Path], output: Output) -> dict[str, InputError]:
    """The errors of the images that were not predicted, by name."""
    errors: dict[str, InputError] = {}
    notes: Counter[str] = Counter()
    with staging_folder(output.folder) as staged, progress(len(images), "Predicting") as bar:

        def job(image: Input) -> Job:
            whole = image.files[0] if len(image.files) == 1 else image.files
            return Job(whole, then=partial(_write, mask=files[image.name], staged=staged, output=output, model=model))

        for image, outcome in zip(images, model.outcomes(map(job, images)), strict=True):
            try:
                notes[outcome.result().note or ""] += 1
            except InputError as error:
                errors[image.name] = error
            bar.update()
    for note, count in notes.items():
        if note:
            print(f"Note: {count} of {len(images)} images {note}")
    return errors


def _write(result: Result, mask: Path, staged: Path, output: Output, model: Model) -> None:
    """Write into the hidden folder, then move: the mask last, so that where it is all is."""
    written = staged / mask.name
    if output.values is None:
        result.save(written)
    else:
        write_picture(_spread(model.description, output.values)[result.mask], written)
    if output.probabilities:
        probabilities = result.probabilities[:, None] if model.takes_photographs else result.probabilities
        np.savez_compressed(_probabilities_beside(written), probabilities=probabilities)
        _probabilities_beside(written).replace(_probabilities_beside(mask))
    written.replace(mask)


def _spread(description: DatasetJson, highest: int) -> np.ndarray:
    """The value of each label: evenly spaced up to the highest."""
    labels = np.arange(max(description.values) + 1)
    return (labels * highest // max(description.values)).astype(np.uint8)


def _check(model: Model, images: Path, output: Output) -> None:
    if output.values is not None:
        most = max(model.description.values)
        if not model.takes_photographs:
            raise InputError("--values is for masks of photographs, which people look at: leave it out for volumes")
        if not most <= output.values <= 255:
            raise InputError(f"--values {output.values}: give {most} to 255, of the highest of the labels")
    place = output.folder.resolve()
    if place == (images if images.is_dir() else images.parent).resolve():
        raise InputError(f"{output.folder} is the folder of the images: choose another folder for -o")
    if place.exists() and not place.is_dir():
        raise InputError(f"{output.folder} is a file: give a folder as -o")
    if place.is_dir() and not (output.keep or output.overwrite) and any(place.glob("[!.]*")):
        raise InputError(
            f"{output.folder} is not empty: give --continue_prediction to add the masks that are missing, or "
            "--overwrite to replace them"
        )


def mask_name(model: Model, image: Path, name: str | None = None) -> str:
    """The name of the mask's file. name: of the image without ending, where that is not the file's own.

    Of a photograph it ends as the dataset's masks do, as a JPEG cannot be one; of a volume as the input does.
    """
    endings = SUFFIXES if model.takes_photographs else model.endings
    ending = next(ending for ending in endings if image.name.lower().endswith(ending))
    stem = image.name[: -len(ending)] if name is None else name
    if model.takes_photographs:
        named = model.description.file_ending
        ending = named if named in WRITTEN_ENDINGS and named in model.endings else ".png"
    return stem + ending


def _is_complete(mask: Path, output: Output) -> bool:
    return mask.is_file() and (not output.probabilities or _probabilities_beside(mask).is_file())


def _probabilities_beside(mask: Path) -> Path:
    ending = ".nii.gz" if mask.name.lower().endswith(".nii.gz") else mask.suffix
    return mask.with_name(f"{mask.name[: -len(ending)]}.npz")


def _draw(images: Sequence[Input], files: dict[str, Path], model: Model, output: Output, source: Path) -> None:
    from ..overlay.cases import Case, Predicted
    from ..overlay.draw import draw_cases

    description = model.description
    if output.values is not None:
        spread = _spread(description, output.values)
        labels = {name: tuple(int(spread[value]) for value in values) for name, values in description.labels.items()}
        description = replace(description, labels=labels)
    cases = tuple(Case(image.name, image.files, files[image.name], None) for image in images)
    drawn = Predicted(source, output.folder, None, {}, description, known=cases)
    draw_cases(drawn, output.folder / PICTURES, num_processes=1, overwrite=output.keep or output.overwrite)


def _report(errors: dict[str, InputError], count: int) -> int:
    for error in errors.values():
        print_refusal(error)
    if errors:
        print(f"Not predicted: {len(errors)} of {count}", file=sys.stderr)
    return 1 if errors else 0
