"""The screen, the JSON, the exit code; and the doctor on this machine as it is."""

import json
import sys

import pytest

from nnunet_vmunet.doctor import diagnosis, report
from nnunet_vmunet.doctor.finding import Step, ok, problem, unknown, warning
from nnunet_vmunet.doctor.guard import guarded
from nnunet_vmunet.doctor.shell import make_folder, pip_install, quote, set_variable, then, unset_variables

PATH = "/mnt/a rather long path/" + 8 * "folder/"
FINDINGS = [
    ok("Python", f"3.11.7 at {PATH}bin/python"),
    warning("OMP_WAIT_POLICY", "the cores are busy", "export OMP_WAIT_POLICY=passive"),
    Step("torch is imported", ""),
    problem("nnUNet_results", f"{PATH}, not writable", f"export nnUNet_results={quote(PATH)}"),
    unknown("a check of a rather long name", "this system does not say"),
]


@pytest.fixture
def found(monkeypatch):
    def found(findings) -> None:
        monkeypatch.setattr(report, "diagnose", lambda: iter(findings))

    return found


def test_screen(found, run):
    found(FINDINGS)
    outcome = run("doctor")
    findings, problems = outcome.out.split("\n\nProblems\n")
    assert outcome.code == 1
    assert max(map(len, findings.splitlines())) <= 100
    details = [line[24:] for line in findings.splitlines() if "check of" not in line]
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
    document = json.loads(run("doctor", "--json").out)
    assert set(document) == {"verdict", "can_start", "checks", "self_test"}
    assert document["can_start"] is False
    screen = run("doctor").out
    assert document["verdict"] in screen
    assert len(document["checks"]) == 4
    for check in document["checks"]:
        assert check["name"] in screen
        assert check["fix"] in screen
        assert check["detail"][:20] in screen


def test_lines_are_printed_as_soon_as_they_are_known(found, run, monkeypatch):
    def interrupted():
        yield FINDINGS[0]
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "diagnose", interrupted)
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
    report.doctor()
    assert ("\033[31m" in capsys.readouterr().out) == coloured


def test_a_check_that_fails_itself_is_unknown():
    def check():
        yield FINDINGS[0]
        raise ZeroDivisionError("division by zero")

    before, failure = guarded("space", check)
    assert before == FINDINGS[0]
    assert failure == unknown("space", "this check itself failed: ZeroDivisionError: division by zero")


SHELLS = {
    "/bin/bash": ("export A='b c'", "unset A && unset B", "mkdir -p 'b c'"),
    "/usr/bin/zsh": ("export A='b c'", "unset A && unset B", "mkdir -p 'b c'"),
    "/usr/bin/fish": ("set -gx A 'b c'", "set -e A && set -e B", "mkdir -p 'b c'"),
    "/bin/tcsh": ("setenv A 'b c'", "unsetenv A && unsetenv B", "mkdir -p 'b c'"),
}


@pytest.mark.parametrize(("shell", "commands"), SHELLS.items(), ids=SHELLS)
def test_commands_for_the_user_s_shell(shell, commands, monkeypatch):
    monkeypatch.setenv("SHELL", shell)
    assert (set_variable("A", "b c"), unset_variables("A", "B"), make_folder("b c")) == commands


def test_commands_for_windows(monkeypatch):
    monkeypatch.setattr("nnunet_vmunet.doctor.shell._shell", lambda: "powershell")
    assert set_variable("A", r"D:\Ann's data") == r"$env:A = 'D:\Ann''s data'"
    assert then(make_folder(r"D:\data"), unset_variables("A")) == r"mkdir D:\data; Remove-Item Env:A"


@pytest.mark.parametrize(
    ("uv", "start"),
    [("/usr/bin/uv", f"uv pip install --python {sys.executable} "), (None, f"{sys.executable} -m ensurepip && ")],
)
def test_environment_without_pip(uv, start, monkeypatch):
    monkeypatch.setattr("nnunet_vmunet.doctor.shell.find_spec", lambda name: None)
    monkeypatch.setattr("nnunet_vmunet.doctor.shell.shutil.which", lambda name: uv)
    assert pip_install("torch>=2.4").startswith(start)
    assert pip_install("torch>=2.4").endswith("install 'torch>=2.4'") or uv


def test_this_machine(healthy, run):
    """Everything for real, torch in its own process."""
    outcome = run("doctor")
    lines = outcome.out.splitlines()
    assert outcome.code == 0, outcome.out
    assert lines[-1].startswith("Training can start")
    assert len(lines) <= 50
    assert max(map(len, lines)) <= 100
    assert any("self-test on cpu" in line for line in lines)
    assert outcome.err == ""


def test_everything_broken_still_fits_one_screen(healthy, run, monkeypatch, hollow_nnunet):
    hollow_nnunet.set_version("2.5.1")
    for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.delenv(variable)
    for variable in ("nnUNet_n_proc_DA", "nnUNet_def_n_proc"):
        monkeypatch.setenv(variable, "many")
    monkeypatch.setattr(diagnosis.versions, "torch_is_there", lambda: False)
    outcome = run("doctor")
    lines = outcome.out.splitlines()
    assert outcome.code == 1
    assert lines[-1] == "Training cannot start before these 8 are fixed (x)."
    assert len(lines) <= 50
