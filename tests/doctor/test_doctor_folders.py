"""nnU-Net's three folders, spoilt one at a time."""

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from nnunet_vmunet.doctor import folders

RAW, PREPROCESSED, RESULTS = "nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"
UNWRITABLE = Path("/proc")  # to everybody, root too
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def preprocessed(healthy):
    """There is a dataset to train on."""
    plans = healthy / PREPROCESSED / "Dataset118_X" / "nnUNetPlans.json"
    plans.parent.mkdir()
    plans.touch()


@pytest.mark.parametrize("value", [None, ""], ids=["unset", "empty"])
@pytest.mark.parametrize("variable", [RAW, PREPROCESSED, RESULTS])
def test_variable_not_set(variable, value, examine, monkeypatch):
    monkeypatch.setenv("HOME", "/home/Ann Lee")
    monkeypatch.setenv(variable, value) if value is not None else monkeypatch.delenv(variable)
    diagnosis = examine()
    assert diagnosis.code == 1
    assert diagnosis[variable]["state"] == "problem"
    assert diagnosis[variable]["detail"].startswith("not set")
    folder = f"'/home/Ann Lee/{variable}'"
    assert diagnosis[variable]["fix"] == f"mkdir -p {folder} && export {variable}={folder}"


def test_trains_without_the_raw_folder(examine, preprocessed, monkeypatch):
    monkeypatch.delenv(RAW)
    diagnosis = examine()
    assert diagnosis.code == 0
    assert diagnosis[RAW]["state"] == "warning"


@pytest.mark.parametrize(
    ("variable", "state", "code"), [(RAW, "problem", 1), (PREPROCESSED, "problem", 1), (RESULTS, "warning", 0)]
)
def test_folder_does_not_exist(variable, state, code, examine, healthy, monkeypatch):
    folder = healthy / "not here" / "yet"
    monkeypatch.setenv(variable, str(folder))
    diagnosis = examine()
    assert diagnosis.code == code
    assert diagnosis[variable]["state"] == state
    assert diagnosis[variable]["fix"] == f"mkdir -p '{folder}'"
    assert not folder.parent.exists()


@pytest.mark.skipif(not UNWRITABLE.is_dir(), reason="needs /proc")
def test_results_that_cannot_be_made(examine, monkeypatch):
    monkeypatch.setenv(RESULTS, str(UNWRITABLE / "results"))
    diagnosis = examine()
    assert diagnosis.code == 1
    assert f"{UNWRITABLE}/results does not exist and cannot be made" in diagnosis[RESULTS]["detail"]
    assert diagnosis[RESULTS]["fix"].startswith("mkdir -p ")


@pytest.mark.skipif(not UNWRITABLE.is_dir(), reason="needs /proc")
@pytest.mark.parametrize(
    ("variable", "state", "code"), [(RAW, "warning", 0), (PREPROCESSED, "warning", 0), (RESULTS, "problem", 1)]
)
def test_folder_is_not_writable(variable, state, code, examine, monkeypatch):
    monkeypatch.setenv(variable, str(UNWRITABLE))
    diagnosis = examine()
    assert diagnosis.code == code
    assert diagnosis[variable]["state"] == state
    assert f"{UNWRITABLE}, not writable" in diagnosis[variable]["detail"]
    assert f"export {variable}=" in diagnosis[variable]["fix"]


def test_a_file_in_place_of_the_folder(examine, healthy, monkeypatch):
    (healthy / "file").touch()
    monkeypatch.setenv(RESULTS, str(healthy / "file"))
    diagnosis = examine()
    assert diagnosis.code == 1
    assert "is no folder" in diagnosis[RESULTS]["detail"]


def test_a_link_to_nowhere(examine, healthy, monkeypatch):
    (healthy / "link").symlink_to(healthy / "unplugged disk")
    monkeypatch.setenv(RESULTS, str(healthy / "link"))
    diagnosis = examine()
    assert diagnosis.code == 1
    assert "is a link to nowhere" in diagnosis[RESULTS]["detail"]


def test_tilde_that_the_shell_left(examine, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv(RESULTS, "~/results")
    diagnosis = examine()
    assert diagnosis.code == 1
    assert diagnosis[RESULTS]["fix"] == "mkdir -p /home/ann/results && export nnUNet_results=/home/ann/results"


def test_relative_path(examine, healthy, monkeypatch):
    monkeypatch.chdir(healthy)
    monkeypatch.setenv(RESULTS, RESULTS)
    diagnosis = examine()
    assert diagnosis.code == 0
    assert diagnosis[RESULTS]["state"] == "warning"
    assert diagnosis[RESULTS]["fix"] == f"export nnUNet_results={healthy / RESULTS}"


@pytest.mark.parametrize(
    ("free", "state", "code"),
    [(100e6, "problem", 1), (1e9, "warning", 0), (50e9, "ok", 0)],
    ids=lambda value: str(value),
)
def test_space_for_results(free, state, code, examine, healthy, monkeypatch):
    true_usage = shutil.disk_usage
    results = healthy / RESULTS
    nearly_full = Usage(100e9, 100e9 - free, free)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: nearly_full if path == results else true_usage(path))
    diagnosis = examine()
    assert diagnosis.code == code
    assert diagnosis[RESULTS]["state"] == state
    assert diagnosis[RESULTS]["facts"]["free_bytes"] == free
    if code:
        assert diagnosis[RESULTS]["fix"] == f"du -sh {results}/* | sort -h"


def test_space_is_unknown_where_the_file_system_does_not_say(examine, monkeypatch):
    true_usage = shutil.disk_usage
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: Usage(0, 0, 0) if "nnUNet_" in str(path) else true_usage(path)
    )
    diagnosis = examine()
    assert diagnosis.code == 0
    assert diagnosis[RESULTS]["state"] == "unknown"


def test_looking_leaves_nothing_behind(examine, healthy):
    examine()
    assert not any((healthy / RESULTS).iterdir())


def test_checkpoint_is_as_large_as_the_paper_s_network():
    from nnunet_vmunet.models import VMUNet

    parameters = sum(parameter.numel() for parameter in VMUNet(3, 2).parameters())
    assert parameters * 3 * 4 == folders.CHECKPOINT
