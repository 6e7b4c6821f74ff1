"""nnU-Net's worker processes: numbers that are none, too many for cores or memory, too little shared memory."""

import os
import shutil
from collections import namedtuple

import pytest

from nnunet_vmunet.doctor import workers

AUGMENTATION, POOL = "nnUNet_n_proc_DA", "nnUNet_def_n_proc"
PAPER_BATCH = 29_360_128  # bytes of 32 images of 256×256: three float32 channels and an int16 label map
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def machine(examine, monkeypatch, tmp_path):
    """16 cores; memory and shared memory as given."""

    def machine(memory=64e9, shared=32e9, cores=16) -> None:
        true_usage = shutil.disk_usage
        monkeypatch.setattr(os, "cpu_count", lambda: 16)
        monkeypatch.setattr(workers, "usable_cores", lambda: cores)
        monkeypatch.setattr(workers, "available_memory", lambda: memory)
        monkeypatch.setattr(workers, "SHARED", tmp_path)
        monkeypatch.setattr(workers, "BATCH", PAPER_BATCH)
        monkeypatch.setattr(
            shutil, "disk_usage", lambda path: Usage(shared, 0, int(shared)) if path == tmp_path else true_usage(path)
        )
        for variable in (AUGMENTATION, POOL):
            monkeypatch.delenv(variable)

    return machine


def test_nnunet_s_defaults_on_a_large_machine(machine, examine):
    machine()
    diagnosis = examine()
    assert diagnosis.code == 0
    assert diagnosis[AUGMENTATION]["facts"] == {"processes": 12}
    assert diagnosis[POOL]["facts"] == {"processes": 8}
    assert diagnosis.names("warning") == set()


@pytest.mark.parametrize("variable", [AUGMENTATION, POOL])
@pytest.mark.parametrize("value", ["two", "1.5", "-1", ""])
def test_numbers_that_nnunet_cannot_use(variable, value, machine, examine, monkeypatch):
    machine(cores=4)
    monkeypatch.setenv(variable, value)
    diagnosis = examine()
    assert diagnosis.code == 1
    assert diagnosis[variable]["state"] == "problem"
    assert diagnosis[variable]["fix"] == f"export {variable}=4"


def test_no_process_for_the_pool(machine, examine, monkeypatch):
    machine()
    monkeypatch.setenv(POOL, "0")
    assert examine().code == 1


def test_no_worker_is_right_for_loading(machine, examine, monkeypatch):
    machine(shared=1e3)
    monkeypatch.setenv(AUGMENTATION, "0")
    diagnosis = examine()
    assert diagnosis[AUGMENTATION]["state"] == "ok"
    assert diagnosis[str(workers.SHARED)]["state"] == "ok"


def test_more_processes_than_usable_cores(machine, examine):
    machine(cores=2)  # of 16, which nnU-Net counts
    diagnosis = examine()
    assert diagnosis.code == 0
    for variable in (AUGMENTATION, POOL):
        assert diagnosis[variable]["state"] == "warning"
        assert diagnosis[variable]["fix"] == f"export {variable}=2"


def test_more_processes_than_memory(machine, examine):
    machine(memory=3e9)
    diagnosis = examine()
    assert diagnosis.code == 0
    assert diagnosis[POOL]["state"] == "warning"
    assert "may take 4.8 GB" in diagnosis[POOL]["detail"]
    assert diagnosis[POOL]["fix"] == "export nnUNet_def_n_proc=5"


def test_docker_s_shared_memory(machine, examine):
    machine(shared=64 * 2**20)
    diagnosis = examine()
    shared = diagnosis[str(workers.SHARED)]
    assert diagnosis.code == 1
    assert shared["state"] == "problem"
    assert "0.1 GB free" in shared["detail"] and "--shm-size=2g" in shared["detail"]
    assert shared["fix"] == "export nnUNet_n_proc_DA=0"


@pytest.mark.parametrize(("batches", "training"), [(54, None), (53, 12 * 53 // 54), (3 * 3, 2), (3 * 2, 1)])
def test_shared_memory_that_is_too_small_fits_fewer_workers(batches, training, machine, examine):
    """12 workers, 6 more for validation, with 3 batches each, fill 54 batches."""
    machine(shared=batches * PAPER_BATCH)
    shared = examine()[str(workers.SHARED)]
    if training is None:
        assert shared["state"] == "ok"
    else:
        assert shared["fix"] == f"export nnUNet_n_proc_DA={training}"


def test_one_number_for_all_limits(machine, examine):
    """Whoever follows both commands, in either order, ends with what suits the cores and the shared memory."""
    machine(shared=64 * 2**20, cores=2)
    diagnosis = examine()
    assert diagnosis[AUGMENTATION]["fix"] == diagnosis[str(workers.SHARED)]["fix"] == "export nnUNet_n_proc_DA=0"


def test_without_dev_shm_it_is_unknown(machine, examine, monkeypatch, tmp_path):
    machine()
    monkeypatch.setattr(workers, "SHARED", tmp_path / "shm")
    diagnosis = examine()
    assert diagnosis.code == 0
    assert diagnosis[str(tmp_path / "shm")]["state"] == "unknown"
