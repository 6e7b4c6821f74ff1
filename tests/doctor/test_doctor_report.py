"""The screen, the JSON, the exit code, the commands; and the doctor on this machine as it is."""

import json
import sys
from importlib import metadata

import pytest

from nnunet_vmunet import doctor
from nnunet_vmunet.doctor import finding
from nnunet_vmunet.doctor.finding import Step, guarded, ok, problem, unknown, warning

PATH = "/mnt/a rather long path/" + 8 * "folder/"
FINDINGS = [
    ok("Python", f"3.11.7 at {PATH}bin/python"),
    warning("OMP_WAIT_POLICY", "the cores are busy", "export OMP_WAIT_POLICY=passive"),
    Step("torch is imported", ""),
    problem("nnUNet_results", f"{PATH}, not writable", finding.set_variable("nnUNet_results", PATH)),
    unknown("nnUNet_preprocessed", "this system does not say"),
]


@pytest.fixture
def found(monkeypatch):
    def found(findings) -> None:
        monkeypatch.setattr(doctor, "diagnose", lambda: iter(findings))

    return found


def test_screen(found, run):
    found(FINDINGS)
    outcome = run("doctor")
    findings, problems = outcome.out.split("\n\nProblems\n")
    assert outcome.code == 1
    assert max(map(len, findings.splitlines())) <= 100
    details = [line[24:] for line in findings.splitlines()]
    assert all(detail and not detail.startswith(" ") for detail in details)
    assert problems.splitlines() == [  # commands are whole, however long: they are for copying
        "  1.  x nnUNet_results",
        f"        export nnUNet_results='{PATH}'",
        "  2.  ! OMP_WAIT_POLICY",
        "        export OMP_WAIT_POLICY=passive",
        "",
        "Training cannot start before this is fixed (x).",
    ]


@pytest.mark.parametrize(("findings", "code"), [([], 0), (FINDINGS[:2], 0), (FINDINGS[4:], 0), (FINDINGS, 1)])
def test_only_problems_set_the_exit_code(findings, code, found, run):
    found(findings)
    outcome = run("doctor")
    assert outcome.code == code
    assert ("Training can start." in outcome.out) == (code == 0)


def test_json_holds_what_the_screen_shows(found, run):
    found(FINDINGS)
    screen, outcome = run("doctor").out, run("doctor", "--json")
    document = json.loads(outcome.out)
    assert outcome.code == 1
    assert set(document) == {"verdict", "can_start", "checks", "self_test"}
    assert document["can_start"] is False
    assert document["verdict"] in screen
    assert len(document["checks"]) == 4
    for check in document["checks"]:
        assert set(check) == {"name", "state", "detail", "fix", "facts"}
        assert check["name"] in screen
        assert check["fix"] in screen
        assert check["detail"][:20] in screen


def test_lines_are_printed_as_soon_as_they_are_known(run, monkeypatch):
    def interrupted():
        yield FINDINGS[0]
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "diagnose", interrupted)
    outcome = run("doctor")
    assert outcome.code == 130
    assert "3.11.7" in outcome.out


@pytest.mark.parametrize(
    ("terminal", "no_color", "coloured"), [(True, "", True), (True, "1", False), (False, "", False)]
)
def test_colour(terminal, no_color, coloured, found, capsys, monkeypatch):
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    found(FINDINGS)
    doctor.doctor()
    printed = capsys.readouterr().out
    assert ("\033[31m x\033[0m nnUNet_results" in printed) == coloured
    assert ("torch is imported" in printed) == terminal  # who watches learns what takes its time


def test_a_check_that_fails_itself_is_unknown():
    def check():
        yield FINDINGS[0]
        raise ZeroDivisionError("division by zero")

    before, failure = guarded("space", check)
    assert before == FINDINGS[0]
    assert (failure.name, failure.state) == ("space", "unknown")
    assert "ZeroDivisionError: division by zero" in failure.detail


@pytest.mark.parametrize(("module", "distribution"), [("PIL.Image", "pillow"), ("no_such_module", "no_such_module")])
def test_a_check_that_lacks_a_module_is_a_problem(module, distribution):
    def check():
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)
        yield

    (failure,) = guarded("trainer", check)
    assert (failure.name, failure.state) == ("trainer", "problem")
    install = f"{sys.executable} -m pip install --force-reinstall --no-deps {distribution}"
    assert failure.fix.lower() == install.lower()


def test_an_environment_without_pip_is_one_of_uv(monkeypatch):
    monkeypatch.setattr(metadata, "distributions", lambda name: ())
    assert finding.pip_install("torch>=2.4") == f"uv pip install --python {sys.executable} 'torch>=2.4'"


def test_commands_for_windows(monkeypatch):
    monkeypatch.setattr(finding, "WINDOWS", True)
    assert finding.set_variable("A", r"D:\my data") == r"$env:A = 'D:\my data'"
    assert finding.unset_variables("A", "B") == "Remove-Item Env:A, Env:B"
    assert finding.pip_install("numba").startswith("& ")


def test_this_machine(healthy, registered, run):
    """Everything for real, torch in its own process."""
    outcome = run("doctor")
    lines = outcome.out.splitlines()
    assert outcome.code == 0, outcome.out
    assert lines[-1].startswith("Training can start")
    assert len(lines) <= 50
    assert max(map(len, lines)) <= 100
    assert any("self-test on cpu" in line for line in lines)
    assert outcome.err == ""


def test_everything_broken_still_fits_one_screen(site, run, monkeypatch):
    site.add_metadata("nnunetv2", "2.5.1")
    (site.folder / "torch.py").write_text("raise ImportError('no CUDA')\n")
    for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.delenv(variable)
    for variable in ("nnUNet_n_proc_DA", "nnUNet_def_n_proc"):
        monkeypatch.setenv(variable, "many")
    outcome = run("doctor")
    lines = outcome.out.splitlines()
    assert outcome.code == 1
    assert lines[-1] == "Training cannot start before these 8 are fixed (x)."
    assert len(lines) <= 50
