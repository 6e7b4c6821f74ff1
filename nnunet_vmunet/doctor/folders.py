"""nnU-Net's three folders: set, there, writable, with space; and whether the datasets in them can be trained."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..dataset_json import FILE_NAME, read_dataset_json
from ..errors import InputError
from ..files.nnunet import nnunet_folder
from .finding import WINDOWS, Finding, gigabytes, make_folder, ok, problem, quote, set_variable, unknown, warning

RAW, PREPROCESSED, RESULTS = "nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"
CHECKPOINT = 27_427_586 * 3 * 4  # bytes: the paper's network and AdamW's two states, in float32
# Latest, best and final checkpoint, and the one that is being written; for data, what a small dataset takes.
COMFORTABLE = {RAW: 1e9, PREPROCESSED: 1e9, RESULTS: 4 * CHECKPOINT}  # bytes
EDITOR = "notepad" if WINDOWS else '"${EDITOR:-vi}"'
NEEDED_FOR = {
    RAW: "conversion and planning need it",
    PREPROCESSED: "planning and training need it",
    RESULTS: "training writes its checkpoints there",
}


def check() -> Iterator[Finding]:
    for variable in (RAW, PREPROCESSED, RESULTS):
        yield _folder(variable)
    yield from _datasets()


def _datasets() -> Iterator[Finding]:
    """One finding for all datasets; none where there is no dataset."""
    places = [folder for folder in map(nnunet_folder, (RAW, PREPROCESSED)) if folder]
    files = [file for place in places for file in sorted(place.glob(f"Dataset*/{FILE_NAME}"))]
    refused = [(file, reason) for file in files if (reason := _why_not_trained(file))]
    if refused:
        file, reason = refused[0]
        others = f"; {len(refused) - 1} more cannot be trained" if len(refused) > 1 else ""
        yield warning(
            "datasets", f"{reason}{others}", f"{EDITOR} {quote(file)}", refused=[str(file) for file, _ in refused]
        )
    elif files:
        yield ok("datasets", f"nnU-Net can train what {len(files)} {FILE_NAME} say{'s' * (len(files) == 1)}")


def _why_not_trained(file: Path) -> str | None:
    try:
        read_dataset_json(file).refuse_untrainable()
    except InputError as error:
        return str(error)
    return None


def _folder(variable: str) -> Finding:
    # Training alone reads nothing from the raw folder.
    serious = warning if variable == RAW and _anything_preprocessed() else problem
    value = os.environ.get(variable)
    if not value:
        return serious(variable, f"not set: {NEEDED_FOR[variable]}", _another_folder(variable))
    if value.startswith("~"):
        detail = f"{value}: the shell left the ~ as it is, because it was quoted"
        return serious(variable, detail, _make_and_set(variable, Path(value).expanduser()))
    folder = Path(value)
    if not folder.is_dir():
        return _no_folder(variable, folder, serious)
    reason = why_not_writable(folder)
    if reason:
        unwritable = problem if variable == RESULTS else warning
        needed = NEEDED_FOR[variable] if variable == RESULTS else "only conversion and planning write there"
        return unwritable(variable, f"{folder}, not writable ({reason}): {needed}", _another_folder(variable))
    if not folder.is_absolute():
        detail = f"{folder}: a relative path names another folder in each working directory"
        return warning(variable, detail, set_variable(variable, folder.resolve()))
    return _space(variable, folder)


def _anything_preprocessed() -> bool:
    preprocessed = os.environ.get(PREPROCESSED, "")
    return preprocessed != "" and any(Path(preprocessed).glob("Dataset*/*Plans*.json"))


def _no_folder(variable: str, folder: Path, serious) -> Finding:
    if folder.exists() or folder.is_symlink():
        return serious(variable, f"{folder} is not a folder, nor a link to one", _another_folder(variable))
    reason = why_not_writable(next(parent for parent in folder.absolute().parents if parent.is_dir()))
    if reason:
        detail = f"{folder} does not exist and cannot be made ({reason})"
        return serious(variable, detail, _another_folder(variable))
    if variable == RESULTS:
        return warning(variable, f"{folder} does not exist; nnU-Net will make it", make_folder(folder))
    return serious(variable, f"{folder} does not exist", make_folder(folder))


def _another_folder(variable: str) -> str:
    return _make_and_set(variable, Path.home() / variable)


def _make_and_set(variable: str, folder: Path) -> str:
    return f"{make_folder(folder)} && {set_variable(variable, folder)}"


def why_not_writable(folder: Path) -> str | None:
    """The system's reason why no file can be written into the folder, or None if one can. Nothing stays there.

    The answer comes from writing: permissions say little on network drives, to root, and where a quota is full.
    """
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0" * 4096)
    except OSError as error:
        return error.strerror or str(error)
    return None


def _space(variable: str, folder: Path) -> Finding:
    usage = shutil.disk_usage(folder)
    if not usage.total:
        return unknown(variable, f"{folder}, writable; its file system does not say how much space is left")
    detail, facts = f"{folder}, writable, {gigabytes(usage.free)} free", {"free_bytes": usage.free}
    show_what_fills_it = f"du -sh {quote(folder)}/* | sort -h"
    if variable == RESULTS and usage.free < CHECKPOINT:
        detail += f", and a checkpoint takes {gigabytes(CHECKPOINT)}: delete what is not needed"
        return problem(variable, detail, show_what_fills_it, **facts)
    if usage.free < COMFORTABLE[variable]:
        detail += f", which is little: {gigabytes(COMFORTABLE[variable])} are soon written"
        return warning(variable, detail, show_what_fills_it, **facts)
    return ok(variable, detail, **facts)
