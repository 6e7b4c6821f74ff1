"""Runs the command line in-process, on a release that the test lays out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from release_layouts import Releases

from nnunet_vmunet.cli import main


@dataclass
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def releases(tmp_path) -> Releases:
    (tmp_path / "release").mkdir()
    return Releases(tmp_path / "release")


@pytest.fixture
def raw(tmp_path, monkeypatch) -> Path:
    """An empty $nnUNet_raw; the other two folders are not there yet."""
    folder = tmp_path / "raw"
    folder.mkdir()
    monkeypatch.setenv("nnUNet_raw", str(folder))
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "preprocessed"))
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    return folder


@pytest.fixture
def run(capfd):
    """run("convert", "images", "-i", folder, ...) as the shell would, in-process."""

    def run(*arguments) -> Outcome:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        return Outcome(code, *capfd.readouterr())

    return run


@pytest.fixture
def refused(run):
    """Run what must fail: exit code 2 and one line on stderr, which is returned."""

    def refused(*arguments) -> str:
        outcome = run(*arguments)
        assert outcome.code == 2
        assert outcome.err.startswith("nnunet-vmunet: error: ")
        assert outcome.err.count("\n") == 1
        return outcome.err

    return refused
