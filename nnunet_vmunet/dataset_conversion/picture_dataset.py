"""Pictures and their masks as an nnU-Net raw dataset: what converters of photographs share once they have the cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..dataset_json import READERS
from ..errors import InputError, size_text
from ..files.photographs import Header, read_header, read_photograph, write_png
from ..files.processes import run_parallel
from .masks import BlackAndWhite, MaskCoding

# Names that nnU-Net does not know: each channel is normalised by its own mean and deviation.
CHANNELS = {1: ("grey",), 3: ("R", "G", "B")}
EXIF_CHOICES = ("apply", "ignore")


@dataclass(frozen=True)
class Case:
    """An image and its mask; images to test on may have none."""

    name: str
    image: Path
    mask: Path | None


@dataclass(frozen=True)
class Checked:
    """What the headers of all images and masks say.

    channels: 1 where all images are grey, else 3. bits: of a channel, 16 where grey ones have them.
    exif: "apply", "ignore" or "mixed", whether images that their file says to turn are turned; "none" without any.
    left_as_stored: names of the cases that are not turned. notes: what the user should know.
    """

    channels: int
    bits: int
    exif: str
    left_as_stored: frozenset[str]
    notes: tuple[str, ...]


def check_cases(
    cases: Sequence[Case], *, exif: str | None = None, channels: int | None = None, num_processes: int = 1
) -> Checked:
    """Compare the headers, so that a release with a wrong file in it is refused in seconds.

    exif: "apply" or "ignore", for images whose masks fit both ways.
    channels: 1 or 3, where the images' own kind does not matter.

    Raises:
        InputError: a file is no image, a mask has not its image's size, or fits it turned and not turned.
    """
    headers = run_parallel(_read_headers, cases, num_processes, "Checking")
    left_as_stored, choice = _turning(cases, headers, exif)
    images = [image for image, _ in headers]
    channels = channels or (1 if all(image.is_grey for image in images) else 3)
    bits = max(image.bits for image in images) if channels == 1 else 8
    return Checked(channels, bits, choice, left_as_stored, tuple(_notes(cases, images, channels, choice)))


def write_cases(
    folder: Path,
    pool: Sequence[Case],
    test: Sequence[Case],
    checked: Checked,
    coding: MaskCoding | BlackAndWhite,
    size: int | None,
    num_processes: int,
) -> None:
    """Write imagesTr and labelsTr, and imagesTs and labelsTs where there are cases to test on.

    size: pixels a side; None keeps each image's own size.

    Raises:
        InputError: a file cannot be read, or a mask's pixel has no meaning.
    """
    jobs = []
    for cases, suffix in ((pool, "Tr"), (test, "Ts")):
        images, labels = folder / f"images{suffix}", folder / f"labels{suffix}"
        if cases:
            images.mkdir()
        if any(case.mask for case in cases):
            labels.mkdir()
        for case in cases:
            upright = case.name not in checked.left_as_stored
            jobs.append(_Job(case, images, labels, size, checked.channels, upright, coding))
    run_parallel(_convert, jobs, num_processes, "Converting")


def dataset_json(
    name: str,
    description: str,
    *,
    checked: Checked,
    coding: MaskCoding | BlackAndWhite,
    size: int | None,
    split: str,
    count: int,
    more: dict | None = None,
) -> dict:
    """The content of dataset.json. `more`: keys of one converter's own."""
    return {
        "name": name,
        "description": f"{description}, {size_name(size)}",
        "converted_by": "nnunet-vmunet",
        **(more or {}),
        "split": split,
        "size": size or "native",
        "exif": checked.exif,
        "bits": checked.bits,
        "channel_names": {str(number): channel for number, channel in enumerate(CHANNELS[checked.channels])},
        "labels": coding.names,
        "numTraining": count,
        "file_ending": ".png",
        "overwrite_image_reader_writer": READERS[checked.channels],
    }


def size_name(size: int | None) -> str:
    """For people."""
    return f"{size}x{size} pixels" if size else "the images' own sizes"


@dataclass(frozen=True)
class _Job:
    case: Case
    images: Path
    labels: Path
    size: int | None
    channels: int
    upright: bool
    coding: MaskCoding | BlackAndWhite


