"""What torch can train on: NVIDIA GPUs that run a kernel, or else the CPU. Needs torch."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from .finding import Finding, first_line, gigabytes, ok, problem, set_variable, unset_variables, uv, warning

VISIBLE, COMPILE = "CUDA_VISIBLE_DEVICES", "nnUNet_compile"
YES, NO = ("true", "1", "t"), ("false", "0", "f")  # what nnU-Net takes for yes; it takes anything else for no
PAPER_STEP_BYTES = 8.8e9  # a training step on 32 images of 256×256 in float32, by memory_model
# A GPU below this compute capability is too old for torch built with CUDA 13, and the build that still has code for it.
OLDEST_FOR_CUDA_13, BUILD_FOR_OLDER = (7, 5), "cu126"


def training_device() -> torch.device:
    """What nnUNetv2_train would take, with -device cpu where there is no GPU."""
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


def check(root: Path = Path("/")) -> Iterator[Finding]:
    """`root`: that of the file system, where a driver that runs leaves its files."""
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            yield _gpu(torch.device("cuda", number))
    else:
        yield _no_gpu(root)


def _gpu(device: torch.device) -> Finding:
    serious = problem if device.index == 0 else warning  # nnU-Net trains on the first
    capability = None
    try:
        name = torch.cuda.get_device_name(device)
        capability = torch.cuda.get_device_capability(device)
        run_a_kernel(device)
        free, total = torch.cuda.mem_get_info(device)
    except Exception as error:  # torch raises various types; each means that nothing would run
        reason = first_line(error)
        return serious("GPU", f"{device} does not compute: {reason}", _fix_computing(reason, capability))
    detail = (
        f"{device}, {name}, compute capability {'.'.join(map(str, capability))}, "
        f"{gigabytes(free)} of {gigabytes(total)} free"
    )
    facts = {"device": str(device), "free_bytes": free, "total_bytes": total}
    if free >= PAPER_STEP_BYTES:
        return ok("GPU", detail, **facts)
    detail += f"; the paper's batch of 32 images of 256x256 takes {gigabytes(PAPER_STEP_BYTES)} in float32"
    if total >= PAPER_STEP_BYTES:
        return warning("GPU", f"{detail}: other programs hold the rest", "nvidia-smi", **facts)
    plan = f"nnUNetv2_plan_and_preprocess -d ID -c 2d -pl VMUNetPlanner -gpu_memory_target {max(1, int(total / 1e9))}"
    return warning("GPU", f"{detail}: let the planner choose a smaller one", plan, **facts)


def run_a_kernel(device: torch.device) -> None:
    """Raises where torch has no code for this GPU, or where another process has it for itself."""
    if (torch.ones(2, device=device) + 1).sum().item() != 4:
        raise RuntimeError("1 + 1 is not 2 on it")


def _fix_computing(reason: str, capability: tuple[int, int] | None) -> str:
    """The command that lets a GPU compute which torch sees."""
    if "busy" in reason or "out of memory" in reason:
        return "nvidia-smi"  # names who holds it
    if "no kernel image" in reason and capability is not None:
        return _install_torch(BUILD_FOR_OLDER if capability < OLDEST_FOR_CUDA_13 else "auto")
    return set_variable(VISIBLE, "")


def _install_torch(build: str = "auto") -> str:
    """uv knows which build of torch suits which driver, and where it lies."""
    into = ("--python", sys.executable, "--torch-backend", build)
    return uv("pip", "install", *into, "--reinstall-package", "torch", "torch")


def _no_gpu(root: Path) -> Finding:
    answer, answered = _nvidia_smi()
    loaded = (root / "proc/driver/nvidia/version").is_file()
    if not answer and not loaded:
        detail = "no NVIDIA GPU with a driver here: add -device cpu to nnUNetv2_train and nnUNetv2_predict"
        return ok("GPU", detail, device="cpu")
    visible = os.environ.get(VISIBLE)
    if visible is not None and (not visible.strip() or visible.strip().startswith("-")):
        return warning(
            "GPU", f"{VISIBLE}={visible!r} hides all GPUs from torch", unset_variables(VISIBLE), device="cpu"
        )
    # The second file is that of WSL, Linux in Windows.
    if loaded and not any((root / file).exists() for file in ("dev/nvidiactl", "dev/dxg")):
        reason = "its device files are not here, so this container was started without it"
        fix = "docker run --gpus all --ipc=host IMAGE"
    elif answer and not answered:
        reason, fix = "its driver does not run", "sudo reboot"
    else:
        reason, fix = _torchs_reason(), _install_torch()
        if visible is not None and "No CUDA GPUs" in reason:  # the variable names none of those that are there
            fix = unset_variables(VISIBLE)
    seen = answer if answered else f"nvidia-smi says: {answer}" if answer else "an NVIDIA driver is loaded"
    return problem("GPU", f"{seen}, but torch does not see it: {reason} (until then, -device cpu)", fix)


def _torchs_reason() -> str:
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is a build without CUDA"
    try:
        torch.cuda.init()
    except Exception as error:  # whatever it is, it is the reason
        return first_line(error)
    return "torch gives no reason"


def _nvidia_smi() -> tuple[str, bool]:
    """The first card's name, driver and memory, or nvidia-smi's complaint, and which of the two; empty without it."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return "", False
    query = [program, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"it does not answer ({type(error).__name__})", False
    lines = (done.stdout + done.stderr).strip().splitlines() or [f"exit code {done.returncode}"]
    return lines[0], done.returncode == 0


def check_compiling(device: torch.device) -> Iterator[Finding]:
    """Whether torch.compile, which nnU-Net applies to every network on a GPU, works."""
    value = os.environ.get(COMPILE)
    if device.type != "cuda" or os.name == "nt":
        yield ok(COMPILE, "nnU-Net does not compile the network here")
    elif value is not None and value.lower() not in YES + NO:
        detail = f"{value!r} means no to nnU-Net, whose words for yes are {', '.join(YES)}"
        yield warning(COMPILE, detail, set_variable(COMPILE, "f"))
    elif value is not None and value.lower() in NO:
        yield ok(COMPILE, f"{value}: nnU-Net does not compile the network")
    else:
        yield _compile(device)


def _compile(device: torch.device) -> Finding:
    try:
        torch.compile(lambda x: x + 1)(torch.ones(2, device=device))
    except Exception as error:  # most often, Triton or a C compiler is missing, or the GPU is too old for Triton
        reason = first_line(getattr(error, "inner_exception", error))
        detail = f"nnU-Net would compile the network and fail: {reason}"
        return problem(COMPILE, detail, set_variable(COMPILE, "f"))
    return ok(COMPILE, "nnU-Net compiles the network, as it does by default")
