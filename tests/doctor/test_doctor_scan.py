"""Which backend the scan takes, whether the network can be compiled, and the self-test."""

import importlib.util
import os
import shutil
import sys

import pytest
import torch

from nnunet_vmunet.doctor import openmp, self_test
from nnunet_vmunet.ops import backends, numba_cpu

PIP = f"{sys.executable} -m pip install"


@pytest.fixture
def not_installed(monkeypatch):
    def hide(hidden: str) -> None:
        find_spec = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == hidden else find_spec(name))
        monkeypatch.setattr("nnunet_vmunet.doctor.backends.find_spec", importlib.util.find_spec)

    return hide


def test_healthy(examine_with_torch):
    diagnosis = examine_with_torch()
    scan, test = diagnosis["scan on cpu"], diagnosis["self-test on cpu"]
    assert diagnosis.code == 0
    assert scan["facts"]["backend"] == test["facts"]["backend"] == backends.choose(torch.device("cpu"))
    assert "not triton: it runs on NVIDIA GPUs" in scan["detail"]
    assert 0 < test["facts"]["relative_error"] < test["facts"]["tolerance"]
    assert all(milliseconds > 0 for milliseconds in test["facts"]["milliseconds"].values())
    assert diagnosis.document["self_test"] == [test["facts"]]


def test_without_numba(not_installed, examine_with_torch):
    not_installed("numba")
    diagnosis = examine_with_torch()
    assert diagnosis.code == 0
    assert diagnosis["scan on cpu"]["state"] == "warning"
    assert diagnosis["scan on cpu"]["fix"] == f"{PIP} numba"
    assert diagnosis["self-test on cpu"]["facts"]["backend"] == "blocked"


@pytest.mark.parametrize("value", ["numbda", "", "triton"], ids=["typo", "empty", "for GPUs"])
def test_backend_that_cannot_be_forced(value, examine_with_torch, monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setenv(backends.VARIABLE, value)
    diagnosis = examine_with_torch()
    assert diagnosis.code == 1
    assert diagnosis["scan on cpu"]["state"] == "problem"
    assert repr(value) in diagnosis["scan on cpu"]["detail"]
    assert diagnosis["scan on cpu"]["fix"] == "unset NNUNET_VMUNET_SCAN"
    assert diagnosis.document["self_test"] == []


def test_backend_forced_for_the_gpu_does_not_stop_its_training(gpu, examine_with_torch, monkeypatch):
    gpu()
    monkeypatch.setenv(backends.VARIABLE, "triton")
    diagnosis = examine_with_torch()
    assert diagnosis.code == 0
    assert diagnosis["scan on cuda:0"]["state"] == "ok"
    assert diagnosis["scan on cpu"]["state"] == "warning"


def test_slow_backend_by_the_user_s_wish(examine_with_torch, monkeypatch):
    monkeypatch.setenv(backends.VARIABLE, "blocked")
    diagnosis = examine_with_torch()
    assert diagnosis.code == 0
    assert diagnosis["scan on cpu"]["state"] == "warning"
    assert diagnosis["scan on cpu"]["fix"] == "unset NNUNET_VMUNET_SCAN"


NO_TRITON = {
    "GPU too old": (6, 1, lambda patch: None, "MAMBA_KEEP_CUDA_BUILD=TRUE"),
    "no C compiler": (
        8,
        0,
        lambda patch: (patch.delenv("CC"), patch.setattr(shutil, "which", lambda name: None)),
        "conda install -c conda-forge gcc",
    ),
}


@pytest.mark.parametrize(("major", "minor", "spoil", "fix"), NO_TRITON.values(), ids=NO_TRITON.keys())
def test_gpu_without_triton(major, minor, spoil, fix, gpu, examine_with_torch, monkeypatch):
    gpu(capability=(major, minor))
    spoil(monkeypatch)
    diagnosis = examine_with_torch()
    assert diagnosis["scan on cuda:0"]["state"] == "warning"
    assert diagnosis["scan on cuda:0"]["facts"]["backend"] == "blocked"
    assert "not triton: Triton" in diagnosis["scan on cuda:0"]["detail"]
    assert fix in diagnosis["scan on cuda:0"]["fix"]
    # nnU-Net compiles the network with Triton too, unless told not to.
    assert diagnosis.code == 1
    assert diagnosis["nnUNet_compile"]["state"] == "problem"
    assert diagnosis["nnUNet_compile"]["fix"] == "export nnUNet_compile=f"
    monkeypatch.setenv("nnUNet_compile", "f")
    diagnosis = examine_with_torch()
    assert diagnosis.code == 0
    assert diagnosis["nnUNet_compile"]["state"] == "ok"


def test_triton_not_installed(gpu, not_installed, examine_with_torch):
    gpu()
    not_installed("triton")
    diagnosis = examine_with_torch()
    assert diagnosis.code == 1
    assert diagnosis["scan on cuda:0"]["fix"] == f"{PIP} triton"


@pytest.mark.parametrize(("value", "state"), [("yes", "warning"), ("True", "ok"), ("0", "ok")])
def test_nnunet_compile(value, state, gpu, examine_with_torch, monkeypatch):
    gpu()
    monkeypatch.setenv("nnUNet_compile", value)
    diagnosis = examine_with_torch()
    assert diagnosis.code == 0
    assert diagnosis["nnUNet_compile"]["state"] == state


@pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="needs numba")
class TestSelfTest:
    def test_wrong_results_are_a_problem(self, examine_with_torch, monkeypatch):
        forward = numba_cpu.forward

        def slightly_wrong(*args):
            y, states = forward(*args)
            return y * (1 + 1e-4), states

        monkeypatch.setattr(numba_cpu, "forward", slightly_wrong)
        diagnosis = examine_with_torch()
        assert diagnosis.code == 1
        assert diagnosis["self-test on cpu"]["state"] == "problem"
        assert diagnosis["self-test on cpu"]["detail"].startswith("numba is wrong: y is off by 1.0e-04")
        assert diagnosis["self-test on cpu"]["fix"] == f"{PIP} --upgrade numba"

    def test_a_wrong_gradient_is_named(self, examine_with_torch, monkeypatch):
        backward = numba_cpu.backward

        def forgets_one(*args):
            dx, ddelta, dweight, dA, *others = backward(*args)
            return dx, ddelta, dweight, torch.full_like(dA, torch.nan), *others

        monkeypatch.setattr(numba_cpu, "backward", forgets_one)
        diagnosis = examine_with_torch()
        assert diagnosis.code == 1
        assert "dA is off by inf" in diagnosis["self-test on cpu"]["detail"]

    def test_numba_that_does_not_fit_numpy(self, examine_with_torch, monkeypatch):
        def load(backend):
            raise ImportError("Numba needs NumPy 2.3 or less. Got NumPy 2.4.")

        monkeypatch.setattr(backends, "load", load)
        diagnosis = examine_with_torch()
        assert diagnosis.code == 1
        assert "numba fails: ImportError: Numba needs NumPy 2.3 or less" in diagnosis["self-test on cpu"]["detail"]
        assert diagnosis["self-test on cpu"]["fix"] == f"{PIP} --upgrade numba"


