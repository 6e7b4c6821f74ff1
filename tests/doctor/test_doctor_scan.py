"""Which backend the scan takes, and whether it computes right."""

import os
import shutil
import sys

import pytest
import torch

from nnunet_vmunet.doctor import scan
from nnunet_vmunet.ops import backends

PIP = f"{sys.executable} -m pip install"
CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
SMALL = (1, 4, 5, 20, 3, 2)


@pytest.fixture
def look(find):
    """What is found on the CPU, with a comparison that takes no time."""
    return lambda: find(scan.check(CPU, trains=True, size=SMALL))


@pytest.fixture
def auto_takes(monkeypatch):
    def auto_takes(backend: str) -> None:
        def choose(device, asked="auto"):
            return backend if asked == "auto" else asked

        monkeypatch.setattr(backends, "choose", choose)
        monkeypatch.setattr(
            backends, "why_not", lambda other, device: None if other in ("naive", "blocked") else "it is not installed"
        )

    return auto_takes


def test_healthy(look):
    found = look()
    choice, comparison = found["scan on cpu"], found["self-test on cpu"]
    assert choice.facts["backend"] == comparison.facts["backend"] == backends.choose(CPU)
    assert "not triton: it runs on NVIDIA GPUs" in choice.detail
    assert comparison.state == "ok"
    assert 0 < comparison.facts["relative_error"] < comparison.facts["tolerance"]
    assert all(milliseconds > 0 for milliseconds in comparison.facts["milliseconds"].values())


def test_without_numba(auto_takes, look):
    auto_takes("blocked")
    found = look()
    assert found["scan on cpu"].state == "warning"
    assert "not numba: it is not installed" in found["scan on cpu"].detail
    assert found["scan on cpu"].fix == f"{PIP} numba"
    assert found["self-test on cpu"].facts["backend"] == "blocked"


@pytest.mark.parametrize("value", ["numbda", "", "mamba_ssm"], ids=["typo", "empty", "for GPUs"])
def test_backend_that_cannot_be_forced(value, look, find, monkeypatch):
    monkeypatch.setenv(scan.VARIABLE, value)
    found = look()
    assert set(found) == {"scan on cpu"}
    assert found["scan on cpu"].state == "problem"
    assert repr(value) in found["scan on cpu"].detail
    assert found["scan on cpu"].fix == "unset NNUNET_VMUNET_SCAN"
    assert find(scan.check(CPU, trains=False))["scan on cpu"].state == "warning"  # the training is on the GPU


def test_slow_backend_by_the_user_s_wish(look, monkeypatch):
    monkeypatch.setenv(scan.VARIABLE, "blocked")
    found = look()
    assert found["scan on cpu"].state == "warning"
    assert found["scan on cpu"].fix == "unset NNUNET_VMUNET_SCAN"


@pytest.mark.parametrize(
    ("capability", "triton", "compiler", "fix"),
    [
        ((6, 1), True, True, "MAMBA_KEEP_CUDA_BUILD=TRUE"),
        ((8, 0), False, True, f"{PIP} {'triton-windows' if os.name == 'nt' else 'triton'}"),
        ((8, 0), True, False, "conda install -c conda-forge gcc"),
        ((8, 0), True, True, f"{PIP} --upgrade torch"),
    ],
    ids=["GPU too old", "Triton not installed", "no C compiler", "torch too old"],
)
def test_gpu_without_triton(capability, triton, compiler, fix, auto_takes, healthy, monkeypatch):
    auto_takes("blocked")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(scan, "find_spec", lambda name: "a spec" if triton else None)
    monkeypatch.setattr(shutil, "which", lambda program: "/usr/bin/gcc" if compiler and program == "gcc" else None)
    monkeypatch.delenv("CC", raising=False)
    choice = next(scan.check(CUDA, trains=True))
    assert choice.state == "warning"
    assert "not triton: it is not installed" in choice.detail
    assert choice.fix.startswith(fix)


@pytest.fixture
def spoil(monkeypatch):
    """Put another function in place of the scan, but for the step-by-step one, which is the truth."""

    def spoil(spoilt) -> None:
        true_scan = scan.ss2d_scan

        def scanned(*inputs, backend):
            return true_scan(*inputs, backend=backend) if backend == "naive" else spoilt(true_scan, *inputs)

        monkeypatch.setattr(scan, "ss2d_scan", scanned)

    return spoil


def test_wrong_results_are_a_problem(spoil, look, auto_takes):
    auto_takes("numba")
    spoil(lambda true_scan, *inputs: true_scan(*inputs) * (1 + 1e-4))
    finding = look()["self-test on cpu"]
    assert finding.state == "problem"
    assert finding.detail.startswith("numba is wrong: ")
    assert finding.facts["relative_error"] == pytest.approx(1e-4, rel=0.1)
    assert finding.fix == f"{PIP} --upgrade numba"


def test_a_wrong_gradient_is_named(spoil, look):
    def wrong_gradient_of_a(true_scan, x, delta, A, *others):
        return true_scan(x, delta, A + (A - A.detach()) * 1e-2, *others)

    spoil(wrong_gradient_of_a)
    finding = look()["self-test on cpu"]
    assert finding.state == "problem"
    assert "dA is off by 1.0e-02" in finding.detail


def test_what_is_not_a_number_is_infinitely_wrong():
    truth = {"y": torch.ones(3)}
    assert scan.relative_errors({"y": torch.tensor([1.0, 1.0, torch.nan])}, truth) == {"y": float("inf")}


def test_backend_that_fails(spoil, look, auto_takes):
    def fails(*args):
        raise ImportError("Numba needs NumPy 2.3 or less. Got NumPy 2.4.")

    auto_takes("numba")
    spoil(fails)
    finding = look()["self-test on cpu"]
    assert finding.state == "problem"
    assert "ImportError: Numba needs NumPy 2.3 or less" in finding.detail
    assert finding.fix == f"{PIP} --upgrade numba"
