"""Whether nnU-Net would find the trainers, the planners and the image reader, by the files alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from .. import register
from ..errors import InputError
from .finding import Finding, ok, problem, unknown, warning
from .folders import why_not_writable
from .shell import quote, set_variable, then

NAME = "registration"


def check() -> Iterator[Finding]:
    try:
        nnunet = register.find_nnunet()
    except InputError:
        yield unknown(NAME, "there is no nnU-Net to register with")
        return
    states = register.states(nnunet)
    unregistered = {path: state for path, state in states.items() if state != "registered"}
    if not unregistered:
        yield ok(NAME, "nnU-Net finds the trainers, the planners and the image reader")
        return
    detail = "; ".join(f"{path.name} is {state}" for path, state in unregistered.items())
    fix = _fix(nnunet, unregistered)
    if _trainers_by_variable():
        detail += f". The trainers are found through {register.TRAINER_VARIABLE}; planners and image reader are not"
        yield warning(NAME, detail, fix)
    else:
        yield problem(NAME, detail, fix)


def _fix(nnunet: Path, unregistered: dict[Path, str]) -> str:
    in_the_way = [path for path, state in unregistered.items() if state == "not ours"]
    away = [f"mv {quote(path)} {quote(f'{path}.away')}" for path in in_the_way]
    if any(why_not_writable(_existing(path.parent)) for path in unregistered) and not _trainers_by_variable():
        folders = filter(None, [os.environ.get(register.TRAINER_VARIABLE), str(register.SHIMS_FOLDER / "trainers")])
        return set_variable(register.TRAINER_VARIABLE, os.pathsep.join(folders))
    return then(*away, "nnunet-vmunet register")


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return folder if folder.is_dir() else _existing(folder.parent)


def _trainers_by_variable() -> bool:
    folders = os.environ.get(register.TRAINER_VARIABLE, "").split(os.pathsep)
    return any(Path(folder, "vmunet_trainers.py").is_file() for folder in folders if folder)
