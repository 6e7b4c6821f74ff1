"""GPUs that torch cannot use, by what the system shows of them."""

import sys

import pytest
import torch

from nnunet_vmunet.doctor import devices, nvidia

PIP = f"{sys.executable} -m pip install --force-reinstall torch --index-url https://download.pytorch.org/whl"
DRIVER = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  {}  Tue Sep 19 19:20:30 UTC 2023\nGCC version: 12\n"
TOO_OLD = "The NVIDIA driver on your system is too old (found version 11040). Please update\nand more"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="NVIDIA's files are Linux's")


@pytest.fixture
def card(examine_with_torch, monkeypatch, tmp_path):
    """A card whose driver has this version, in a torch whose CUDA does not start."""

    def card(driver: str, complaint: str = TOO_OLD, reachable: bool = True) -> None:
        def init():
            raise RuntimeError(complaint)

        monkeypatch.setattr(torch.cuda, "init", init)
        monkeypatch.setattr(torch.version, "cuda", "13.2")
        monkeypatch.setattr(nvidia, "DRIVER", tmp_path / "version")
        nvidia.DRIVER.write_text(DRIVER.format(driver))
        if reachable:
            nvidia.DEVICES[0].touch()

    return card


@pytest.fixture
def smi(monkeypatch, tmp_path):
    """An nvidia-smi that prints this."""

    def smi(output: str, code: int = 0) -> None:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\necho '{output}'\nexit {code}\n")
        program.chmod(0o755)
        monkeypatch.setattr(nvidia, "SMI", str(program))

    return smi


def test_no_gpu_is_fine(examine_with_torch):
    diagnosis = examine_with_torch()
    assert diagnosis.code == 0
    assert diagnosis.document["verdict"] == "Training can start, with -device cpu."
    assert diagnosis["GPU"]["state"] == "ok"
    assert "add -device cpu" in diagnosis["GPU"]["detail"]


@pytest.mark.parametrize(
    ("driver", "build"),
    [("450.80.02", "cu118"), ("470.82.01", "cu118"), ("535.104.05", "cu126"), ("580.65.06", "cu130")],
)
def test_driver_too_old_for_torch(driver, build, card, examine_with_torch):
    card(driver)
    diagnosis = examine_with_torch()
    assert diagnosis.code == 1
    assert diagnosis["GPU"]["state"] == "problem"
    assert f"the NVIDIA driver {driver} is loaded, but torch does not see it" in diagnosis["GPU"]["detail"]
    assert "too old (found version 11040)" in diagnosis["GPU"]["detail"]
    assert diagnosis["GPU"]["fix"] == f"{PIP}/{build}"


def test_driver_too_old_for_every_torch(card, examine_with_torch):
    card("390.157")
    diagnosis = examine_with_torch()
    assert diagnosis.code == 1
    assert diagnosis["GPU"]["fix"] == nvidia.install_driver()


def test_torch_without_cuda(card, smi, examine_with_torch, monkeypatch):
    card("560.35.03")
    smi("NVIDIA RTX A5000, 560.35.03, 24564 MiB")
    monkeypatch.setattr(torch.version, "cuda", None)
    diagnosis = examine_with_torch()
    assert diagnosis.code == 1
    assert "NVIDIA RTX A5000, 560.35.03, 24564 MiB" in diagnosis["GPU"]["detail"]
    assert "is a build without CUDA" in diagnosis["GPU"]["detail"]
    assert diagnosis["GPU"]["fix"] == f"{PIP}/cu126"


def test_container_without_the_gpu(card, examine_with_torch):
    card("535.104.05", reachable=False)
    diagnosis = examine_with_torch()
    assert diagnosis.code == 1
    assert "container" in diagnosis["GPU"]["detail"]
    assert diagnosis["GPU"]["fix"] == "docker run --gpus all --ipc=host IMAGE"


def test_driver_that_does_not_run(smi, examine_with_torch):
    smi("Failed to initialize NVML: Driver/library version mismatch", code=18)
    diagnosis = examine_with_torch()
    assert diagnosis.code == 1
    assert "Driver/library version mismatch" in diagnosis["GPU"]["detail"]
    assert diagnosis["GPU"]["fix"] == "sudo reboot"


def test_card_without_a_driver(examine_with_torch, monkeypatch, tmp_path):
    monkeypatch.setattr(nvidia, "PCI", tmp_path / "pci")
    for device, vendor, kind in (("0", "0x8086", "0x030000"), ("1", "0x10de", "0x030200")):
        (nvidia.PCI / device).mkdir(parents=True)
        (nvidia.PCI / device / "vendor").write_text(vendor + "\n")
        (nvidia.PCI / device / "class").write_text(kind + "\n")
    diagnosis = examine_with_torch()
    assert diagnosis.code == 1
    assert "an NVIDIA card is built in" in diagnosis["GPU"]["detail"]
    assert diagnosis["GPU"]["fix"] == nvidia.install_driver()


