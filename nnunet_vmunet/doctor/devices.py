"""What torch can train on: NVIDIA GPUs that run a kernel, or else the CPU. Needs torch."""

from __future__ import annotations

import os
from collections.abc import Iterator

import torch

from .finding import Finding, first_line, ok, problem, warning
from .folders import gigabytes
from .nvidia import INDEX, Card, build_for, find_card, install_driver
from .shell import pip_install, set_variable, unset_variables

VISIBLE = "CUDA_VISIBLE_DEVICES"
PAPER_BATCH = 8.8e9  # bytes: a training step on 32 images of 256×256 in float32, by memory_model
OLDEST_FOR_CUDA_13, BUILD_FOR_OLDER = (7, 5), "cu126"  # compute capability, and the build to take below it


def check() -> Iterator[Finding]:
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            yield _gpu(torch.device("cuda", number))
    else:
        yield _no_gpu()


def training_device() -> torch.device:
    """What nnUNetv2_train would take, with -device cpu where there is no GPU."""
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


def _gpu(device: torch.device) -> Finding:
    """nnU-Net trains on the first."""
    serious = problem if device.index == 0 else warning
    capability = None
    try:
        name = torch.cuda.get_device_name(device)
        capability = torch.cuda.get_device_capability(device)
        _run_a_kernel(device)
        free, total = torch.cuda.mem_get_info(device)
    except Exception as error:  # torch raises various types; each means that nothing would run
        reason = first_line(error)
        return serious("GPU", f"{device} does not compute: {reason}", _fix_computing(reason, capability))
    detail = (
        f"{device}, {name}, compute capability {'.'.join(map(str, capability))}, "
        f"{gigabytes(free)} of {gigabytes(total)} free"
    )
    facts = {"device": str(device), "free_bytes": free, "total_bytes": total}
    if free >= PAPER_BATCH:
        return ok("GPU", detail, **facts)
    detail += f"; the paper's batch of 32 images of 256x256 takes {gigabytes(PAPER_BATCH)} in float32"
    if total >= PAPER_BATCH:
        return warning("GPU", f"{detail}: other programs hold the rest", "nvidia-smi", **facts)
    plan = f"nnUNetv2_plan_and_preprocess -d ID -c 2d -pl VMUNetPlanner -gpu_memory_target {max(1, int(total / 1e9))}"
    return warning("GPU", f"{detail}: let the planner choose a smaller one", plan, **facts)


def _run_a_kernel(device: torch.device) -> None:
    """Raises where torch has no code for this GPU, or where another process has it for itself."""
    if (torch.ones(2, device=device) + 1).sum().item() != 4:
        raise RuntimeError("1 + 1 is not 2 on it")


def _no_gpu() -> Finding:
    card = find_card()
    if card is None:
        return ok("GPU", "no NVIDIA GPU here: add -device cpu to nnUNetv2_train and nnUNetv2_predict", device="cpu")
    visible = os.environ.get(VISIBLE)
    if visible is not None and (not visible.strip() or visible.strip().startswith("-")):
        detail = f"{VISIBLE}={visible!r} hides all GPUs from torch"
        return warning("GPU", detail, unset_variables(VISIBLE), device="cpu")
    reason = _why_unseen(card)
    # What torch says where the variable names no GPU that is there.
    fix = unset_variables(VISIBLE) if visible is not None and "No CUDA GPUs" in reason else _fix(card)
    return problem("GPU", f"{card.evidence}, but torch does not see it: {reason} (until then, -device cpu)", fix)


def _why_unseen(card: Card) -> str:
    if card.driver is None:
        return "its driver does not run"
    if not card.reachable:
        return "its device files are not here, so this container was started without it"
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is a build without CUDA"
    try:
        torch.cuda.init()
    except Exception as error:  # whatever it is, it is the reason
        return first_line(error)
    return "torch gives no reason"


def _fix(card: Card) -> str:
    """What lets torch see the card."""
    if card.driver is None:
        return install_driver() if card.on_the_bus_alone else "sudo reboot"
    if not card.reachable:
        return "docker run --gpus all --ipc=host IMAGE"
    build = build_for(card.driver)
    return _reinstall(build) if build else install_driver()


def _fix_computing(reason: str, capability: tuple[int, int] | None) -> str:
    """What lets a GPU compute that torch sees."""
    if "busy" in reason or "out of memory" in reason:
        return "nvidia-smi"  # names who holds it
    card = find_card()
    build = build_for(card.driver) if card else None
    if capability is not None and capability < OLDEST_FOR_CUDA_13:
        build = BUILD_FOR_OLDER
    return _reinstall(build) if build else set_variable(VISIBLE, "")


def _reinstall(build: str) -> str:
    return pip_install("--force-reinstall", "torch", "--index-url", INDEX + build)
