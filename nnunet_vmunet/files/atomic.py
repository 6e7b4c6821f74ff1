"""Files and folders that appear complete or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputError


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a hidden sibling with the same ending; once written, it takes the name of `path` when the block ends.

    Raises:
        InputError: it cannot be written.
    """
    partial = path.with_name(f".{path.stem}-{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(path)
    except OSError as error:
        raise _not_written(path, error) from error
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield an empty hidden folder beside `target`, to be filled; it takes the name of `target` when the block ends.

    An error or Ctrl-C removes it. What a killed process left behind is put right by the next call for the same target.
    With `overwrite` an existing target steps aside by renaming only when the new one is complete.

    Raises:
        InputError: the target is a file, is not empty without `overwrite`, or cannot be written.
    """
    target = Path(os.path.realpath(target))  # a link to another disk stays where it is
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _clean_up_after_the_killed(target)
        _refuse_occupied(target, overwrite)
        partial, replaced = _hidden(target, "partial"), _hidden(target, "replaced")
        partial.mkdir()
        try:
            yield partial
            _refuse_occupied(target, overwrite)  # somebody else's may have appeared meanwhile
            _swap(partial, target, replaced)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise _not_written(target, error) from error


@contextmanager
def staging_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty hidden folder inside `folder`: files are written there, and moved up when they are complete.

    `folder` is made where it is missing. What is left in the hidden one goes when the block ends, and what a killed
    process left behind with the next call.

    Raises:
        InputError: the folder cannot be written.
    """
    target = folder / "new"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _clean_up_after_the_killed(target)
        staged = _hidden(target, "partial")
        staged.mkdir()
        try:
            yield staged
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    except OSError as error:
        raise _not_written(folder, error) from error


def _not_written(target: Path, error: OSError) -> InputError:
    if error.errno == errno.ENAMETOOLONG:
        # There is more to that name than the user gave: a case's _0000, or what marks a hidden folder.
        return InputError(f"{target} cannot be written, shorten the name {Path(error.filename).name}: it is too long")
    return InputError(f"{target} cannot be written, make room or choose another place ({error})")


def refuse_foreign_files(folder: Path, is_ours: Callable[[str], bool], writer: str) -> None:
    """--overwrite replaces a whole folder, so it may hold nothing but what an earlier run wrote there.

    is_ours: whether a name is one that such a run writes. writer: what that run is called in the message.

    Raises:
        InputError: the folder holds another file.
    """
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        if not is_ours(name):
            raise InputError(f"{folder} holds {name}, which no {writer} wrote: choose another folder for -o")


def _refuse_occupied(target: Path, overwrite: bool) -> None:
    if target.exists() and not target.is_dir():
        raise InputError(f"{target} is a file: a folder is written under that name, choose another")
    if target.is_dir() and any(target.iterdir()) and not overwrite:
        raise InputError(f"{target} is not empty: give --overwrite to replace it")


def _swap(partial: Path, target: Path, replaced: Path) -> None:
    if target.exists():
        target.rename(replaced)
    try:
        partial.rename(target)
    except BaseException:
        _restore(replaced, target)
        raise
    _discard(replaced)


def _restore(replaced: Path, target: Path) -> None:
    if replaced.exists() and not target.exists():
        replaced.rename(target)


def _discard(replaced: Path) -> None:
    """Delete it, under the other name first: if this process is killed, a half of it may not become the target."""
    if replaced.exists():
        partial = replaced.with_name(replaced.name.replace(".replaced-", ".partial-", 1))
        replaced.rename(partial)
        shutil.rmtree(partial, ignore_errors=True)


def _hidden(target: Path, role: str) -> Path:
    """A sibling's name that nnU-Net does not take for a dataset and that says which process it belongs to."""
    return target.with_name(f"{_prefix(target, role)}{os.getpid()}")


def _prefix(target: Path, role: str) -> str:
    # The host is part of it: another machine's process on a shared disk may well be alive.
    return f".{role}-{target.name}-{socket.gethostname()}-"


def _clean_up_after_the_killed(target: Path) -> None:
    for partial in _of_dead_processes(target, "partial"):
        shutil.rmtree(partial, ignore_errors=True)
    for replaced in _of_dead_processes(target, "replaced"):
        _restore(replaced, target)
        _discard(replaced)


def _of_dead_processes(target: Path, role: str) -> list[Path]:
    prefix = _prefix(target, role)
    found = [f for f in target.parent.iterdir() if f.name.startswith(prefix)]
    return [f for f in found if not _is_alive(f.name.removeprefix(prefix))]


def _is_alive(pid: str) -> bool:
    if os.name != "posix" or not pid.isdecimal():
        return True  # on Windows signal 0 is no question but Ctrl-C
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    # Leftovers under our own id are an earlier process's that had the same one.
    return int(pid) != os.getpid()
