"""Which scan backend `auto` takes on each device, and why not the others. Needs torch."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator
from importlib.util import find_spec

import torch

from ..ops import backends
from .finding import Finding, ok, problem, warning
from .shell import pip_install, unset_variables

FASTEST = {"cpu": "numba", "cuda": "triton"}
TRITON = "triton-windows" if os.name == "nt" else "triton"


def check(device: torch.device, *, trains: bool) -> Iterator[Finding]:
    """`trains`: whether nnU-Net would train on this device; what is wrong on another is no more than a warning."""
    name = f"scan on {device}"
    try:
        chosen = choose(device)
    except (ValueError, RuntimeError) as error:
        serious = problem if trains else warning
        yield serious(name, str(error), unset_variables(backends.VARIABLE), device=str(device), backend=None)
        return
    reasons = {other: backends.why_not(other, device) for other in backends.NAMES if other != chosen}
    facts = {"device": str(device), "backend": chosen, "why_not": reasons}
    asked = backends.VARIABLE in os.environ and os.environ[backends.VARIABLE] != "auto"
    detail = f"{chosen}, by {backends.VARIABLE}" if asked else f"auto takes {chosen}"
    detail += "".join(f"; not {other}: {reason}" for other, reason in reasons.items() if reason)
    runnable = [other for other, reason in reasons.items() if reason is None]
    detail += f"; {' and '.join(runnable)} would run too" if runnable else ""
    slow = chosen in ("blocked", "naive") and device.type in FASTEST
    if slow and asked:
        yield warning(name, detail, unset_variables(backends.VARIABLE), **facts)
    elif slow and trains:
        yield warning(name, f"{detail}. This is many times slower than it could be", _fix(device), **facts)
    else:
        yield ok(name, detail, **facts)


def choose(device: torch.device) -> str:
    """As `backends.choose`, without its warning: the report says the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return backends.choose(device)


def torch_is_too_old_for_triton() -> bool:
    """Too old for our kernels; torch.compile takes whichever Triton came with torch."""
    return torch.__version__ < backends.OLDEST_TORCH_FOR_TRITON  # type: ignore[operator]  # it compares tuples too


def _fix(device: torch.device) -> str:
    """The command that makes a fast backend run on the device."""
    if device.type == "cpu":
        return pip_install("numba")
    if find_spec("triton") is None and not torch.version.hip:
        return pip_install(TRITON)
    if torch_is_too_old_for_triton():
        return pip_install("--upgrade", "torch>=" + ".".join(map(str, backends.OLDEST_TORCH_FOR_TRITON)))
    if not torch.version.hip and torch.cuda.get_device_capability(device) >= backends.OLDEST_GPU_FOR_TRITON:
        return _install_compiler()
    return f"MAMBA_KEEP_CUDA_BUILD=TRUE {pip_install('mamba-ssm', '--no-build-isolation')}"


def _install_compiler() -> str:
    for manager, command in (("apt-get", "apt-get install -y gcc"), ("dnf", "dnf install -y gcc")):
        if shutil.which(manager):
            return command if _is_root() else f"sudo {command}"
    return "conda install -c conda-forge gcc"


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0
