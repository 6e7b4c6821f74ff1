"""Cases in a few processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from ..dataset_conversion.parallel import run_parallel


def map_cases(function: Callable, cases: Sequence, num_processes: int | None, description: str) -> list:
    """[function(case) for case in cases]; `function` and what it returns can be pickled.

    num_processes: None takes nnU-Net's default, but no more than there are cores, as each process holds two volumes.
    """
    if num_processes is None:
        num_processes = min(_nnunet_default(), os.cpu_count() or 1)
    return run_parallel(function, cases, num_processes, description)


def _nnunet_default() -> int:
    return int(os.environ.get("nnUNet_def_n_proc", 8))