def test_tolerance_is_that_of_the_backends_tests():
    """tests/ops/test_ss2d_scan.py and test_gpu.py."""
    assert self_test.TOLERANCE == {"cpu": 3e-6, "cuda": 1e-5}


def test_trainer_that_nnunet_does_not_find(examine_with_torch, monkeypatch):
    from nnunetv2.utilities import find_objects

    def search(name):
        raise RuntimeError(f"Could not find requested nnunet trainer {name} in ...")

    monkeypatch.setattr(find_objects, "recursive_find_trainer_class_by_name", search)
    diagnosis = examine_with_torch()
    assert diagnosis.code == 1
    assert diagnosis["trainer"]["fix"] == "nnunet-vmunet register"


def test_trainer_is_unknown_where_nnunet_stops_at_a_variable(examine_with_torch, monkeypatch):
    monkeypatch.setenv("nnUNet_def_n_proc", "many")
    diagnosis = examine_with_torch()
    assert diagnosis.names("problem") == {"nnUNet_def_n_proc"}
    assert diagnosis["trainer"]["state"] == "unknown"


@pytest.mark.parametrize(
    ("module", "distribution"), [("distutils", "setuptools"), ("acvl_utils.cropping", "acvl_utils")]
)
def test_trainer_that_lacks_a_module(module, distribution, examine_with_torch, monkeypatch):
    from nnunetv2.utilities import find_objects

    def search(name):
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setattr(find_objects, "recursive_find_trainer_class_by_name", search)
    diagnosis = examine_with_torch()
    assert diagnosis.code == 1
    assert diagnosis["trainer"]["fix"] == f"{PIP} {distribution}"


def test_threads_that_wait_actively_on_busy_cores(examine_with_torch, monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.setattr(os, "getloadavg", lambda: (100.0, 0.0, 0.0))
    diagnosis = examine_with_torch()
    assert diagnosis.code == 0
    assert diagnosis["OMP_WAIT_POLICY"]["state"] == "warning"
    assert diagnosis["OMP_WAIT_POLICY"]["fix"] == "export OMP_WAIT_POLICY=passive"
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    assert examine_with_torch()["OMP_WAIT_POLICY"]["state"] == "ok"


def test_openmp_bound_the_process(monkeypatch):
    monkeypatch.setenv("OMP_PROC_BIND", "true")
    monkeypatch.setattr(openmp, "usable_cores", lambda: 1)
    assert list(openmp.check_binding(cores_before_torch=1)) == []
    (finding,) = openmp.check_binding(cores_before_torch=8)
    assert finding.state == "warning"
    assert "OMP_PROC_BIND bound this process" in finding.detail and "1 of 8 cores" in finding.detail
    assert finding.fix == "unset OMP_PROC_BIND"
