"""A machine on which training can start, for each test to spoil in one way."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from nnunet_vmunet import register
from nnunet_vmunet.doctor import folders, gpu, machine, scan
from nnunet_vmunet.doctor.finding import Finding, Step

CHANGES_ANSWERS = (scan.VARIABLE, gpu.VISIBLE, gpu.COMPILE, register.TRAINER_VARIABLE, *machine.OPENMP_BINDING)


@pytest.fixture
def healthy(monkeypatch, tmp_path) -> Path:
    """nnU-Net's three folders, in the folder that is returned, and no variable set that changes an answer."""
    for variable in (folders.RAW, folders.PREPROCESSED, folders.RESULTS):
        (tmp_path / variable).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / variable))
    for variable in CHANGES_ANSWERS:
        monkeypatch.delenv(variable, raising=False)
    for workers in (machine.LOADERS, machine.WRITERS):
        monkeypatch.setenv(workers.variable, "1")
    monkeypatch.setenv(machine.OPENMP_WAITING, "passive")
    return tmp_path


@pytest.fixture
def find(healthy) -> Callable[[Iterable[Finding | Step]], dict[str, Finding]]:
    """What a check finds, by name."""
    return lambda check: {each.name: each for each in check if isinstance(each, Finding)}


@dataclass
class Site:
    """A folder of installed packages that Python searches first."""

    folder: Path

    @property
    def nnunet(self) -> Path:
        return self.folder / "nnunetv2"

    def add_metadata(self, name: str, version: str, requires: Iterable[str] = ()) -> None:
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        lines += [f"Requires-Dist: {requirement}" for requirement in requires]
        file = self.folder / f"{name}-1.dist-info" / "METADATA"
        file.parent.mkdir(exist_ok=True)
        file.write_text("\n".join(lines) + "\n")


@pytest.fixture
def site(healthy, monkeypatch) -> Site:
    """Holds nnU-Net 2.8.1: the folders that nnU-Net searches, and nothing in them."""
    site = Site(healthy / "site")
    for folder in register.SHIMS.values():
        (site.nnunet / folder).parent.mkdir(parents=True)
    (site.nnunet / "__init__.py").touch()
    site.add_metadata("nnunetv2", "2.8.1")
    monkeypatch.delitem(sys.modules, "nnunetv2", raising=False)
    monkeypatch.syspath_prepend(site.folder)
    return site
