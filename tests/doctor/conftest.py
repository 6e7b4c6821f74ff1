"""A machine on which training can start, to be spoilt by each test in one way."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from nnunet_vmunet import register
from nnunet_vmunet.doctor import devices, diagnosis, limits, nvidia, openmp, report, self_test, torch_checks, workers
from nnunet_vmunet.ops import backends

FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
UNSET = (backends.VARIABLE, devices.VISIBLE, register.TRAINER_VARIABLE, "nnUNet_compile", *openmp.BINDING)


@dataclass
class Diagnosis:
    """What `nnunet-vmunet doctor --json` returned and printed."""

    code: int
    document: dict

    def __getitem__(self, name: str) -> dict:
        """The check of this name."""
        (check,) = [check for check in self.document["checks"] if check["name"] == name]
        return check

    def names(self, state: str) -> set[str]:
        return {check["name"] for check in self.document["checks"] if check["state"] == state}


@pytest.fixture
def healthy(monkeypatch, tmp_path, registered):
    """nnU-Net's folders, the plugin registered, and no variable set that changes anything."""
    for variable in FOLDERS:
        (tmp_path / variable).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / variable))
    for variable in UNSET:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("SHELL", "/bin/bash")
    monkeypatch.setenv(openmp.POLICY, "passive")
    for variable in (workers.AUGMENTATION, workers.POOL):
        monkeypatch.setenv(variable, "1")
    monkeypatch.setattr(limits, "LITTLE_MEMORY", 0)  # whatever else runs beside the tests
    monkeypatch.setattr(workers, "BATCH", 1000)
    return tmp_path


@pytest.fixture
def examine(healthy, monkeypatch, capsys) -> Callable[[], Diagnosis]:
    """The doctor without what needs torch: that takes seconds."""
    monkeypatch.setattr(diagnosis.torch_process, "check", lambda: iter(()))
    return _examine(capsys)


@pytest.fixture
def examine_with_torch(healthy, monkeypatch, capsys) -> Iterator[Callable[[], Diagnosis]]:
    """The doctor with torch in this process, where a test can spoil it, and a small self-test."""
    monkeypatch.setattr(diagnosis.torch_process, "check", torch_checks.check)
    backends._fastest.cache_clear()
    monkeypatch.setattr(self_test, "STAGE_1", (1, 4, 5, 20, 3, 2))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name, value in (("SMI", "no-such-program"), ("DRIVER", healthy / "no driver"), ("PCI", healthy / "no bus")):
        monkeypatch.setattr(nvidia, name, value)
    monkeypatch.setattr(nvidia, "DEVICES", (healthy / "nvidiactl",))
    yield _examine(capsys)
    backends._fastest.cache_clear()


def _examine(capsys):
    def examine() -> Diagnosis:
        capsys.readouterr()
        code = report.doctor(as_json=True)
        return Diagnosis(code, json.loads(capsys.readouterr().out))

    return examine


@dataclass
class HollowNnUNet:
    """An nnU-Net that has the folders which are searched, and nothing in them."""

    package: Path

    def set_version(self, version: str) -> None:
        metadata = self.package.parent / "nnunetv2-2.dist-info" / "METADATA"
        metadata.parent.mkdir(exist_ok=True)
        metadata.write_text(f"Metadata-Version: 2.1\nName: nnunetv2\nVersion: {version}\n")


@pytest.fixture
def hollow_nnunet(monkeypatch, tmp_path) -> HollowNnUNet:
    """The one that this process would import, of version 2.8.1."""
    nnunet = HollowNnUNet(tmp_path / "site" / "nnunetv2")
    for folder in register.SHIMS.values():
        (nnunet.package / folder).parent.mkdir(parents=True)
    (nnunet.package / "__init__.py").touch()
    nnunet.set_version("2.8.1")
    monkeypatch.delitem(sys.modules, "nnunetv2", raising=False)
    monkeypatch.syspath_prepend(nnunet.package.parent)
    assert register.find_nnunet() == nnunet.package
    return nnunet


@pytest.fixture
def gpu(examine_with_torch, monkeypatch):
    """As if torch saw one NVIDIA GPU. Nothing can run on it, so the self-test is left out."""

    def seen(capability=(8, 0), free=40e9, total=48e9) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA Test")
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, total))
        monkeypatch.setattr(devices, "_run_a_kernel", lambda device: None)
        monkeypatch.setattr(self_test, "check", lambda device, trains: iter(()))
        monkeypatch.setenv("CC", "cc")

    return seen
