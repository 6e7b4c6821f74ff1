"""Which scan runs: what each backend needs, and the one place where it is chosen.

To add a backend: a module with `forward`, `backward` and `states_shape` (see docs/extending.md), and a line in
`BACKENDS`.
"""

import importlib
import importlib.util
import os
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import ModuleType

import torch

VARIABLE = "NNUNET_VMUNET_SCAN"
OLDEST_TORCH_FOR_TRITON = (2, 8)  # it comes with Triton 3.4; 3.3 cannot compile the backward pass for odd channels
OLDEST_GPU_FOR_TRITON = (7, 0)
C_COMPILERS = ("gcc", "clang")  # as Triton looks for them


def runs_everywhere(device: torch.device) -> None:
    """No reason why not, for a backend in plain torch."""


def why_not_numba(device: torch.device) -> str | None:
    """The reason why the numba backend cannot run on `device`, or None if it can."""
    if device.type != "cpu":
        return f"it runs on the CPU and the tensors are on {device}"
    if importlib.util.find_spec("numba") is None:
        return 'numba is not installed: pip install "nnunet-vmunet[cpu]"'
    return None


def why_not_triton(device: torch.device) -> str | None:
    """The reason why the triton backend cannot run on `device`, or None if it can.

    With TRITON_INTERPRET=1 it runs on the CPU too, ten thousand times slower: for tests.
    """
    interpreted = device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1"
    if torch.version.hip or not (device.type == "cuda" or interpreted):
        return f"it runs on NVIDIA GPUs and the tensors are on {_described(device)}"
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed: pip install triton (on Windows, triton-windows)"
    if torch.__version__ < OLDEST_TORCH_FOR_TRITON:  # type: ignore[operator]  # typed for strings, compares tuples too
        return f"it needs Triton 3.4, which comes with torch 2.8, and this is torch {torch.__version__}"
    if not interpreted and os.name == "posix" and not (os.environ.get("CC") or any(map(shutil.which, C_COMPILERS))):
        return "Triton compiles a small launcher in C and finds no compiler: install gcc, or set CC"
    if not interpreted and torch.cuda.get_device_capability(device) < OLDEST_GPU_FOR_TRITON:
        return f"Triton needs a GPU of compute capability 7.0, and {device} is older"
    return None


def why_not_mamba_ssm(device: torch.device) -> str | None:
    """The reason why the mamba_ssm backend cannot run on `device`, or None if it can."""
    if device.type != "cuda":
        return f"it runs on CUDA's GPUs and the tensors are on {device}"
    if importlib.util.find_spec("selective_scan_cuda") is None:
        return (
            "selective_scan_cuda, mamba-ssm's CUDA extension, is not installed: "
            "MAMBA_KEEP_CUDA_BUILD=TRUE pip install mamba-ssm --no-build-isolation builds it, with nvcc"
        )
    try:
        load("mamba_ssm")
    except ImportError as error:
        return f"selective_scan_cuda does not fit: {error}"
    return None


@dataclass(frozen=True)
class Backend:
    """What the package knows of a backend before it imports it."""

    name: str
    module: str  # in this package, imported at its first use
    why_not: Callable[[torch.device], str | None]  # the reason why it cannot run on a device, or None if it can
    reads_half: bool = False  # takes x, delta, B and C as autocast left them, so that no wider copies are kept


# "auto" takes the first that can run.
BACKENDS = (
    Backend("numba", ".numba_cpu", why_not_numba),
    Backend("triton", ".triton_gpu", why_not_triton, reads_half=True),
    Backend("mamba_ssm", ".mamba_cuda", why_not_mamba_ssm),
    Backend("blocked", ".blocked", runs_everywhere),
    Backend("naive", ".naive", runs_everywhere),
)
NAMES = tuple(backend.name for backend in BACKENDS)


def choose(device: torch.device, backend: str = "auto") -> str:
    """The backend's name for tensors on `device`.

    Args:
        backend: a name from `NAMES`, or "auto": what the environment variable NNUNET_VMUNET_SCAN names, else the
            first of `BACKENDS` that can run. Where that is plain torch, a warning says once what would be faster.

    Raises:
        ValueError: unknown name.
        RuntimeError: the named backend cannot run; the message says why.
    """
    if backend == "auto":
        backend = os.environ.get(VARIABLE, "auto")
    if backend == "auto":
        return fastest(device)
    if reason := why_not(backend, device):
        raise RuntimeError(f"the scan backend {backend!r} cannot run here: {reason}")
    return backend


# torch.compile then calls `choose` while it traces, instead of tracing it, which a warning or an import would end. It
# is what torch.compiler.assume_constant_result sets; to call that now would import torch._dynamo, and Triton with it.
choose._dynamo_marked_constant = True  # type: ignore[attr-defined]  # functions take attributes, Callable does not


@cache
def fastest(device: torch.device) -> str:
    """The first of `BACKENDS` that can run on `device`.

    It is looked for once: the search takes 50 µs, a network scans 15 times, and what is installed stays installed.
    """
    reasons = {}
    for backend in BACKENDS:
        reason = backend.why_not(device)
        if reason is None:
            break
        reasons[backend.name] = reason
    if backend.why_not is runs_everywhere:
        _warn_of_plain_torch(device, reasons)
    return backend.name


def get(name: str) -> Backend:
    """The backend of this name.

    Raises:
        ValueError: unknown name.
    """
    for backend in BACKENDS:
        if backend.name == name:
            return backend
    known = ", ".join(("auto", *NAMES))
    raise ValueError(f"unknown scan backend {name!r} (argument `backend` or {VARIABLE}): choose from {known}")


def why_not(name: str, device: torch.device) -> str | None:
    """The reason why a backend cannot run on `device`, or None if it can."""
    return get(name).why_not(device)


def load(name: str) -> ModuleType:
    """The backend's module, imported at its first use."""
    return importlib.import_module(get(name).module, __package__)


def _warn_of_plain_torch(device: torch.device, reasons: dict[str, str]) -> None:
    faster = "".join(f" {name} would be faster, but {reason}." for name, reason in reasons.items())
    warnings.warn(
        f"the scan runs in plain torch on {_described(device)}, many times slower than it could.{faster}", stacklevel=2
    )


def _described(device: torch.device) -> str:
    """The device, which torch calls cuda on an AMD GPU too."""
    return f"{device} of ROCm" if device.type == "cuda" and torch.version.hip else str(device)
