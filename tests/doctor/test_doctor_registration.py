"""The shims in a hollow nnU-Net: missing, outdated, in the way, unwritable."""

import shlex
import sys
from pathlib import Path

import pytest

from nnunet_vmunet import register
from nnunet_vmunet.doctor import registration

SHIM = "training/nnUNetTrainer/variants/vmunet/vmunet_trainers.py"


def test_registered(hollow_nnunet, examine):
    register.register()
    diagnosis = examine()
    assert diagnosis.code == 0
    assert diagnosis["registration"]["state"] == "ok"


def test_not_registered(hollow_nnunet, examine):
    diagnosis = examine()
    assert diagnosis.code == 1
    assert diagnosis["registration"]["state"] == "problem"
    assert diagnosis["registration"]["detail"].count("is missing") == len(register.SHIMS)
    assert diagnosis["registration"]["fix"] == "nnunet-vmunet register"


def test_outdated(hollow_nnunet, examine):
    register.register()
    (hollow_nnunet.package / SHIM).write_bytes(register.MARK + b" of an older release\n")
    diagnosis = examine()
    assert diagnosis.code == 1
    assert diagnosis["registration"]["detail"] == "vmunet_trainers.py is outdated"
    assert diagnosis["registration"]["fix"] == "nnunet-vmunet register"


def test_somebody_else_s_file_is_moved_away(hollow_nnunet, examine):
    register.register()
    shim = hollow_nnunet.package / SHIM
    shim.write_text("mine = True\n")
    diagnosis = examine()
    assert diagnosis.code == 1
    assert diagnosis["registration"]["fix"] == f"mv {shim} {shim}.away && nnunet-vmunet register"


def test_trainers_found_by_variable_alone(hollow_nnunet, examine, monkeypatch):
    monkeypatch.setenv(register.TRAINER_VARIABLE, f"/elsewhere:{register.SHIMS_FOLDER / 'trainers'}")
    diagnosis = examine()
    assert diagnosis.code == 0
    assert diagnosis["registration"]["state"] == "warning"
    assert "planners and image reader are not" in diagnosis["registration"]["detail"]
    assert diagnosis["registration"]["fix"] == "nnunet-vmunet register"


def test_nnunet_that_may_not_be_written_to(hollow_nnunet, examine, monkeypatch):
    monkeypatch.setattr(registration, "why_not_writable", lambda folder: "Permission denied")
    monkeypatch.setenv(register.TRAINER_VARIABLE, "/my trainers")
    diagnosis = examine()
    assert diagnosis.code == 1
    folders = f"/my trainers:{register.SHIMS_FOLDER / 'trainers'}"
    assert diagnosis["registration"]["fix"] == f"export nnUNet_extTrainer={shlex.quote(folders)}"


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_asking_whether_nnunet_is_writable_is_by_writing(tmp_path):
    assert registration.why_not_writable(tmp_path) is None
    assert registration.why_not_writable(Path("/proc"))
    assert not any(tmp_path.iterdir())
