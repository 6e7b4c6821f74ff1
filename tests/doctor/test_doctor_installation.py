"""Python, nnU-Net and other requirements of versions that do not fit; shims that are missing, or in the way."""

import platform
import shlex
import sys
from importlib import metadata

import pytest

from nnunet_vmunet import register
from nnunet_vmunet.doctor import installation

PIP = f"{sys.executable} -m pip install "
SHIM = "training/nnUNetTrainer/variants/vmunet/vmunet_trainers.py"


def test_what_is_needed_is_there(find):
    found = find(installation.check())
    assert set(found) == {"Python", "nnunet-vmunet", "nnU-Net", "requirements"}
    assert {finding.state for finding in found.values()} == {"ok"}
    assert found["requirements"].facts["torch"] == metadata.version("torch")


@pytest.mark.parametrize("version", ["3.9.18", "3.99.0", "3.99.0rc1"])
def test_python_out_of_range(version, find, monkeypatch):
    monkeypatch.setattr(platform, "python_version", lambda: version)
    supported = metadata.metadata("nnunet-vmunet")["Requires-Python"]
    found = find(installation.check())
    assert set(found) == {"Python"}
    assert found["Python"].state == "problem"
    assert f"{version} at {sys.executable}, but {supported} is needed" in found["Python"].detail
    assert f"venv --seed --python '{supported}' vmunet" in found["Python"].fix


def test_used_from_a_checkout_that_was_not_installed(find, monkeypatch):
    def not_installed(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "metadata", not_installed)
    finding = find(installation.check())["nnunet-vmunet"]
    assert finding.state == "problem"
    assert finding.fix == PIP + shlex.quote(str(installation.PACKAGE.parent))


@pytest.mark.parametrize("version", ["2.7.0", "3.0.0"])
def test_nnunet_of_another_version(version, site, find):
    site.add_metadata("nnunetv2", version)
    finding = find(installation.check())["nnU-Net"]
    assert finding.state == "problem"
    assert f"{version} in {site.nnunet}" in finding.detail
    assert finding.fix == f"{PIP}'nnunetv2<3,>=2.8'"


def test_no_nnunet(find, monkeypatch):
    monkeypatch.setattr(register, "find_spec", lambda name: None)
    finding = find(installation.check())["nnU-Net"]
    assert finding.state == "problem"
    assert "nnunetv2 is not installed" in finding.detail
    assert finding.fix == f"{PIP}'nnunetv2<3,>=2.8'"
    assert find(installation.check_registration())["registration"].state == "unknown"


def test_old_torch(site, find):
    site.add_metadata("torch", "2.3.1")
    finding = find(installation.check())["requirements"]
    assert finding.state == "problem"
    assert "torch is 2.3.1, but nnunet-vmunet needs torch>=2.4" in finding.detail
    assert finding.fix == f"{PIP}'torch>=2.4'"


def test_torch_that_nnunet_excludes(site, find):
    site.add_metadata("nnunetv2", "2.8.1", requires=["torch!=2.9.*,>=2.1.2"])
    site.add_metadata("torch", "2.9.1")
    finding = find(installation.check())["requirements"]
    assert finding.state == "problem"
    assert finding.detail == "torch is 2.9.1, but nnunetv2 needs torch!=2.9.*,>=2.1.2"
    assert finding.fix == f"{PIP}'torch!=2.9.*,>=2.1.2'"


def test_requirement_that_is_missing(site, find):
    site.add_metadata("nnunetv2", "2.8.1", requires=["no-such-package", 'no-such-extra; extra == "dev"'])
    finding = find(installation.check())["requirements"]
    assert finding.state == "problem"
    assert finding.detail == "no-such-package is not installed, but nnunetv2 needs no-such-package"
    assert finding.fix == f"{PIP}no-such-package"


def test_registered(site, find):
    register.register()
    assert find(installation.check_registration())["registration"].state == "ok"


def test_not_registered(site, find):
    finding = find(installation.check_registration())["registration"]
    assert finding.state == "problem"
    assert finding.detail.count("is missing") == len(register.SHIMS)
    assert finding.fix == "nnunet-vmunet register"


def test_outdated(site, find):
    register.register()
    (site.nnunet / SHIM).write_bytes(register.MARK + b" of an older release\n")
    finding = find(installation.check_registration())["registration"]
    assert finding.state == "problem"
    assert finding.detail == "vmunet_trainers.py is outdated"
    assert finding.fix == "nnunet-vmunet register"


def test_somebody_else_s_file_is_moved_away(site, find):
    register.register()
    shim = site.nnunet / SHIM
    shim.write_text("mine = True\n")
    finding = find(installation.check_registration())["registration"]
    assert finding.state == "problem"
    assert finding.fix == f"mv {shim} {shim}.away && nnunet-vmunet register"


def test_trainers_found_by_variable_alone(site, find, monkeypatch):
    monkeypatch.setenv(register.TRAINER_VARIABLE, f"/elsewhere:{register.SHIMS_FOLDER / 'trainers'}")
    finding = find(installation.check_registration())["registration"]
    assert finding.state == "warning"
    assert "planners and image readers are not" in finding.detail
    assert finding.fix == "nnunet-vmunet register"


def test_nnunet_that_may_not_be_written_to(site, find, monkeypatch):
    monkeypatch.setattr(installation, "why_not_writable", lambda folder: "Permission denied")
    monkeypatch.setenv(register.TRAINER_VARIABLE, "/my trainers")
    finding = find(installation.check_registration())["registration"]
    assert finding.state == "problem"
    folders = f"/my trainers:{register.SHIMS_FOLDER / 'trainers'}"
    assert finding.fix == f"export nnUNet_extTrainer={shlex.quote(folders)}"


@pytest.fixture
def search(monkeypatch):
    """Let nnU-Net's search for a trainer fail."""
    from nnunetv2.utilities import find_objects

    def search(error: Exception) -> None:
        def fail(name):
            raise error

        monkeypatch.setattr(find_objects, "recursive_find_trainer_class_by_name", fail)

    return search


@pytest.mark.parametrize(
    ("error", "detail", "fix"),
    [
        (RuntimeError("Could not find requested nnunet trainer"), installation.TRAINER, "nnunet-vmunet register"),
        (AttributeError("broken"), "AttributeError: broken", f"{PIP}--force-reinstall --no-deps 'nnunetv2<3,>=2.8'"),
    ],
    ids=["not found", "broken"],
)
def test_trainer_that_nnunet_does_not_get(error, detail, fix, search, find):
    search(error)
    finding = find(installation.check_trainer())["trainer"]
    assert finding.state == "problem"
    assert detail in finding.detail
    assert finding.fix == fix


def test_trainer_is_unknown_where_nnunet_stops_at_a_variable(find, monkeypatch):
    monkeypatch.setenv("nnUNet_def_n_proc", "many")
    finding = find(installation.check_trainer())["trainer"]
    assert finding.state == "unknown"
    assert "nnUNet_def_n_proc" in finding.detail
