"""Where a trained model lies: a folder as nnU-Net leaves it, a zip that nnU-Net exported, or a dataset's trained model.

Nothing of nnU-Net is imported here, and nothing in a checkpoint is run.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..dataset_json import FILE_NAME, DatasetJson, read_dataset_json
from ..errors import InputError
from ..files.nnunet import datasets_called, nnunet_folder, read_json

FINAL = "checkpoint_final.pth"
PLANS = "plans.json"
_OURS = "nnUNetTrainerVMUNet"


@dataclass(frozen=True)
class Choice:
    """Which model is meant, where a place holds several; None takes what is there.

    folds: numbers, or "all". checkpoint: the name of the file in each fold's folder.
    """

    trainer: str | None = None
    plans: str | None = None
    configuration: str | None = None
    folds: tuple[str, ...] | None = None
    checkpoint: str = FINAL

    def means(self, folder_name: str) -> bool:
        """Whether a model in a folder TRAINER__PLANS__CONFIGURATION may be meant."""
        parts = folder_name.split("__")
        given = self.trainer, self.plans, self.configuration
        return len(parts) == 3 and all(want in (None, part) for want, part in zip(given, parts, strict=True))


@dataclass(frozen=True)
class ModelFiles:
    """The files of one trained model.

    name: what messages call it. folder: with plans.json, dataset.json and a folder for each fold.
    checkpoints: one of each fold that predicts, by the fold's name.
    """

    name: str
    folder: Path
    checkpoints: dict[str, Path]

    def plans(self) -> dict:
        """Raises InputError where the file cannot be read."""
        return read_json(self.folder / PLANS, dict)

    def description(self) -> DatasetJson:
        """Raises InputError where the dataset.json cannot be read, or says what nnU-Net could not mean."""
        return read_dataset_json(self.folder / FILE_NAME)


@contextmanager
def model_files(model: Path, choice: Choice) -> Iterator[ModelFiles]:
    """The files of the model in a folder or in a zip, which is unpacked as long as the block lasts.

    Raises:
        InputError: there is none, or there are several and `choice` leaves open which.
    """
    if model.is_dir():
        yield _in_folder(model, choice)
    elif not model.exists():
        raise InputError(f"{model} is not there: give a model's folder or an exported zip as -m, or a dataset as -d")
    elif zipfile.is_zipfile(model) and model.suffix.lower() == ".zip":
        with tempfile.TemporaryDirectory(prefix="nnunet-vmunet-") as unpacked:
            yield _in_zip(model, choice, Path(unpacked))
    else:
        raise InputError(
            f"{model} is no model: give the folder that holds {PLANS}, or the zip of nnUNetv2_export_model_to_zip"
        )


def trained_model(dataset: str) -> Path:
    """The folder in $nnUNet_results that holds a dataset's models. dataset: nnU-Net's id or name.

    Raises:
        InputError: the variable is not set, or no or several datasets are called so.
    """
    results = nnunet_folder("nnUNet_results")
    if results is None:
        raise InputError("nnUNet_results is not set: export nnUNet_results=FOLDER, or give the model's folder as -m")
    found = datasets_called(dataset, results)
    if len(found) != 1:
        there = " and ".join(folder.name for folder in found) or "no trained model of that dataset"
        raise InputError(f"-d {dataset}: {results} holds {there}, give the whole name of one, or its folder as -m")
    return found[0]


def _in_folder(model: Path, choice: Choice) -> ModelFiles:
    if not (model / PLANS).is_file():
        inside = [folder.name for folder in sorted(model.iterdir()) if (folder / PLANS).is_file()]
        if not inside:
            raise InputError(f"{model} holds no {PLANS}, give the folder that nnUNetv2_train wrote: {_way_out(model)}")
        return _in_folder(model / _the_one(inside, choice, model), choice)
    folds = {
        folder.name: folder / choice.checkpoint
        for folder in sorted(model.glob("fold_*"))
        if (folder / choice.checkpoint).is_file()
    }
    return ModelFiles(str(model), model, _chosen_folds(folds, choice, model))


def _way_out(model: Path) -> str:
    above = next((folder for folder in model.parents if (folder / PLANS).is_file()), None)
    return f"{above}, perhaps" if above else "TRAINER__PLANS__CONFIGURATION in nnUNet_results/DATASET"


def _the_one(names: Sequence[str], choice: Choice, place: Path) -> str:
    """The model that is meant, of this package's trainers where there are others too."""
    meant = [name for name in names if choice.means(name)]
    ours = [name for name in meant if name.startswith(_OURS)]
    meant = ours or meant
    if len(meant) != 1:
        there = f"holds {', '.join(meant)}" if meant else f"holds none of these, but {', '.join(names)}"
        raise InputError(f"{place} {there}: choose one with -tr, -p and -c")
    return meant[0]


def _chosen_folds(found: dict[str, Path], choice: Choice, model: Path) -> dict[str, Path]:
    """Those asked for; or else all that are numbered, or fold_all, as nnU-Net does."""
    if choice.folds is not None:
        missing = [fold for fold in choice.folds if f"fold_{fold}" not in found]
        if missing:
            there = ", ".join(name.removeprefix("fold_") for name in found) or "no fold"
            raise InputError(f"{model} has no {choice.checkpoint} of fold {', '.join(missing)}: it has {there}")
        return {f"fold_{fold}": found[f"fold_{fold}"] for fold in choice.folds}
    numbered = {name: file for name, file in found.items() if name.removeprefix("fold_").isdecimal()}
    if not found:
        raise InputError(
            f"{model} has no {choice.checkpoint} in any fold: train it to the end, or name another as -chk"
        )
    return numbered or found


def _in_zip(archive_file: Path, choice: Choice, unpacked: Path) -> ModelFiles:
    """Unpack what predicting needs of DATASET/TRAINER__PLANS__CONFIGURATION: two JSON files and the checkpoints."""
    try:
        with zipfile.ZipFile(archive_file) as archive:
            names = archive.namelist()
            models = [name.removesuffix(f"/{PLANS}") for name in names if name.endswith(f"/{PLANS}")]
            if not models:
                raise InputError(f"{archive_file} holds no {PLANS}: give a zip of nnUNetv2_export_model_to_zip")
            inside = {model.rpartition("/")[2]: model for model in models}
            model = inside[_the_one(list(inside), choice, archive_file)] if len(models) > 1 else models[0]
            wanted = re.compile(rf"(?:{PLANS}|{FILE_NAME}|fold_\w+/{re.escape(choice.checkpoint)})")
            for name in names:
                relative = name.removeprefix(f"{model}/")
                if relative != name and wanted.fullmatch(relative):
                    target = unpacked / relative
                    target.parent.mkdir(exist_ok=True)
                    with archive.open(name) as source, target.open("wb") as file:
                        shutil.copyfileobj(source, file, 2**20)
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError) as error:
        raise InputError(f"{archive_file} cannot be unpacked, copy or download it again ({error})") from error
    found = _in_folder(unpacked, choice)
    return ModelFiles(str(archive_file), found.folder, found.checkpoints)
