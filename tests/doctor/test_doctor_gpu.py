"""GPUs that torch cannot use, by what the system shows of them; and whether the network can be compiled."""

import sys

import pytest
import torch

from nnunet_vmunet.doctor import gpu

CUDA = torch.device("cuda", 0)
CARD = "NVIDIA RTX A5000, 560.35.03, 24564 MiB"
TOO_OLD = "The NVIDIA driver on your system is too old (found version 11040). Please update\nand more"
BUSY = "CUDA error: all CUDA-capable devices are busy or unavailable"
NO_CODE = "CUDA error: no kernel image is available for execution on the device\nCompile with..."
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="NVIDIA's files are Linux's")


@pytest.fixture
def unseen(find, monkeypatch, tmp_path):
    """What is found where torch sees no GPU, and the system has these signs of one."""
    root = tmp_path / "root"

    def unseen(*, smi: str = "", code: int = 0, loaded=True, reachable=True, complaint: str = TOO_OLD, cuda="13.2"):
        def init():
            raise RuntimeError(complaint)

        for there, file in ((loaded, root / "proc/driver/nvidia/version"), (reachable, root / "dev/nvidiactl")):
            file.parent.mkdir(parents=True)
            if there:
                file.touch()
        if smi:
            program = root / "nvidia-smi"
            program.write_text(f"#!/bin/sh\necho '{smi}'\nexit {code}\n")
            program.chmod(0o755)
        monkeypatch.setenv("PATH", str(root))
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(torch.cuda, "init", init)
        monkeypatch.setattr(torch.version, "cuda", cuda)
        return find(gpu.check(root))["GPU"]

    return unseen


@pytest.fixture
def seen(find, monkeypatch):
    """What is found of an NVIDIA GPU that torch sees; a kernel on it raises `error`."""

    def seen(capability=(8, 0), free=40e9, total=48e9, error: str = ""):
        def run_a_kernel(device):
            if error:
                raise RuntimeError(error)

        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA Test")
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, total))
        monkeypatch.setattr(gpu, "run_a_kernel", run_a_kernel)
        return find(gpu.check())["GPU"]

    return seen


@pytest.mark.parametrize("visible", [None, ""])
def test_no_gpu_is_fine(visible, unseen, monkeypatch):
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    finding = unseen(loaded=False, reachable=False)
    assert finding.state == "ok"
    assert "add -device cpu" in finding.detail
    assert finding.facts == {"device": "cpu"}


def test_driver_too_old_for_torch(unseen):
    finding = unseen()
    assert finding.state == "problem"
    assert "too old (found version 11040)" in finding.detail
    assert finding.fix.startswith(f"{sys.executable} -m pip install uv && ")
    assert finding.fix.endswith("--torch-backend auto --reinstall-package torch torch")


def test_torch_without_cuda(unseen):
    finding = unseen(smi=CARD, cuda=None)
    assert finding.state == "problem"
    assert CARD in finding.detail
    assert "is a build without CUDA" in finding.detail
    assert "--torch-backend auto" in finding.fix


def test_container_without_the_gpu(unseen):
    finding = unseen(reachable=False)
    assert finding.state == "problem"
    assert "container" in finding.detail
    assert finding.fix == "docker run --gpus all --ipc=host IMAGE"


def test_driver_that_does_not_run(unseen):
    finding = unseen(smi="Failed to initialize NVML: Driver/library version mismatch", code=18)
    assert finding.state == "problem"
    assert "Driver/library version mismatch" in finding.detail
    assert finding.fix == "sudo reboot"


@pytest.mark.parametrize("visible", ["", "-1"])
def test_gpus_hidden_by_the_user(visible, unseen, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    finding = unseen()
    assert finding.state == "warning"
    assert finding.fix == "unset CUDA_VISIBLE_DEVICES"
    assert finding.facts == {"device": "cpu"}


def test_gpu_of_a_number_that_is_not_there(unseen, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    finding = unseen(complaint="No CUDA GPUs are available")
    assert finding.state == "problem"
    assert finding.fix == "unset CUDA_VISIBLE_DEVICES"


def test_gpu_that_computes(seen):
    finding = seen()
    assert finding.state == "ok"
    assert finding.detail == "cuda:0, NVIDIA Test, compute capability 8.0, 40 GB of 48 GB free"


@pytest.mark.parametrize(
    ("capability", "error", "fix"),
    [
        ((6, 1), NO_CODE, "--torch-backend cu126"),
        ((12, 0), NO_CODE, "--torch-backend auto"),
        ((8, 0), BUSY, "nvidia-smi"),
        ((8, 0), "CUDA error: unknown error", "export CUDA_VISIBLE_DEVICES=''"),
    ],
    ids=["too old for torch", "too new for torch", "another process has it", "broken"],
)
def test_gpu_that_does_not_compute(capability, error, fix, seen):
    finding = seen(capability, error=error)
    assert finding.state == "problem"
    assert error.splitlines()[0] in finding.detail
    assert fix in finding.fix


@pytest.mark.parametrize(
    ("total", "fix"),
    [(24e9, "nvidia-smi"), (8e9, "nnUNetv2_plan_and_preprocess -d ID -c 2d -pl VMUNetPlanner -gpu_memory_target 8")],
    ids=["others took it", "small"],
)
def test_gpu_with_little_memory(total, fix, seen):
    finding = seen(free=5e9, total=total)
    assert finding.state == "warning"
    assert finding.fix == fix


def test_the_paper_s_batch_needs_what_the_memory_model_says():
    from nnunet_vmunet.memory_model import training_memory
    from nnunet_vmunet.models import VMUNet

    assert training_memory(VMUNet(3, 2), 2).peak(32, (256, 256)) == pytest.approx(gpu.PAPER_STEP_BYTES, rel=0.05)


@pytest.fixture
def compiling(find, monkeypatch):
    """What is found about torch.compile where it works, or fails with this error."""

    def compiling(error: Exception | None = None, device: torch.device = CUDA):
        def compiled(function):
            if error:
                raise error
            return function

        monkeypatch.setattr(torch, "compile", compiled)
        monkeypatch.setattr(torch, "ones", lambda *size, device: torch.zeros(size) + 1)
        return find(gpu.check_compiling(device))["nnUNet_compile"]

    return compiling


def test_network_that_can_be_compiled(compiling):
    assert compiling().state == "ok"


def test_network_that_cannot_be_compiled(compiling, monkeypatch):
    error = RuntimeError("Failed to find C compiler.\nPlease specify via CC")
    finding = compiling(error)
    assert finding.state == "problem"
    assert "Failed to find C compiler" in finding.detail
    assert finding.fix == "export nnUNet_compile=f"
    assert compiling(error, torch.device("cpu")).state == "ok"  # nnU-Net compiles for GPUs alone
    monkeypatch.setenv("nnUNet_compile", "f")
    assert compiling(error).state == "ok"


@pytest.mark.parametrize(("value", "state"), [("yes", "warning"), ("True", "ok"), ("0", "ok")])
def test_nnunet_compile(value, state, compiling, monkeypatch):
    monkeypatch.setenv("nnUNet_compile", value)
    assert compiling().state == state
