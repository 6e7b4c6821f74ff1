"""The cores and the memory that this process may use, which in a container or a cluster job is not all there is."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

from .finding import Finding, ok, unknown, warning
from .folders import gigabytes

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")  # lines such as 0::/user.slice/job_7 and 4:cpu,cpuacct:/job_7
MEMINFO = Path("/proc/meminfo")
LITTLE_MEMORY = 4e9  # bytes: nnU-Net and torch take 0.6 GB in each process


def check() -> Iterator[Finding]:
    yield _cores()
    yield _memory()


def usable_cores() -> int:
    """At least 1; a fraction of a core counts as one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *(math.ceil(quota) for quota in _quotas())]))


def available_memory() -> int | None:
    """Bytes that can still be taken, or None where the system does not say."""
    if not MEMINFO.is_file():
        return None
    lines = dict(line.split(":") for line in MEMINFO.read_text().splitlines() if ":" in line)
    available = int(lines["MemAvailable"].split()[0]) * 1024
    return max(0, min([available, *_memory_left()]))


def _cores() -> Finding:
    usable, all_cores = usable_cores(), os.cpu_count() or 1
    detail = f"{usable} usable"
    if usable < all_cores:
        detail += f" of {all_cores}: this process is limited to them"
    return ok("CPU cores", detail, usable=usable, all=all_cores)


def _memory() -> Finding:
    available = available_memory()
    if available is None:
        return unknown("memory", "this system has no /proc/meminfo")
    detail = f"{gigabytes(available)} available"
    if available < LITTLE_MEMORY:
        detail += ", which is little: close other programs, or ask for more for this container or job"
        return warning("memory", detail, "ps aux --sort=-rss | head", available_bytes=available)
    return ok("memory", detail, available_bytes=available)


def _quotas() -> Iterator[float]:
    """Cores' worth of time that control groups grant."""
    for file in _control_files("cpu", "cpu.max"):
        quota, period = file.read_text().split()
        if quota != "max":
            yield int(quota) / int(period)
    for file in _control_files("cpu", "cpu.cfs_quota_us"):
        microseconds = int(file.read_text())
        if microseconds > 0:  # else no limit
            yield microseconds / int((file.parent / "cpu.cfs_period_us").read_text())


def _memory_left() -> Iterator[int]:
    """Bytes below each control group's limit. What it uses to cache files it gives back when asked."""
    for limit_name, usage_name, cache in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        for file in _control_files("memory", limit_name):
            limit = file.read_text().strip()
            if limit == "max" or not (file.parent / usage_name).is_file():
                continue
            used = int((file.parent / usage_name).read_text())
            yield int(limit) - used + _statistic(file.parent / "memory.stat", cache)


def _statistic(file: Path, name: str) -> int:
    lines = file.read_text().splitlines() if file.is_file() else []
    return next((int(line.split()[1]) for line in lines if line.split()[0] == name), 0)


def _control_files(controller: str, name: str) -> Iterator[Path]:
    """The files of this name in our control group and all above it, in either version's hierarchy."""
    if not MEMBERSHIP.is_file():
        return
    for line in MEMBERSHIP.read_text().splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = CGROUPS / controllers if controllers else CGROUPS
        inside = root / group.lstrip("/")
        for folder in (inside, *inside.parents):
            if (folder / name).is_file():
                yield folder / name
            if folder == root:
                break
