"""Cores and memory that this process may use, and whether nnU-Net's worker processes fit into them."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .finding import Finding, gigabytes, ok, problem, set_variable, unknown, unset_variables, warning

SHARED = "/dev/shm"  # where workers hand batches over
LITTLE_MEMORY = 4e9  # bytes
MEMORY_OF_A_PROCESS = 0.6e9  # bytes: torch and nnU-Net, imported in a new process
BATCH = 32 * 256 * 256 * (3 * 4 + 2)  # bytes: the paper's, three float32 channels and an int16 label map
BATCHES_OF_A_WORKER = 3  # two that are finished and wait in its queue, and the one in the making
OPENMP_BINDING = ("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY")
OPENMP_WAITING = "OMP_WAIT_POLICY"


@dataclass(frozen=True)
class Workers:
    """Worker processes of nnU-Net, whose number an environment variable sets."""

    variable: str
    default: int
    fewest: int
    used_for: str


LOADERS = Workers("nnUNet_n_proc_DA", default=12, fewest=0, used_for="to load training data")
WRITERS = Workers("nnUNet_def_n_proc", default=8, fewest=1, used_for="to write predictions")


@dataclass(frozen=True)
class Machine:
    """What this process may use, which in a container or a cluster job is not all there is.

    Args:
        cores: at least 1; a fraction of a core counts as one.
        all_cores: those of the whole machine, which nnU-Net counts.
        memory: bytes that can still be taken, or None where the system does not say.
        shared_memory: bytes free in /dev/shm, or None where there is no such folder.
    """

    cores: int
    all_cores: int
    memory: int | None
    shared_memory: int | None

    @classmethod
    def here(cls) -> Machine:
        shared = shutil.disk_usage(SHARED).free if os.path.isdir(SHARED) else None
        return cls(usable_cores(), os.cpu_count() or 1, available_memory(), shared)


def check(machine: Machine | None = None) -> Iterator[Finding]:
    machine = machine or Machine.here()
    yield _cores(machine)
    yield _memory(machine)
    yield _workers(LOADERS, machine)
    yield _workers(WRITERS, machine)
    yield _shared_memory(machine)


def usable_cores() -> int:
    from joblib import cpu_count  # nnU-Net's scikit-learn brings it; it knows affinity and control groups

    return cpu_count()


def available_memory(root: Path = Path("/")) -> int | None:
    """Bytes that can still be taken, or None where the system does not say."""
    meminfo = root / "proc/meminfo"
    if not meminfo.is_file():
        return None
    return max(0, min([_number_behind("MemAvailable:", meminfo) * 1024, *_memory_left_in_groups(root)]))


def _memory_left_in_groups(root: Path) -> Iterator[int]:
    """Bytes below the limit of our control group (version 2) and of each above it."""
    membership, groups = root / "proc/self/cgroup", root / "sys/fs/cgroup"
    lines = membership.read_text().splitlines() if membership.is_file() else []
    for group in (groups / line[len("0::/") :] for line in lines if line.startswith("0::/")):
        for folder in (group, *group.parents):
            limit = folder / "memory.max"
            if limit.is_file() and limit.read_text().strip() != "max":
                used = int((folder / "memory.current").read_text())
                # What caches files is given back when asked for.
                yield int(limit.read_text()) - used + _number_behind("inactive_file", folder / "memory.stat")


def _number_behind(word: str, file: Path) -> int:
    lines = (line.split() for line in file.read_text().splitlines())
    return next(int(line[1]) for line in lines if line and line[0] == word)


def _cores(machine: Machine) -> Finding:
    detail = f"{machine.cores} usable"
    if machine.cores < machine.all_cores:
        detail += f" of {machine.all_cores}: this process is limited to them"
    return ok("CPU cores", detail, usable=machine.cores, all=machine.all_cores)


def _memory(machine: Machine) -> Finding:
    if machine.memory is None:
        return unknown("memory", "this system has no /proc/meminfo")
    detail = f"{gigabytes(machine.memory)} available"
    if machine.memory < LITTLE_MEMORY:
        detail += ", which is little: close other programs, or ask for more for this container or job"
        return warning("memory", detail, "ps aux --sort=-rss | head", available_bytes=machine.memory)
    return ok("memory", detail, available_bytes=machine.memory)


def not_numbers() -> list[str]:
    """The variables at which nnU-Net stops when it is imported."""
    return [workers.variable for workers in (LOADERS, WRITERS) if not _is_number(os.environ.get(workers.variable, "0"))]


def _is_number(text: str) -> bool:
    return text.strip().removeprefix("-").isdecimal()


def _started(workers: Workers, machine: Machine) -> int:
    """How many nnU-Net would start, where the variable is a number."""
    count = int(os.environ.get(workers.variable, workers.default))
    return min(count, machine.all_cores) if workers is LOADERS else count


def _workers(workers: Workers, machine: Machine) -> Finding:
    name, value = workers.variable, os.environ.get(workers.variable)
    fix = set_variable(name, _fitting(workers, machine))
    if name in not_numbers():
        return problem(name, f"{value!r} is no number: nnU-Net would stop", fix)
    count = _started(workers, machine)
    if count < workers.fewest:
        return problem(name, f"{value}: nnU-Net needs at least {workers.fewest}", fix)
    detail = f"{count} {'process' if count == 1 else 'processes'} {workers.used_for}"
    if value is None:
        detail += " (not set: nnU-Net's default)"
    if count > machine.cores:
        return warning(name, f"{detail}, on {machine.cores} usable cores", fix, processes=count)
    if machine.memory is not None and count > max(1, machine.memory / MEMORY_OF_A_PROCESS):
        detail += f", which may take {gigabytes(count * MEMORY_OF_A_PROCESS)} of memory: more than there is"
        return warning(name, detail, fix, processes=count)
    return ok(name, detail, processes=count)


def _fitting(workers: Workers, machine: Machine) -> int:
    """The number of workers that fits the cores and the memory, and for loaders the shared memory too."""
    limits = [workers.default, machine.cores]
    if machine.memory is not None:
        limits.append(max(1, int(machine.memory / MEMORY_OF_A_PROCESS)))
    if workers is LOADERS and machine.shared_memory is not None:
        limits.append(machine.shared_memory // (BATCHES_OF_A_WORKER * BATCH) * 2 // 3)  # the third loads for validation
    return max(workers.fewest, min(limits))


def _shared_memory(machine: Machine) -> Finding:
    """Where /dev/shm is full, workers die with "bus error" or "unable to mmap"."""
    free = machine.shared_memory
    if free is None:
        return unknown(SHARED, "this system has no such folder: batches are handed over in another way")
    known = LOADERS.variable not in not_numbers()
    training = max(0, _started(LOADERS, machine)) if known else LOADERS.default
    workers = training + math.ceil(training / 2)  # and those that load for validation
    needed = workers * BATCHES_OF_A_WORKER * BATCH
    detail, facts = f"{gigabytes(free)} free", {"free_bytes": free, "needed_bytes": needed}
    if free >= needed:
        return ok(SHARED, detail, **facts)
    detail += (
        f", but {workers} workers fill up to {gigabytes(needed)} with the paper's batches, and die of a "
        f'"bus error" when it is full; docker run --shm-size={math.ceil(needed / 1e9)}g gives a container more'
    )
    serious = problem if free < workers * BATCH else warning
    return serious(SHARED, detail, set_variable(LOADERS.variable, _fitting(LOADERS, machine)), **facts)


def affinity() -> int | None:
    """The number of cores that the system lets this process run on, or None where it does not say."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def check_openmp_binding(before_torch: int | None, now: int | None) -> Iterator[Finding]:
    """Variables for programs that compute alone make OpenMP bind this process, and its workers, to one core."""
    if before_torch is not None and now is not None and now < before_torch:
        named = [name for name in OPENMP_BINDING if name in os.environ]
        detail = (
            f"{' and '.join(named) or 'OpenMP'} bound this process, and would bind all of nnU-Net's workers, to "
            f"{now} of {before_torch} cores"
        )
        yield warning("OpenMP", detail, unset_variables(*(named or OPENMP_BINDING[:1])))


def check_openmp_waiting() -> Iterator[Finding]:
    """Between two operators torch's threads wait by computing; that takes the cores from whoever else needs them."""
    policy = os.environ.get(OPENMP_WAITING, "")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0
    if policy.lower() == "passive":
        yield ok(OPENMP_WAITING, "passive: torch's threads leave the cores to others while they wait")
    elif load > usable_cores() / 2:
        detail = f"the cores are busy (load {load:.1f}), and torch's threads wait actively: both lose"
        yield warning(OPENMP_WAITING, detail, set_variable(OPENMP_WAITING, "passive"))
    else:
        detail = f"{policy or 'not set'}: best while nothing else uses the cores; set passive where much does"
        yield ok(OPENMP_WAITING, detail)
