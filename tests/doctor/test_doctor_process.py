"""The process that imports torch, with a torch that breaks it."""

import signal
import sys
import textwrap

import pytest

from nnunet_vmunet.doctor import torch_process
from nnunet_vmunet.doctor.finding import Finding
from nnunet_vmunet.doctor.machine import affinity

REINSTALL = f"{sys.executable} -m pip install --force-reinstall torch"


@pytest.fixture
def findings(monkeypatch, tmp_path):
    """What is found with a torch of these lines."""

    def findings(torch: str, **arguments) -> list[Finding]:
        (tmp_path / "torch.py").write_text(textwrap.dedent(torch))
        monkeypatch.syspath_prepend(tmp_path)
        return [each for each in torch_process.check(**arguments) if isinstance(each, Finding)]

    return findings


def first_findings(count: int) -> list[Finding]:
    checks = torch_process.check()
    found = [
        finding
        for finding, _ in zip((each for each in checks if isinstance(each, Finding)), range(count), strict=False)
    ]
    checks.close()
    return found


def test_torch_that_cannot_load_a_library(findings):
    (finding,) = findings("raise OSError('libcudart.so.13: cannot open shared object file')")
    assert (finding.name, finding.state) == ("torch import", "problem")
    assert "OSError: libcudart.so.13: cannot open shared object file" in finding.detail
    assert finding.fix == REINSTALL


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_torch_that_takes_python_down(findings):
    (finding,) = findings("import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    assert finding.state == "problem"
    assert finding.detail == "Python died of SIGILL while torch is imported"
    assert finding.fix == REINSTALL


def test_torch_that_leaves(findings):
    (finding,) = findings("import sys; sys.exit('no licence')")
    assert finding.detail == "Python ended with exit code 1 while torch is imported: no licence"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs signals")
def test_torch_that_hangs(findings):
    (finding,) = findings("import time; time.sleep(60)", longest=1)
    assert finding.state == "problem"
    assert finding.detail == "not done after 1 s while torch is imported"


def test_a_folder_that_an_uninstalled_torch_left(findings):
    (finding,) = findings("")
    assert (finding.name, finding.state) == ("torch import", "problem")
    assert finding.fix == REINSTALL


def test_torch_that_is_too_old_for_the_scan(findings):
    found = findings("__version__ = '2.0.0'")
    assert found[0].detail == "works: build 2.0.0"
    assert found[-1].state == "problem"
    assert "while torch asks for GPUs" in found[-1].detail


def test_what_is_printed_meanwhile_is_no_finding(findings):
    (finding,) = findings("import os; print('hello'); os.system('echo hello'); raise ImportError('broken')")
    assert finding.detail == "import torch fails: ImportError: broken"


@pytest.mark.skipif(sys.platform != "linux" or affinity() < 2, reason="needs Linux and two cores")
def test_openmp_that_binds_the_process_to_one_core(monkeypatch):
    monkeypatch.setenv("OMP_PROC_BIND", "true")
    torch_import, openmp = first_findings(2)
    assert torch_import.name == "torch import"
    assert (openmp.name, openmp.state) == ("OpenMP", "warning")
    assert openmp.fix == "unset OMP_PROC_BIND"


def test_a_torch_py_in_the_working_directory_is_not_taken(monkeypatch, tmp_path):
    (tmp_path / "torch.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)
    (finding,) = first_findings(1)
    assert (finding.name, finding.state) == ("torch import", "ok")
