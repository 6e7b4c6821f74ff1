"""Which image, prediction and reference belong together: paired by file name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path

from ..dataset_json import DatasetJson, first_dataset_json
from ..errors import InputError
from ..evaluation.label_folders import given_folders, label_files, trained_fold
from ..files.listing import by_case, files_with_endings
from ..files.nnunet import nnunet_folder
from ..files.photographs import SUFFIXES
from ..files.volumes import VOLUMES, is_volume

IMAGES = (*VOLUMES, *SUFFIXES)


@dataclass(frozen=True)
class Case:
    name: str
    channels: tuple[Path, ...]  # one file, or nnU-Net's NAME_0000, NAME_0001, ...
    prediction: Path
    reference: Path | None

    @property
    def is_volume(self) -> bool:
        return is_volume(self.channels[0])


@dataclass(frozen=True)
class Source:
    """The folders of one run and what nnU-Net's dataset.json beside them says."""

    images: Path
    predictions: Path
    references: Path | None
    masks: Mapping[str, tuple[Path, Path | None]]  # prediction and reference by case
    dataset_json: DatasetJson | None
    not_predicted: tuple[str, ...] = ()  # cases that have a reference, and that no picture shows

    def cases(self) -> list[Case]:
        """Sorted by name; what is not predicted is left out."""
        files = image_files(self.images)
        return [
            _of_one_kind(Case(name, self._channels(name, prediction, files), prediction, reference))
            for name, (prediction, reference) in sorted(self.masks.items())
        ]

    def _channels(self, name: str, prediction: Path, files: dict[str, Path]) -> tuple[Path, ...]:
        numbered = (f"{name}_{i:04d}" for i in count())
        channels = tuple(files[channel] for channel in takewhile(files.__contains__, numbered))
        if channels and name in files:
            raise InputError(f"{files[name]} and {channels[0]} are the same case: remove one of them")
        if not channels and name not in files:
            raise InputError(
                f"{prediction} has no image in {self.images}, neither {name} nor {name}_0000: give the folder of the "
                f"images that were predicted as -i"
            )
        return channels or (files[name],)


@dataclass(frozen=True)
class Predicted(Source):
    """Images that know their masks already."""

    known: tuple[Case, ...] = ()

    def cases(self) -> list[Case]:
        return list(self.known)


def given_source(images: Path, predictions: Path, references: Path | None = None) -> Source:
    """The folders that the user names; references without prediction are left out."""
    if not images.is_dir():
        raise InputError(f"{images} is no folder: give the folder of images as -i")
    if references is not None:
        folders = given_folders(predictions, references, chill=True)
        masks = {case.name: (case.prediction, case.reference) for case in folders.cases()}
        missing = set(label_files(references, folders.dataset_json)) - set(masks)
        dataset_json = folders.dataset_json or first_dataset_json(images.parent)
        return Source(images, predictions, references, masks, dataset_json, tuple(sorted(missing)))
    if not predictions.is_dir():
        raise InputError(f"{predictions} is no folder: give one of label images as -p")
    dataset_json = first_dataset_json(predictions, predictions.parent, images.parent)
    files = label_files(predictions, dataset_json)
    return Source(images, predictions, None, {name: (file, None) for name, file in files.items()}, dataset_json)


def fold_source(images: Path | None, dataset: str, fold: str, trainer: str, plans: str, configuration: str) -> Source:
    """The validation of a trained fold, by default over nnUNet_raw/DATASET/imagesTr."""
    folders = trained_fold(dataset, fold, trainer, plans, configuration)
    masks = {case.name: (case.prediction, case.reference) for case in folders.cases()}
    images = images or _training_images(str(folders.dataset_name))
    return Source(images, folders.predictions, folders.references, masks, folders.dataset_json)


def image_files(folder: Path) -> dict[str, Path]:
    """Photographs and volumes directly inside a folder by name without ending."""
    files = by_case(files_with_endings(folder, IMAGES))
    if not files:
        raise InputError(f"{folder} holds no images ({', '.join(IMAGES)}): give another folder as -i")
    return files


def _of_one_kind(case: Case) -> Case:
    for mask in filter(None, (case.prediction, case.reference)):
        if is_volume(mask) != case.is_volume:
            kinds = {True: "a volume", False: "a picture"}
            raise InputError(
                f"{mask} is {kinds[is_volume(mask)]}, its image {case.channels[0]} {kinds[case.is_volume]}: "
                f"give the images that were predicted as -i"
            )
    return case


def _training_images(dataset_name: str) -> Path:
    raw = nnunet_folder("nnUNet_raw")
    if raw is None:
        raise InputError("nnUNet_raw is not set: export nnUNet_raw=FOLDER, or give the folder of images as -i")
    images = raw / dataset_name / "imagesTr"
    if not images.is_dir():
        raise InputError(f"{images} is not there: give the folder of images as -i")
    return images
