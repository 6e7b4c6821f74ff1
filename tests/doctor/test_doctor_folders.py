"""nnU-Net's three folders, spoilt one at a time."""

import json
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from nnunet_vmunet.doctor import folders
from nnunet_vmunet.doctor.folders import PREPROCESSED, RAW, RESULTS

UNWRITABLE = Path("/proc")  # to everybody, root too
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def look(find):
    def look(variable):
        return find(folders.check())[variable]

    return look


@pytest.mark.parametrize("value", [None, ""], ids=["unset", "empty"])
@pytest.mark.parametrize("variable", [RAW, PREPROCESSED, RESULTS])
def test_variable_not_set(variable, value, look, monkeypatch):
    monkeypatch.setenv("HOME", "/home/Ann Lee")
    monkeypatch.setenv(variable, value) if value is not None else monkeypatch.delenv(variable)
    finding, folder = look(variable), f"'/home/Ann Lee/{variable}'"
    assert finding.state == "problem"
    assert finding.detail.startswith("not set")
    assert finding.fix == f"mkdir -p {folder} && export {variable}={folder}"


def test_training_does_not_need_the_raw_folder(look, healthy, monkeypatch):
    plans = healthy / PREPROCESSED / "Dataset118_X" / "nnUNetPlans.json"
    plans.parent.mkdir()
    plans.touch()
    monkeypatch.delenv(RAW)
    assert look(RAW).state == "warning"


@pytest.mark.parametrize(("variable", "state"), [(RAW, "problem"), (PREPROCESSED, "problem"), (RESULTS, "warning")])
def test_folder_does_not_exist(variable, state, look, healthy, monkeypatch):
    folder = healthy / "not here" / "yet"
    monkeypatch.setenv(variable, str(folder))
    finding = look(variable)
    assert finding.state == state
    assert finding.fix == f"mkdir -p '{folder}'"
    assert not folder.parent.exists()


@pytest.mark.skipif(not UNWRITABLE.is_dir(), reason="needs /proc")
def test_results_that_cannot_be_made(look, monkeypatch):
    monkeypatch.setenv(RESULTS, str(UNWRITABLE / "results"))
    finding = look(RESULTS)
    assert finding.state == "problem"
    assert f"{UNWRITABLE}/results does not exist and cannot be made" in finding.detail
    assert f"export {RESULTS}=" in finding.fix


@pytest.mark.skipif(not UNWRITABLE.is_dir(), reason="needs /proc")
@pytest.mark.parametrize(("variable", "state"), [(RAW, "warning"), (PREPROCESSED, "warning"), (RESULTS, "problem")])
def test_folder_is_not_writable(variable, state, look, monkeypatch):
    monkeypatch.setenv(variable, str(UNWRITABLE))
    finding = look(variable)
    assert finding.state == state
    assert f"{UNWRITABLE}, not writable" in finding.detail
    assert f"export {variable}=" in finding.fix


@pytest.mark.parametrize("in_the_way", ["file", "link"])
def test_something_else_in_place_of_the_folder(in_the_way, look, healthy, monkeypatch):
    (healthy / "file").touch()
    (healthy / "link").symlink_to(healthy / "unplugged disk")
    monkeypatch.setenv(RESULTS, str(healthy / in_the_way))
    finding = look(RESULTS)
    assert finding.state == "problem"
    assert "is not a folder" in finding.detail
    assert f"export {RESULTS}=" in finding.fix


def test_tilde_that_the_shell_left(look, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv(RESULTS, "~/results")
    finding = look(RESULTS)
    assert finding.state == "problem"
    assert finding.fix == "mkdir -p /home/ann/results && export nnUNet_results=/home/ann/results"


def test_relative_path(look, healthy, monkeypatch):
    monkeypatch.chdir(healthy)
    monkeypatch.setenv(RESULTS, RESULTS)
    finding = look(RESULTS)
    assert finding.state == "warning"
    assert finding.fix == f"export nnUNet_results={healthy / RESULTS}"


@pytest.mark.parametrize(
    ("total", "free", "state"),
    [(100e9, 100e6, "problem"), (100e9, 1e9, "warning"), (100e9, 50e9, "ok"), (0, 0, "unknown")],
    ids=["less than a checkpoint", "little", "enough", "the file system does not say"],
)
def test_space_for_results(total, free, state, look, healthy, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(total, total - free, free))
    finding = look(RESULTS)
    assert finding.state == state
    if state in ("problem", "warning"):
        assert finding.facts["free_bytes"] == free
        assert finding.fix == f"du -sh {healthy / RESULTS}/* | sort -h"


def test_looking_leaves_nothing_behind(look, healthy):
    assert look(RESULTS).state in ("ok", "warning")  # a disk may be nearly full
    assert not any((healthy / RESULTS).iterdir())


def test_checkpoint_is_as_large_as_the_paper_s_network():
    from nnunet_vmunet.models import VMUNet

    parameters = sum(parameter.numel() for parameter in VMUNet(3, 2).parameters())
    assert parameters * 3 * 4 == folders.CHECKPOINT


GOOD = {"channel_names": {"0": "R"}, "labels": {"background": 0, "lesion": 1}}
OLD = {"modality": {"0": "MR"}, "labels": {"0": "background", "1": "lesion"}}


@pytest.fixture
def described(healthy, find):
    """The finding on datasets, where nnUNet_raw holds these dataset.json files."""

    def described(*contents):
        for i, content in enumerate(contents):
            file = healthy / RAW / f"Dataset90{i}_X" / "dataset.json"
            file.parent.mkdir()
            file.write_text(json.dumps(content))
        return find(folders.check()).get("datasets")

    return described


def test_without_datasets_nothing_is_said_of_them(described):
    assert described() is None


def test_datasets_that_can_be_trained(described):
    finding = described(GOOD, GOOD)
    assert (finding.state, finding.detail) == ("ok", "nnU-Net can train what 2 dataset.json say")


def test_a_dataset_json_that_cannot_be_trained_is_named(described, healthy):
    finding = described(GOOD, OLD, {"labels": 3})
    file = healthy / RAW / "Dataset901_X" / "dataset.json"
    assert finding.state == "warning"  # it hinders no training of another dataset
    assert finding.detail.startswith(f"{file} names labels as nnU-Net's first version did")
    assert finding.detail.endswith("; 1 more cannot be trained")
    assert str(file) in finding.fix
    assert len(finding.facts["refused"]) == 2
