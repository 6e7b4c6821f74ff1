"""Cores, memory and shared memory, and worker processes that are too many for them."""

import os
from dataclasses import replace

import pytest

from nnunet_vmunet.doctor import machine
from nnunet_vmunet.doctor.machine import Machine

LOADERS, WRITERS, SHARED = "nnUNet_n_proc_DA", "nnUNet_def_n_proc", "/dev/shm"
BATCH = 29_360_128  # bytes of the paper's: 32 images of 256×256, three float32 channels and an int16 label map
GIB = 2**30
LARGE = Machine(cores=16, all_cores=16, memory=64 * GIB, shared_memory=32 * GIB)


@pytest.fixture
def look(find, monkeypatch):
    """What is found on the large machine with some figures replaced; no number of workers is set."""
    for variable in (LOADERS, WRITERS):
        monkeypatch.delenv(variable)
    return lambda **figures: find(machine.check(replace(LARGE, **figures)))


def test_a_large_machine_and_nnunet_s_defaults(look):
    found = look()
    assert {finding.state for finding in found.values()} == {"ok"}
    assert found["CPU cores"].facts == {"usable": 16, "all": 16}
    assert found[LOADERS].facts == {"processes": 12}
    assert found[WRITERS].facts == {"processes": 8}


def test_this_machine(find):
    found = find(machine.check())
    assert 1 <= found["CPU cores"].facts["usable"] <= os.cpu_count()
    assert found["memory"].state in ("ok", "warning", "unknown")


def test_a_process_that_is_limited_to_some_cores(look):
    found = look(cores=2)  # of 16, which nnU-Net counts
    assert "2 usable of 16" in found["CPU cores"].detail
    for variable in (LOADERS, WRITERS):
        assert found[variable].state == "warning"
        assert found[variable].fix == f"export {variable}=2"


def test_little_memory(look):
    found = look(memory=3 * 10**9)
    assert found["memory"].state == "warning"
    assert found["memory"].fix
    assert found[WRITERS].state == "warning"
    assert "may take 4.8 GB" in found[WRITERS].detail
    assert found[WRITERS].fix == f"export {WRITERS}=5"


def test_what_the_system_does_not_say_is_unknown(look):
    found = look(memory=None, shared_memory=None)
    assert found["memory"].state == found[SHARED].state == "unknown"
    assert found[LOADERS].state == found[WRITERS].state == "ok"


@pytest.mark.parametrize("variable", [LOADERS, WRITERS])
@pytest.mark.parametrize("value", ["two", "1.5", "-1", ""])
def test_numbers_that_nnunet_cannot_use(variable, value, look, monkeypatch):
    monkeypatch.setenv(variable, value)
    finding = look(cores=4)[variable]
    assert finding.state == "problem"
    assert finding.fix == f"export {variable}=4"


def test_no_process_is_enough_to_load_but_not_to_write(look, monkeypatch):
    monkeypatch.setenv(LOADERS, "0")
    monkeypatch.setenv(WRITERS, "0")
    found = look(shared_memory=1000)
    assert found[LOADERS].state == found[SHARED].state == "ok"
    assert found[WRITERS].state == "problem"


def test_docker_s_shared_memory(look):
    found = look(shared_memory=64 * 2**20)
    assert found[SHARED].state == "problem"
    assert "0.1 GB free" in found[SHARED].detail and "--shm-size=2g" in found[SHARED].detail
    assert found[SHARED].fix == f"export {LOADERS}=0"


@pytest.mark.parametrize(("batches", "training"), [(54, None), (53, 12 * 53 // 54), (3 * 3, 2), (3 * 2, 1)])
def test_shared_memory_that_is_too_small_fits_fewer_workers(batches, training, look):
    """12 workers, 6 more for validation, with 3 batches each, fill 54 batches."""
    finding = look(shared_memory=batches * BATCH)[SHARED]
    if training is None:
        assert finding.state == "ok"
    else:
        assert finding.fix == f"export {LOADERS}={training}"


def test_one_number_for_all_limits(look):
    """Whoever follows both commands, in either order, ends with what suits the cores and the shared memory."""
    found = look(cores=2, shared_memory=64 * 2**20)
    assert found[LOADERS].fix == found[SHARED].fix == f"export {LOADERS}=0"


@pytest.fixture
def system(tmp_path):
    """The files of a Linux with 48 GiB to take, where this process is in the control group /jobs/job_7."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text(f"MemTotal: {64 * 2**20} kB\nMemAvailable: {48 * 2**20} kB\n\n")
    (tmp_path / "proc/self/cgroup").write_text("0::/jobs/job_7\n")
    (tmp_path / "sys/fs/cgroup/jobs/job_7").mkdir(parents=True)
    return tmp_path


def _limit(group, limit):
    files = {"memory.max": limit, "memory.current": 5 * GIB, "memory.stat": f"anon 1\ninactive_file {GIB}"}
    for name, content in files.items():
        (group / name).write_text(f"{content}\n")


@pytest.mark.parametrize("group", ["jobs/job_7", "jobs"], ids=["our group", "the group above"])
def test_memory_below_the_limit_of_a_control_group(group, system):
    _limit(system / "sys/fs/cgroup" / group, 8 * GIB)
    assert machine.available_memory(system) == 4 * GIB  # 8 - 5, and 1 that caches files


def test_memory_without_a_limit(system):
    _limit(system / "sys/fs/cgroup/jobs", "max")
    assert machine.available_memory(system) == 48 * GIB
    (system / "proc/self/cgroup").unlink()
    assert machine.available_memory(system) == 48 * GIB


def test_memory_is_unknown_without_meminfo(tmp_path):
    assert machine.available_memory(tmp_path) is None


def test_openmp_that_bound_the_process(find, monkeypatch):
    monkeypatch.setenv("OMP_PROC_BIND", "true")
    assert not find(machine.check_openmp_binding(before_torch=1, now=1))
    assert not find(machine.check_openmp_binding(before_torch=None, now=None))
    finding = find(machine.check_openmp_binding(before_torch=8, now=1))["OpenMP"]
    assert finding.state == "warning"
    assert "OMP_PROC_BIND" in finding.detail and "1 of 8 cores" in finding.detail
    assert finding.fix == "unset OMP_PROC_BIND"


@pytest.mark.parametrize(
    ("policy", "load", "state"),
    [("passive", 100, "ok"), ("", 0, "ok"), ("", 100, "warning"), ("active", 100, "warning")],
)
def test_threads_that_wait_actively_on_busy_cores(policy, load, state, find, monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", policy)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0), raising=False)
    finding = find(machine.check_openmp_waiting())["OMP_WAIT_POLICY"]
    assert finding.state == state
    assert finding.fix == ("export OMP_WAIT_POLICY=passive" if state == "warning" else "")
