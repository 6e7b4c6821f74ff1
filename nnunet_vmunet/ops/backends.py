"""Which scan runs: what each backend needs, and the one place where it is chosen.

To add a backend: a module with `forward`, `backward` and `states_shape` (see `blocked`), its name in `MODULES`,
a predicate that says why it cannot run, and a rung in `choose`.
"""

import importlib
import importlib.util
import os
from types import ModuleType

import torch

MODULES = {"blocked": ".blocked", "numba": ".numba_cpu"}
NAMES = ("naive", *MODULES)
VARIABLE = "NNUNET_VMUNET_SCAN"


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
    if why_not_numba(device) is None:
        return "numba"
    return "blocked"


def why_not_numba(device: torch.device) -> str | None:
    """The reason why the numba backend cannot run on `device`, or None if it can."""
    if device.type != "cpu":
        return f"it runs on the CPU and the tensors are on {device}"
    if importlib.util.find_spec("numba") is None:
        return 'numba is not installed: pip install "nnunet-vmunet[cpu]"'
    return None


def load(backend: str) -> ModuleType:
    """The backend's module, imported at its first use."""
    return importlib.import_module(MODULES[backend], __package__)


def _require(backend: str, device: torch.device) -> None:
    if backend not in NAMES:
        raise ValueError(
            f"unknown scan backend {backend!r} (argument `backend` or {VARIABLE}): "
            f"choose from auto, {', '.join(NAMES)}"
        )
    reason = why_not_numba(device) if backend == "numba" else None
    if reason:
        raise RuntimeError(f"the scan backend {backend!r} cannot run here: {reason}")
