"""Python, nnU-Net, torch and other requirements: absent, or of versions that do not fit."""

import importlib.machinery
import platform
import sys
from importlib import metadata

import pytest

from nnunet_vmunet import register
from nnunet_vmunet.doctor import versions

PIP = f"{sys.executable} -m pip install "


def test_what_is_needed_is_there(examine):
    diagnosis = examine()
    assert diagnosis.code == 0
    for name in ("Python", "nnunet-vmunet", "nnU-Net", "torch", "requirements"):
        assert diagnosis[name]["state"] == "ok", diagnosis[name]


@pytest.mark.parametrize("version", ["3.9.18", "3.14.0", "3.15.0rc1"])
def test_python_out_of_range(version, examine, monkeypatch):
    monkeypatch.setattr(platform, "python_version", lambda: version)
    supported = metadata.metadata("nnunet-vmunet")["Requires-Python"]
    diagnosis = examine()
    assert diagnosis.code == 1
    assert diagnosis["Python"]["state"] == "problem"
    assert f"{version} at {sys.executable}, but {supported} is needed" in diagnosis["Python"]["detail"]
    assert diagnosis["Python"]["fix"].startswith("python3.13 -m venv vmunet && vmunet/bin/python -m pip install ")


@pytest.mark.parametrize("version", ["2.7.0", "3.0.0"])
def test_nnunet_of_another_version(version, hollow_nnunet, examine):
    hollow_nnunet.set_version(version)
    diagnosis = examine()
    assert diagnosis.code == 1
    assert diagnosis["nnU-Net"]["state"] == "problem"
    assert f"{version} in {hollow_nnunet.package}, but nnunetv2<3,>=2.8 is needed" in diagnosis["nnU-Net"]["detail"]
    assert diagnosis["nnU-Net"]["fix"] == f"{PIP}'nnunetv2<3,>=2.8'"


def test_no_nnunet(examine, monkeypatch):
    monkeypatch.setattr(register, "find_spec", lambda name: None)
    diagnosis = examine()
    assert diagnosis.code == 1
    assert diagnosis["nnU-Net"]["state"] == "problem"
    assert "nnunetv2 is not installed" in diagnosis["nnU-Net"]["detail"]
    assert diagnosis["nnU-Net"]["fix"] == f"{PIP}'nnunetv2<3,>=2.8'"
    assert diagnosis["registration"]["state"] == "unknown"


@pytest.fixture
def pretend_version(monkeypatch):
    """Metadata says that a distribution has this version, or with None that it is not installed."""
    true_version = metadata.version

    def pretend(name: str, version: str | None) -> None:
        def version_of(asked: str) -> str:
            if asked == name and version is None:
                raise metadata.PackageNotFoundError(name)
            return version if asked == name else true_version(asked)

        monkeypatch.setattr(metadata, "version", version_of)

    return pretend


def test_no_torch(examine, pretend_version):
    pretend_version("torch", None)
    diagnosis = examine()
    assert diagnosis.code == 1
    assert diagnosis["torch"]["state"] == "problem"
    assert diagnosis["torch"]["detail"] == "torch is not installed"
    assert diagnosis["torch"]["fix"] == f"{PIP}'torch>=2.4'"


def test_old_torch(examine, pretend_version):
    pretend_version("torch", "2.3.1")
    diagnosis = examine()
    assert diagnosis.code == 1
    assert diagnosis["torch"]["detail"] == "torch is 2.3.1, but >=2.4 is needed"
    assert diagnosis["torch"]["fix"] == f"{PIP}'torch>=2.4'"


@pytest.mark.parametrize(
    "spec",
    [None, importlib.machinery.ModuleSpec("torch", None)],  # the second is a namespace: no __init__.py
    ids=["files deleted", "a folder was left"],
)
def test_torch_without_its_files(spec, examine, monkeypatch):
    true_find_spec = versions.find_spec
    monkeypatch.setattr(versions, "find_spec", lambda name: spec if name == "torch" else true_find_spec(name))
    diagnosis = examine()
    assert diagnosis.code == 1
    assert "its files are not there" in diagnosis["torch"]["detail"]
    assert diagnosis["torch"]["fix"] == f"{PIP}--force-reinstall 'torch>=2.4'"
    assert diagnosis["GPU and scan"]["state"] == "unknown"


def test_another_requirement_is_missing(examine, pretend_version):
    pretend_version("einops", None)
    diagnosis = examine()
    assert diagnosis.code == 1
    assert diagnosis["requirements"]["detail"] == "einops is not installed"
    assert diagnosis["requirements"]["fix"] == f"{PIP}einops"


def test_used_from_a_checkout_that_was_not_installed(examine, monkeypatch):
    def not_installed(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "metadata", not_installed)
    monkeypatch.setattr(metadata, "distributions", lambda name: ())
    diagnosis = examine()
    assert diagnosis["Python"]["state"] == "unknown"
    assert diagnosis.code == 1
    assert diagnosis["nnunet-vmunet"]["fix"] == f"{PIP}{versions.CHECKOUT}"


@pytest.mark.parametrize(("version", "name"), [("3.9.18", "Python"), ("3.12.1", "requirements")])
def test_python_without_packages(version, name, examine, monkeypatch):
    true_find_spec = versions.find_spec
    monkeypatch.setattr(versions, "find_spec", lambda name: None if name == "packaging" else true_find_spec(name))
    monkeypatch.setattr(platform, "python_version", lambda: version)
    diagnosis = examine()
    assert diagnosis.code == 1
    assert diagnosis.names("problem") == {name}
    assert diagnosis[name]["fix"].endswith(f"-m pip install {versions.CHECKOUT}")
