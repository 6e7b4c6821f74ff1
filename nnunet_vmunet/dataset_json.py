"""What a dataset's `dataset.json` says: channels, labels, regions, ignore label, with nnU-Net's own meaning.

nnU-Net reads the file in its `LabelManager` (nnunetv2/utilities/label_handling) and says in assertions what it cannot
use. Here it is read once, for every command, and what it cannot mean is refused with the file's name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from .errors import InputError
from .files.nnunet import read_json

FILE_NAME = "dataset.json"
MAX_LABEL = 255  # label images are read as uint8

# Our readers of photographs, by the channels that each of them gives (see image_io.py).
READERS = {1: "WholeGreyImage2DIO", 3: "WholeImage2DIO", 4: "WholeRGBAImage2DIO"}

# Endings of label images that come back with other values than were written.
LOSSY = (".jpg", ".jpeg", ".jfif")

# Values by the name of the label, which has one, or of the region, which may have several.
Labels = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class DatasetJson:
    """A `dataset.json`; labels and channels are empty where it names none.

    labels: the foreground's labels and regions, in the file's order: with regions, that of the network's outputs.
    ignore_label: what a reference says nothing about.
    regions_class_order: the label that a prediction holds where a region is the last one found.
    """

    file: Path
    content: dict
    channels: tuple[str, ...] = ()
    labels: Labels = field(default_factory=dict)
    ignore_label: int | None = None
    regions_class_order: tuple[int, ...] = ()
    is_old_style: bool = False

    @cached_property
    def has_regions(self) -> bool:
        """Whether a name stands for several labels: the network then says yes or no to each name."""
        return any(len(values) > 1 for values in self.labels.values())

    @cached_property
    def values(self) -> tuple[int, ...]:
        """All numbers that a label image may hold besides the ignore label, the background's 0 first."""
        return tuple(sorted({0, *(value for values in self.labels.values() for value in values)}))

    @property
    def num_outputs(self) -> int:
        """The network's output channels: one for each region, or for each label and the background."""
        return len(self.labels) if self.has_regions else len(self.values)

    @property
    def file_ending(self) -> str | None:
        """Of the images and the label images, such as ".nii.gz"."""
        return self.content.get("file_ending")

    @property
    def reader(self) -> str | None:
        """The class that is to read the images, where the file names one."""
        named = self.content.get("overwrite_image_reader_writer")
        return None if named == "None" else named  # nnU-Net's way to name none

    @property
    def was_averaged(self) -> bool:
        """Whether a converter of ours brought photographs of any size to one size, as "size" says."""
        return self.reader in READERS.values() and isinstance(self.content.get("size"), int)

    @property
    def is_ct(self) -> bool:
        """Whether the first channel holds Hounsfield units."""
        return bool(self.channels) and self.channels[0].lower() == "ct"

    def refuse_lossy_ending(self) -> None:
        """Raise InputError where masks would be written as JPEG, which changes their labels."""
        if (self.file_ending or "").lower() in LOSSY:
            raise InputError(
                f'{self.file} gives "file_ending": "{self.file_ending}", and JPEG changes the labels in masks: write '
                "the dataset anew, with `nnunet-vmunet convert pairs --images imagesTr --masks labelsTr`"
            )

    def refuse_untrainable(self) -> None:
        """Raise InputError for what nnU-Net reads otherwise, or not at all, when it trains."""
        self.refuse_lossy_ending()
        if not self.channels:
            raise InputError(f'{self.file} names no channels: add "channel_names": {{"0": NAME, ...}}')
        if not self.labels:
            raise InputError(f'{self.file} names no label but the background: add one, as in "lesion": 1')
        if self.is_old_style:
            wanted = ", ".join(f'"{name}": {values[0]}' for name, values in self.labels.items())
            raise InputError(
                f'{self.file} names labels as nnU-Net\'s first version did: write "labels": '
                f'{{"background": 0, {wanted}}}'
            )
        if self.has_regions and _holds_strings(self.content["labels"]):
            raise InputError(f"{self.file} has regions and numbers in quotes, which nnU-Net mixes up: take them off")
        for below, above in pairwise(self.values):
            if above != below + 1:
                raise InputError(
                    f"{self.file} has a label {above} and none {below + 1}: nnU-Net wants them without a gap, renumber "
                    "them there and in the label images"
                )


