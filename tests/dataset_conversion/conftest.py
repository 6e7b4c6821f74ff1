"""Runs the command line in-process, on a release that the test lays out."""

from __future__ import annotations

from pathlib import Path

import pytest
from release_layouts import Releases
from synapse_layouts import SynapseReleases


@pytest.fixture
def releases(tmp_path) -> Releases:
    (tmp_path / "release").mkdir()
    return Releases(tmp_path / "release")


@pytest.fixture
def synapse(tmp_path) -> SynapseReleases:
    (tmp_path / "release").mkdir()
    return SynapseReleases(tmp_path / "release")


@pytest.fixture
def convert_synapse(run, synapse, raw):
    """Convert the release that the test laid out, in this process; the dataset's folder comes back."""

    def convert(*options) -> Path:
        outcome = run("convert", "synapse", "-i", synapse.root, "-d", 27, "-np", 1, *options)
        assert (outcome.code, outcome.err) == (0, "")
        convert.out = outcome.out
        return raw / "Dataset027_Synapse"

    return convert


@pytest.fixture
def refuse_synapse(refused, synapse, raw):
    """Convert what must be refused; the error message comes back, and nnUNet_raw is as it was."""

    def refuse(*options) -> str:
        before = sorted(raw.rglob("*"))
        message = refused("convert", "synapse", "-i", synapse.root, "-d", 27, "-np", 1, *options)
        assert sorted(raw.rglob("*")) == before
        return message

    return refuse


@pytest.fixture
def raw(tmp_path, monkeypatch) -> Path:
    """An empty $nnUNet_raw; the other two folders are not there yet."""
    folder = tmp_path / "raw"
    folder.mkdir()
    monkeypatch.setenv("nnUNet_raw", str(folder))
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "preprocessed"))
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    return folder
