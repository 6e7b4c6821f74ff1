"""The models of one comparison: folders of predictions, or trained folds, over the same cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..dataset_json import DatasetJson
from ..errors import InputError
from .label_folders import Case, Folders, given_folders, trained_fold


@dataclass(frozen=True)
class Model:
    """One of the models that are compared, and where its predictions lie."""

    name: str  # what tells it from the others
    parts: tuple[Folders, ...]  # one for each fold

    def cases(self) -> dict[str, Case]:
        """The cases of all parts by name.

        Raises:
            InputError: as `Folders.cases`; a case that is in two parts.
        """
        found: dict[str, Case] = {}
        for part in self.parts:
            for case in part.cases():
                if case.name in found:
                    raise InputError(
                        f"{case.prediction} and {found[case.name].prediction} are the same case: give folds with "
                        f"validation cases of their own as -f"
                    )
                found[case.name] = case
        return found

    def described(self) -> list[dict]:
        """What comparison.json says about the folders."""
        return [part.described() for part in self.parts]

    @property
    def place(self) -> Path:
        """The folder that holds its predictions' folder, or the folder of the trained model."""
        first = self.parts[0]
        return (first.predictions if first.fold is None else first.fold.parent).resolve().parent


def given_models(predictions: Sequence[Path], references: Path, *, chill: bool = False) -> list[Model]:
    """Folders of predictions that the user names, of the same references; the first is the baseline.

    chill: references without prediction are left out, as by `given_folders`.
    """
    if len(predictions) < 2:
        raise InputError(f"-p {predictions[0]} is one folder: give two or more")
    paths = [folder.resolve().parts for folder in predictions]
    _refuse_twice(paths, list(map(str, predictions)))
    parts = [given_folders(folder, references, chill=chill) for folder in predictions]
    return [Model(name, (part,)) for name, part in zip(_short_names(paths, "/"), parts, strict=True)]


def trained_models(
    dataset: str, folds: Sequence[str], trainers: Sequence[str], plans: Sequence[str], configurations: Sequence[str]
) -> list[Model]:
    """Models of one dataset in $nnUNet_results; the first is the baseline.

    folds: their validations are pooled. trainers, plans, configurations: one for all models, or one for each.
    """
    options = {"-tr": trainers, "-pl": plans, "-c": configurations}
    number = max(map(len, options.values()))
    if number < 2:
        raise InputError("-tr, -pl and -c name one model: name two or more in one of them")
    for option, given in options.items():
        if len(given) not in (1, number):
            raise InputError(f"{option} names {len(given)} for {number} models: name one for all, or one for each")
    columns = [list(given) * (number if len(given) == 1 else 1) for given in options.values()]
    models = list(zip(*columns, strict=True))
    _refuse_twice(models, ["__".join(model) for model in models])
    parts = [tuple(trained_fold(dataset, fold, *model) for fold in folds) for model in models]
    return [Model(name, of_model) for name, of_model in zip(_short_names(models, "__"), parts, strict=True)]


def common_cases(models: Sequence[Model], *, chill: bool = False) -> tuple[list[str], list[list[Case]], list[str]]:
    """Names of the cases that all models have, sorted; for each model these cases; names of those left out.

    chill: a case that a model lacks is left out instead of refused.

    Raises:
        InputError: a case that a model lacks, or none that all have.
    """
    by_model = [model.cases() for model in models]
    everything = set().union(*by_model)
    names = sorted(everything.intersection(*by_model))
    left_out = sorted(everything.difference(names))
    if left_out and not chill:
        lacking = next(model for model, cases in zip(models, by_model, strict=True) if left_out[0] not in cases)
        having = next(cases[left_out[0]] for cases in by_model if left_out[0] in cases)
        raise InputError(
            f"{having.prediction} has no counterpart in {lacking.parts[0].predictions}: predict it there too, or give "
            f"--chill to compare the {len(names)} common cases of {len(everything)}"
        )
    if not names:
        raise InputError(f"{models[0].parts[0].predictions} has no case in common with the others: give other folders")
    return names, [[cases[name] for name in names] for cases in by_model], left_out


def common_dataset_json(models: Sequence[Model]) -> DatasetJson | None:
    """The first dataset.json there is; None where there is none.

    Raises:
        InputError: another one's labels are not the same.
    """
    found = [part.dataset_json for model in models for part in model.parts if part.dataset_json is not None]
    for other in found:
        if (other.labels, other.ignore_label) != (found[0].labels, found[0].ignore_label):
            raise InputError(f"{found[0].file} and {other.file} name other labels: compare models of the same labels")
    return found[0] if found else None


def _refuse_twice(keys: Sequence[tuple[str, ...]], names: Sequence[str]) -> None:
    for i, key in enumerate(keys):
        if key in keys[:i]:
            raise InputError(f"{names[i]} is given twice: a model would be compared with itself")


def _short_names(parts: Sequence[tuple[str, ...]], separator: str) -> list[str]:
    """Names of several parts without those that all begin or end with."""
    start = _common_length(parts)
    rest = [of_one[start:] for of_one in parts]
    end = _common_length([of_one[::-1] for of_one in rest])
    short = [of_one[: len(of_one) - end] for of_one in rest]
    # A folder inside another one has nothing of its own left.
    return [separator.join(of_one) for of_one in (short if all(short) else parts)]


def _common_length(parts: Sequence[tuple[str, ...]]) -> int:
    """How many parts are the same in all, from the first on."""
    same = [len(set(column)) == 1 for column in zip(*parts, strict=False)]
    return [*same, False].index(False)
