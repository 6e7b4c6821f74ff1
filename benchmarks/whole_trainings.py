"""What the benchmarks of whole trainings have in common: nnU-Net's and this package's commands, each run once."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from nnunet_vmunet.demo import _program
from nnunet_vmunet.errors import InputError
from nnunet_vmunet.files.nnunet import read_json, write_json
from nnunet_vmunet.trainers.checkpoints import saved

FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")


def settle(folder: Path, settings: dict) -> None:
    """Raise InputError where the folder holds trainings of other settings."""
    file = folder / "settings.json"
    if file.exists() and (earlier := read_json(file, dict)) != settings:
        raise InputError(f"{folder} holds trainings of {earlier}, not of {settings}: give another folder as -o")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(file, settings)


def once(done: Path, work: Callable[[], dict | None]) -> None:
    """Write what `work` found to the file `done`; nothing happens where that is there."""
    if done.exists():
        return
    found = work()
    done.parent.mkdir(parents=True, exist_ok=True)
    write_json(done, found or {})


def run_logged(title: str, command: Sequence, environment: dict[str, str], log: Path) -> None:
    """Run a command, print it and how long it took.

    Raises:
        InputError: it failed.
    """
    line = list(map(str, command))
    log.parent.mkdir(parents=True, exist_ok=True)
    print(f"{title}: {shlex.join(line)}", flush=True)
    start = time.perf_counter()
    code = run(line, environment, log)
    if code:
        raise InputError(f"{line[0]} ended with exit code {code}: {log} says why")
    print(f"  {(time.perf_counter() - start) / 60:.1f} min", flush=True)


def run(command: list[str], environment: dict[str, str], log: Path) -> int:
    """The exit code; what the command prints goes to the log."""
    with log.open("a") as output:
        return subprocess.run(
            [_program(command[0]), *command[1:]],
            env={**os.environ, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode


def minutes_of_epochs(checkpoint: Path) -> float:
    """Of the epochs alone: without start, checkpoints and the validation at the end."""
    logged = saved(checkpoint, "logging")
    starts, ends = logged["epoch_start_timestamps"], logged["epoch_end_timestamps"]
    return sum(end - start for start, end in zip(starts, ends, strict=True)) / 60