def _convert(job: _Job) -> None:
    case = job.case
    image = read_photograph(case.image, job.size, channels=job.channels, upright=job.upright)
    write_png(image, job.images / f"{case.name}_0000.png")
    if case.mask:
        write_png(job.coding.read(case.mask, job.size, upright=job.upright), job.labels / f"{case.name}.png")


def _read_headers(case: Case) -> tuple[Header, Header | None]:
    return read_header(case.image), read_header(case.mask) if case.mask else None


def _turning(
    cases: Sequence[Case], headers: list[tuple[Header, Header | None]], exif: str | None
) -> tuple[frozenset[str], str]:
    """Which cases are left as they are stored, and what that is called."""
    choices = {case.name: _fitting(case, image, mask) for case, (image, mask) in zip(cases, headers, strict=True)}
    decided = Counter(fitting[0] for fitting in choices.values() if len(fitting) == 1)
    open_ones = [case for case in cases if len(choices[case.name]) == 2]
    with_mask = next((case for case in open_ones if case.mask), None)
    if with_mask and exif is None:
        others = " and ".join(f"{count} others by {choice}" for choice, count in decided.items())
        raise InputError(
            f"{with_mask.image} and {with_mask.mask} have different EXIF orientations, and fit turned and not turned"
            f"{f' ({others})' if others else ''}: look at them, then give --exif apply if the mask was drawn on the "
            "turned image, or --exif ignore if on the image as it is stored"
        )
    default = exif or ("ignore" if set(decided) == {"ignore"} else "apply")
    chosen = {name: fitting[0] if len(fitting) == 1 else default for name, fitting in choices.items() if fitting}
    kinds = set(chosen.values())
    choice = "none" if not kinds else kinds.pop() if len(kinds) == 1 else "mixed"
    return frozenset(name for name, one in chosen.items() if one == "ignore"), choice


def _fitting(case: Case, image: Header, mask: Header | None) -> tuple[str, ...]:
    """Of "apply" and "ignore" those with which the mask lies on its image; none where nothing is to be turned."""
    if mask is None:
        return EXIF_CHOICES if image.orientation > 1 else ()
    fits_upright, fits_as_stored = image.upright_size == mask.upright_size, image.stored_size == mask.stored_size
    if not fits_upright and not fits_as_stored:
        raise InputError(
            f"{case.mask} is {size_text(mask.upright_size[::-1])} pixels, its image {case.image} "
            f"{size_text(image.upright_size[::-1])}: download both again, or give the mask that belongs to the image"
        )
    if image.orientation == mask.orientation:  # a mask made from the file as it is stored: both are turned alike
        return ("apply",) if image.orientation > 1 else ()
    return tuple(choice for choice, fits in zip(EXIF_CHOICES, (fits_upright, fits_as_stored), strict=True) if fits)


def _notes(cases: Sequence[Case], images: list[Header], channels: int, choice: str) -> list[str]:
    notes = []
    grey = [image for image in images if image.is_grey]
    if channels == 3 and grey:
        notes.append(f"Grey images: {len(grey)} of {len(images)} become RGB, as others have colours")
    cut = [
        case for case, image in zip(cases, images, strict=True) if image.is_cut or (channels == 3 and image.bits > 8)
    ]
    if cut:
        notes.append(
            f"Depth: of {len(cut)} images with 16 bits a channel, such as {cut[0].image}, the upper 8 are kept"
        )
    deep = sum(image.bits == 16 for image in images)
    if channels == 1 and deep:
        some = "" if deep == len(images) else f" in {deep} of {len(images)} images, 8 in the others"
        notes.append(f"Depth: 16 bits{some}, kept")
    if any(image.has_alpha for image in images):
        notes.append(f"Alpha: dropped from {sum(image.has_alpha for image in images)} images")
    turned = sum(image.orientation > 1 for image in images)
    if choice != "none":
        notes.append(
            f"EXIF: {turned} images are to be turned, by --exif {choice}"
            if choice != "mixed"
            else f"EXIF: {turned} images are to be turned; each was or was not, as the size of its mask says"
        )
    return notes