def refuse_lossy(label_image: Path) -> None:
    """Raise InputError for a label image that would be a JPEG file: what is read is not what was written."""
    if label_image.suffix.lower() in LOSSY:
        raise InputError(
            f"{label_image} would be a JPEG file, which changes the labels: write label images as PNG, and convert "
            "a dataset of JPEG masks with `nnunet-vmunet convert pairs`"
        )


def read_dataset_json(file: Path) -> DatasetJson:
    """Read the file.

    Raises:
        InputError: it cannot be read, or says what nnU-Net could not mean.
    """
    return parse_dataset_json(read_json(file, dict), file)


def first_dataset_json(*folders: Path) -> DatasetJson | None:
    """The first one in these folders; None where there is none."""
    files = (folder / FILE_NAME for folder in folders)
    return next((read_dataset_json(file) for file in files if file.is_file()), None)


def parse_dataset_json(content: dict, file: Path) -> DatasetJson:
    """The same for a content that was read already; `file` is what messages name.

    Raises:
        InputError: as for `read_dataset_json`.
    """
    named = _dictionary(content, "labels", file)
    is_old_style = _is_old_style(named)
    if is_old_style:  # {"1": "liver"}, as in nnU-Net's first version and in the Medical Segmentation Decathlon
        named = {"background" if int(number) == 0 else name: number for number, name in named.items()}
    if named and "background" not in named:
        raise InputError(f'{file} names no background: add "background": 0 to its labels')
    numbers: Labels = {name: _numbers(name, value, file) for name, value in named.items()}
    if named and numbers["background"] != (0,):
        raise InputError(f"{file} gives the background as {named['background']}: it must be 0")
    ignored = numbers.pop("ignore", None)
    description = DatasetJson(
        file=file,
        content=content,
        channels=_channels(content, file),
        labels={name: values for name, values in numbers.items() if any(values)},
        ignore_label=ignored[0] if ignored else None,
        regions_class_order=_regions_class_order(content, file),
        is_old_style=is_old_style,
    )
    _refuse_misplaced_ignore_label(description, ignored)
    if description.has_regions and len(description.regions_class_order) != len(description.labels):
        raise InputError(
            f"{file} has {len(description.labels)} regions and {len(description.regions_class_order)} numbers in "
            '"regions_class_order": give one number for each region, in the same order'
        )
    return description


def _is_old_style(named: dict) -> bool:
    return bool(named) and all(key.isdecimal() and isinstance(value, str) for key, value in named.items())


def _dictionary(content: dict, key: str, file: Path) -> dict:
    value = content.get(key) or {}
    if not isinstance(value, dict):
        raise InputError(f'{file} holds "{key}": {value!r}, correct it: nnU-Net wants a dictionary there')
    return value


def _channels(content: dict, file: Path) -> tuple[str, ...]:
    # nnU-Net asks for "modality" first, the name of its first version, when it counts the channels.
    names = _dictionary(content, "modality", file) or _dictionary(content, "channel_names", file)
    return tuple(map(str, names.values()))


def _numbers(name: str, value, file: Path) -> tuple[int, ...]:
    """One number, or those of a region, each as a number or as a string."""
    values = value if isinstance(value, list) else [value]
    found = [int(v) if isinstance(v, str) and v.isdecimal() else v for v in values]
    if not found or not all(type(v) is int and 0 <= v <= MAX_LABEL for v in found):
        raise InputError(f'{file} gives label "{name}" as {value!r}: give a whole number from 0 to {MAX_LABEL}')
    return tuple(dict.fromkeys(found))


def _regions_class_order(content: dict, file: Path) -> tuple[int, ...]:
    order = content.get("regions_class_order") or ()
    if not isinstance(order, (list, tuple)) or not all(type(value) is int for value in order):
        raise InputError(f'{file} holds "regions_class_order": {order!r}, correct it: give a list of numbers')
    return tuple(order)


def _refuse_misplaced_ignore_label(description: DatasetJson, ignored: tuple[int, ...] | None) -> None:
    expected = description.values[-1] + 1
    if ignored is not None and ignored != (expected,):
        raise InputError(
            f"{description.file} gives the ignore label as {', '.join(map(str, ignored))}: nnU-Net wants it to be the "
            f"one above all others, {expected}, there and in the label images"
        )


def _holds_strings(labels: dict) -> bool:
    flat = (number for value in labels.values() for number in (value if isinstance(value, list) else [value]))
    return any(isinstance(number, str) for number in flat)
