"""Which scan runs: what each backend needs, and the one place where it is chosen.

To add a backend: a module with `forward`, `backward` and `states_shape` (see `blocked`), its name in `MODULES`,
a predicate that says why it cannot run, in `why_not`, and a rung in `_fastest`.
"""

import importlib
import importlib.util
import os
import shutil
import warnings
from functools import cache
from types import ModuleType

import torch

MODULES = {"blocked": ".blocked", "numba": ".numba_cpu", "triton": ".triton_gpu", "mamba_ssm": ".mamba_cuda"}
NAMES = ("naive", *MODULES)
READ_HALF = ("triton",)  # take x, delta, B and C as autocast left them, so that no wider copies are kept
VARIABLE = "NNUNET_VMUNET_SCAN"
OLDEST_TORCH_FOR_TRITON = (2, 8)  # it comes with Triton 3.4; 3.3 cannot compile the backward pass for odd channels
OLDEST_GPU_FOR_TRITON = (7, 0)
C_COMPILERS = ("gcc", "clang")  # as Triton looks for them


def choose(device: torch.device, backend: str = "auto") -> str:
    """The backend's name for tensors on `device`.

    Args:
        backend: a name from `NAMES`, or "auto": what the environment variable NNUNET_VMUNET_SCAN names, else the
            fastest that can run.

    Raises:
        ValueError: unknown name.
        RuntimeError: the named backend cannot run; the message says why.
    """
    if backend == "auto":
        backend = os.environ.get(VARIABLE, "auto")
    if backend != "auto":
        _require(backend, device)
        return backend
    return _fastest(device)


# torch.compile then calls `choose` while it traces, instead of tracing it, which a warning or an import would end. It
# is what torch.compiler.assume_constant_result sets; to call that now would import torch._dynamo, and Triton with it.
choose._dynamo_marked_constant = True  # type: ignore[attr-defined]  # functions take attributes, Callable does not


@cache
def _fastest(device: torch.device) -> str:
    """Looked for once: the search takes 50 µs, a network scans 15 times, and what is installed stays installed."""
    if device.type != "cuda":
        return "numba" if why_not_numba(device) is None else "blocked"
    if why_not_triton(device) is None:
        return "triton"
    if why_not_mamba_ssm(device) is None:
        return "mamba_ssm"
    _warn_that_blocked_is_slow(device)
    return "blocked"


def why_not(backend: str, device: torch.device) -> str | None:
    """The reason why a backend of `NAMES` cannot run on `device`, or None if it can."""
    reasons = {"numba": why_not_numba, "triton": why_not_triton, "mamba_ssm": why_not_mamba_ssm}
    return reasons[backend](device) if backend in reasons else None


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
        return f"it runs on NVIDIA GPUs and the tensors are on {device}"
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
        return f"it runs on GPUs and the tensors are on {device}"
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


def load(backend: str) -> ModuleType:
    """The backend's module, imported at its first use."""
    return importlib.import_module(MODULES[backend], __package__)


def _require(backend: str, device: torch.device) -> None:
    if backend not in NAMES:
        raise ValueError(
            f"unknown scan backend {backend!r} (argument `backend` or {VARIABLE}): choose from auto, {', '.join(NAMES)}"
        )
    reason = why_not(backend, device)
    if reason:
        raise RuntimeError(f"the scan backend {backend!r} cannot run here: {reason}")


def _warn_that_blocked_is_slow(device: torch.device) -> None:
    warnings.warn(
        "the scan runs in plain torch on this GPU, many times slower than it could. "
        f"triton would be the fastest, but {why_not_triton(device)}. "
        f"mamba_ssm would be faster, but {why_not_mamba_ssm(device)}.",
        stacklevel=2,
    )
