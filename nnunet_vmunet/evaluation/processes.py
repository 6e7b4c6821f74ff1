"""Cases in a few processes."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..dataset_conversion.parallel import run_parallel


def map_cases(function: Callable, cases: Sequence, num_processes: int | None, description: str) -> list:
    """[function(case) for case in cases]; `function` and what it returns can be pickled.

    num_processes: None takes nnU-Net's default, but no more than there are cores, as each process holds two volumes.
    """
    if num_processes is None:
        num_processes = min(_nnunet_default(), os.cpu_count() or 1)
    with TemporaryDirectory() as folder:
        jobs = [_Job(function, case, Path(folder) / str(i)) for i, case in enumerate(cases)]
        run_parallel(_run, jobs, num_processes, description)
        return [pickle.loads(job.result.read_bytes()) for job in jobs]


def _nnunet_default() -> int:
    return int(os.environ.get("nnUNet_def_n_proc", 8))


@dataclass(frozen=True)
class _Job:
    function: Callable
    case: Any
    result: Path  # the processes return nothing, so the result comes through a file


def _run(job: _Job) -> None:
    job.result.write_bytes(pickle.dumps(job.function(job.case)))
