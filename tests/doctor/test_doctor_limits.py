"""Cores and memory, also where a control group grants less than the machine has."""

import os

import pytest

from nnunet_vmunet.doctor import limits

GIB = 2**30
# Each version's files: the process's group, and what is written into which folder.
VERSION_2 = (
    "0::/jobs/job_7",
    "jobs/job_7",
    {
        "cpu.max": "150000 100000",
        "memory.max": str(8 * GIB),
        "memory.current": str(5 * GIB),
        "memory.stat": f"anon 1\ninactive_file {GIB}\n",
    },
)
ABOVE = ("0::/jobs/job_7", "jobs", VERSION_2[2])
VERSION_1_CPU = (
    "3:cpu,cpuacct:/job_7",
    "cpu,cpuacct/job_7",
    {"cpu.cfs_quota_us": "150000", "cpu.cfs_period_us": "100000"},
)
VERSION_1_MEMORY = (
    "4:memory:/job_7",
    "memory/job_7",
    {
        "memory.limit_in_bytes": str(8 * GIB),
        "memory.usage_in_bytes": str(5 * GIB),
        "memory.stat": f"total_inactive_file {GIB}\n",
    },
)
SEEN_FROM_INSIDE = ("4:memory:/docker/0123", "memory", VERSION_1_MEMORY[2])


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """16 cores and 64 GiB of which 48 are available; returns how to add a control group."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(16)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    for name in ("CGROUPS", "MEMBERSHIP", "MEMINFO"):
        monkeypatch.setattr(limits, name, tmp_path / name)
    limits.MEMINFO.write_text(f"MemTotal: {64 * 2**20} kB\nMemAvailable: {48 * 2**20} kB\nHugePages_Free: 0\n")

    def add(membership: str, folder: str, files: dict) -> None:
        limits.MEMBERSHIP.write_text(membership + "\n")
        (limits.CGROUPS / folder).mkdir(parents=True)
        for name, content in files.items():
            (limits.CGROUPS / folder / name).write_text(content)

    return add


def test_no_limits(machine):
    assert limits.usable_cores() == 16
    assert limits.available_memory() == 48 * GIB


@pytest.mark.parametrize("group", [VERSION_2, ABOVE, VERSION_1_CPU], ids=["version 2", "the group above", "version 1"])
def test_one_core_and_a_half_counts_as_two(group, machine):
    machine(*group)
    assert limits.usable_cores() == 2


@pytest.mark.parametrize(
    "group",
    [VERSION_2, ABOVE, VERSION_1_MEMORY, SEEN_FROM_INSIDE],
    ids=["version 2", "the group above", "version 1", "in a container"],
)
def test_memory_below_the_limit(group, machine):
    machine(*group)
    assert limits.available_memory() == 4 * GIB  # 8 - 5, and 1 that caches files


@pytest.mark.parametrize(
    ("folder", "files"),
    [("", {"cpu.max": "max 100000", "memory.max": "max"}), ("cpu", {"cpu.cfs_quota_us": "-1"})],
    ids=["version 2", "version 1"],
)
def test_groups_without_a_limit(folder, files, machine):
    machine("3:cpu:/" if folder else "0::/", folder, files) if folder else _write(files)
    assert limits.usable_cores() == 16
    assert limits.available_memory() == 48 * GIB


def _write(files):
    limits.MEMBERSHIP.write_text("0::/\n")
    limits.CGROUPS.mkdir()
    for name, content in files.items():
        (limits.CGROUPS / name).write_text(content)


def test_affinity(machine, monkeypatch, examine):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 5}, raising=False)
    diagnosis = examine()
    assert diagnosis["CPU cores"]["facts"] == {"usable": 2, "all": 16}
    assert "2 usable of 16" in diagnosis["CPU cores"]["detail"]


def test_little_memory(machine, monkeypatch, examine):
    monkeypatch.setattr(limits, "LITTLE_MEMORY", 49 * GIB)
    diagnosis = examine()
    assert diagnosis.code == 0
    assert diagnosis["memory"]["state"] == "warning"
    assert diagnosis["memory"]["fix"] == "ps aux --sort=-rss | head"


def test_memory_is_unknown_where_the_system_does_not_say(machine, examine):
    limits.MEMINFO.unlink()
    diagnosis = examine()
    assert diagnosis.code == 0
    assert diagnosis["memory"]["state"] == "unknown"