@pytest.mark.parametrize(
    ("installer", "fix"),
    [("sh", "sudo sh install && sudo reboot"), ("no-such-program", "https://www.nvidia.com/drivers")],
    ids=["Ubuntu", "elsewhere"],
)
def test_where_drivers_come_from(installer, fix, monkeypatch):
    monkeypatch.setattr(nvidia, "INSTALLER", installer)
    assert nvidia.install_driver() == fix


@pytest.mark.parametrize("visible", ["", "-1"])
def test_gpus_hidden_by_the_user(visible, card, examine_with_torch, monkeypatch):
    card("580.65.06")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    diagnosis = examine_with_torch()
    assert diagnosis.code == 0
    assert diagnosis["GPU"]["state"] == "warning"
    assert diagnosis["GPU"]["fix"] == "unset CUDA_VISIBLE_DEVICES"


def test_gpus_hidden_where_there_are_none(examine_with_torch, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert examine_with_torch()["GPU"]["state"] == "ok"


def test_gpu_of_a_number_that_is_not_there(card, examine_with_torch, monkeypatch):
    card("580.65.06", "No CUDA GPUs are available")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    diagnosis = examine_with_torch()
    assert diagnosis.code == 1
    assert diagnosis["GPU"]["fix"] == "unset CUDA_VISIBLE_DEVICES"


def test_gpu_that_computes(gpu, examine_with_torch):
    gpu()
    diagnosis = examine_with_torch()
    assert diagnosis.code == 0
    assert diagnosis["GPU"]["state"] == "ok"
    assert diagnosis["GPU"]["detail"] == "cuda:0, NVIDIA Test, compute capability 8.0, 40 GB of 48 GB free"
    assert diagnosis.document["verdict"] == "Training can start."
    assert diagnosis["scan on cuda:0"]["facts"]["backend"] == "triton"


def test_gpu_too_old_for_torch(gpu, examine_with_torch, monkeypatch):
    def run(device):
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nCompile with...")

    gpu(capability=(6, 1))
    monkeypatch.setattr(devices, "_run_a_kernel", run)
    diagnosis = examine_with_torch()
    assert diagnosis.code == 1
    assert "cuda:0 does not compute: RuntimeError: CUDA error: no kernel image" in diagnosis["GPU"]["detail"]
    assert diagnosis["GPU"]["fix"] == f"{PIP}/cu126"


def test_gpu_that_another_process_has_for_itself(gpu, examine_with_torch, monkeypatch):
    def run(device):
        raise RuntimeError("CUDA error: all CUDA-capable devices are busy or unavailable")

    gpu()
    monkeypatch.setattr(devices, "_run_a_kernel", run)
    diagnosis = examine_with_torch()
    assert diagnosis.code == 1
    assert diagnosis["GPU"]["fix"] == "nvidia-smi"


def test_gpu_that_cannot_even_be_asked(gpu, examine_with_torch, monkeypatch):
    def ask(device):
        raise RuntimeError("CUDA error: unknown error")

    gpu()
    monkeypatch.setattr(torch.cuda, "get_device_capability", ask)
    diagnosis = examine_with_torch()
    assert diagnosis.code == 1
    assert diagnosis.names("problem") == {"GPU"}
    assert diagnosis["GPU"]["fix"] == "export CUDA_VISIBLE_DEVICES=''"


@pytest.mark.parametrize(
    ("total", "fix"),
    [(24e9, "nvidia-smi"), (8e9, "nnUNetv2_plan_and_preprocess -d ID -c 2d -pl VMUNetPlanner -gpu_memory_target 8")],
    ids=["taken by others", "small"],
)
def test_gpu_with_little_memory(total, fix, gpu, examine_with_torch):
    gpu(free=5e9, total=total)
    diagnosis = examine_with_torch()
    assert diagnosis.code == 0
    assert diagnosis["GPU"]["state"] == "warning"
    assert diagnosis["GPU"]["fix"] == fix


def test_the_paper_s_batch_needs_what_the_memory_model_says():
    from nnunet_vmunet.memory_model import training_memory
    from nnunet_vmunet.models import VMUNet

    assert training_memory(VMUNet(3, 2), 2).peak(32, (256, 256)) == pytest.approx(devices.PAPER_BATCH, rel=0.05)
