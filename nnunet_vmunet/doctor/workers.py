"""nnU-Net's worker processes: as many as this machine can feed, and shared memory for what they hand over."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from .finding import Finding, ok, problem, unknown, warning
from .folders import gigabytes
from .limits import available_memory, usable_cores
from .shell import set_variable

AUGMENTATION, POOL = "nnUNet_n_proc_DA", "nnUNet_def_n_proc"
DEFAULT = {AUGMENTATION: 12, POOL: 8}  # nnU-Net's own; it takes at most os.cpu_count() of the first
FEWEST = {AUGMENTATION: 0, POOL: 1}
USED_FOR = {AUGMENTATION: "to load training data", POOL: "to write predictions"}
MEMORY_OF_A_PROCESS = 0.6e9  # bytes: measured after importing torch and nnU-Net in a new process
SHARED = Path("/dev/shm")
BATCH = 32 * 256 * 256 * (3 * 4 + 2)  # bytes: the paper's, three float32 channels and an int16 label map
QUEUED = 2  # finished batches that wait in each worker's queue, besides the one in the making


def check() -> Iterator[Finding]:
    for variable in (AUGMENTATION, POOL):
        yield _number(variable)
    yield _shared_memory()


def processes(variable: str) -> int:
    """How many nnU-Net would start, where the variable is a number."""
    count = int(os.environ.get(variable, DEFAULT[variable]))
    return min(count, os.cpu_count() or 1) if variable == AUGMENTATION else count


def not_numbers() -> list[str]:
    """The variables at which nnU-Net stops when it is imported."""
    return [variable for variable in (AUGMENTATION, POOL) if not _is_number(os.environ.get(variable, "0"))]


def _is_number(text: str) -> bool:
    try:
        int(text)  # as nnU-Net reads it
    except ValueError:
        return False
    return True


def _number(variable: str) -> Finding:
    fix = set_variable(variable, _fitting(variable))
    value = os.environ.get(variable)
    if variable in not_numbers():
        return problem(variable, f"{value!r} is no number: nnU-Net would stop", fix)
    count = processes(variable)
    if count < FEWEST[variable]:
        return problem(variable, f"{value}: nnU-Net needs at least {FEWEST[variable]}", fix)
    detail = f"{count} {'process' if count == 1 else 'processes'} {USED_FOR[variable]}"
    if value is None:
        detail += " (not set: nnU-Net's default)"
    if count > usable_cores():
        return warning(variable, f"{detail}, on {usable_cores()} usable cores", fix, processes=count)
    if count > _fitting_into_memory():
        needed = gigabytes(count * MEMORY_OF_A_PROCESS)
        return warning(
            variable, f"{detail}, which may take {needed} of memory: more than there is", fix, processes=count
        )
    return ok(variable, detail, processes=count)


def _fitting(variable: str) -> int:
    """As many as suit the cores, the memory, and for training the shared memory too."""
    limits = [DEFAULT[variable], usable_cores(), _fitting_into_memory()]
    if variable == AUGMENTATION and SHARED.is_dir():
        limits.append(_fitting_into_shared_memory())
    return max(FEWEST[variable], min(limits))


def _fitting_into_memory() -> int:
    available = available_memory()
    return max(1, int(available / MEMORY_OF_A_PROCESS)) if available is not None else max(DEFAULT.values())


def _fitting_into_shared_memory() -> int:
    """The most workers for training whose batches, with those for validation, fit."""
    batches = shutil.disk_usage(SHARED).free // ((QUEUED + 1) * BATCH)
    return batches * 2 // 3


def _shared_memory() -> Finding:
    """Workers hand batches over in /dev/shm. Where it is full they die with "bus error" or "unable to mmap"."""
    name = str(SHARED)
    if not SHARED.is_dir():
        return unknown(name, "this system has no such folder: batches are handed over in another way")
    training = DEFAULT[AUGMENTATION] if AUGMENTATION in not_numbers() else max(0, processes(AUGMENTATION))
    workers = training + math.ceil(training / 2)  # and those that load for validation
    free, needed = shutil.disk_usage(SHARED).free, workers * (QUEUED + 1) * BATCH
    detail, facts = f"{gigabytes(free)} free", {"free_bytes": free, "needed_bytes": needed}
    if free >= needed:
        return ok(name, detail, **facts)
    detail += (
        f", but {workers} workers fill up to {gigabytes(needed)} with the paper's batches, and die of a "
        f'"bus error" when it is full; docker run --shm-size={math.ceil(needed / 1e9)}g gives a container more'
    )
    serious = problem if free < workers * BATCH else warning
    return serious(name, detail, set_variable(AUGMENTATION, _fitting(AUGMENTATION)), **facts)
