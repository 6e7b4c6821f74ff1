"""Which scan backend `auto` takes on each device and why not the others; and whether it computes right. Needs torch."""

from __future__ import annotations

import os
import shutil
import time
import warnings
from collections.abc import Iterator
from importlib.util import find_spec

import torch
from torch import Tensor

from ..ops import backends, ss2d_scan
from .finding import Finding, Step, first_line, ok, pip_install, problem, set_variable, unset_variables, warning

VARIABLE = "NNUNET_VMUNET_SCAN"
Size = tuple[int, int, int, int, int, int]  # batch, height, width, channels, states, rank of the step
ODD: Size = (2, 5, 7, 50, 5, 3)
STAGE_1: Size = (1, 24, 24, 192, 16, 6)  # as in the network's first stage, but for its 64×64 pixels
TOLERANCE = {"cpu": 3e-6, "cuda": 1e-5}  # of float32, as in the backends' tests
REPEATS = 2
TRUTH = "naive in float64"
RESULTS = ("y", "dx", "ddelta", "dA", "dB", "dC", "dD", "ddelta_bias", "ddelta_weight")


def check(device: torch.device, *, trains: bool, size: Size = STAGE_1) -> Iterator[Finding | Step]:
    """The choice of the backend, and its results at an odd size and at `size`.

    What is wrong on a device on which nnU-Net would not train (not `trains`) is no more than a warning.
    """
    serious = problem if trains else warning
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the report says the same
            chosen = backends.choose(device)
    except (ValueError, RuntimeError) as error:
        facts = {"device": str(device), "backend": None}
        yield serious(f"scan on {device}", str(error), unset_variables(VARIABLE), **facts)
        return
    yield _choice(device, chosen, trains=trains)
    yield Step(f"the scan {chosen} runs on {device}", _replace(chosen))
    name = f"self-test on {device}"
    try:
        yield _comparison(name, device, chosen, serious, size)
    except Exception as error:  # compilers and drivers raise anything
        yield serious(name, f"{chosen} fails: {first_line(error)}", _replace(chosen), backend=chosen)


def _choice(device: torch.device, chosen: str, *, trains: bool) -> Finding:
    name, reasons = f"scan on {device}", {other: backends.why_not(other, device) for other in backends.NAMES}
    del reasons[chosen]
    asked = os.environ.get(VARIABLE, "auto") != "auto"
    detail = f"{chosen}, by {VARIABLE}" if asked else f"auto takes {chosen}"
    detail += "".join(f"; not {other}: {reason}" for other, reason in reasons.items() if reason)
    runnable = [other for other, reason in reasons.items() if reason is None]
    detail += f"; {' and '.join(runnable)} would run too" if runnable else ""
    facts = {"device": str(device), "backend": chosen, "why_not": reasons}
    slow = chosen in ("blocked", "naive")
    if slow and asked:
        return warning(name, detail, unset_variables(VARIABLE), **facts)
    if slow and trains:
        return warning(name, f"{detail}. This is many times slower than it could be", _speed_up(device), **facts)
    return ok(name, detail, **facts)


def _speed_up(device: torch.device) -> str:
    """The command that makes a fast backend run on the device: numba, Triton, or mamba-ssm where Triton cannot run."""
    if device.type == "cpu":
        return pip_install("numba")
    if torch.version.hip or torch.cuda.get_device_capability(device) < (7, 0):
        return f"MAMBA_KEEP_CUDA_BUILD=TRUE {pip_install('mamba-ssm', '--no-build-isolation')}"
    if find_spec("triton") is None:
        return pip_install("triton-windows" if os.name == "nt" else "triton")
    if not (os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")):
        return "sudo apt-get install -y gcc" if shutil.which("apt-get") else "conda install -c conda-forge gcc"
    return pip_install("--upgrade", "torch")  # a newer Triton comes with it


def _replace(backend: str) -> str:
    """A newer numba where it is numba, since it and NumPy must fit each other; elsewhere, plain torch."""
    if backend == "numba":
        return pip_install("--upgrade", "numba")
    return set_variable(VARIABLE, "naive" if backend == "blocked" else "blocked")


def _comparison(name: str, device: torch.device, backend: str, serious, size: Size) -> Finding:
    """The backend against the step-by-step scan in float64, at two sizes, and timed at the second."""
    errors: dict[str, float] = {}
    for each_size in (ODD, size):
        inputs = _inputs(device, *each_size)
        start = time.perf_counter()
        truth = _results([tensor.double() for tensor in inputs], "naive")
        naive_seconds = _seconds_since(start, device)
        for result, error in relative_errors(_results(inputs, backend), truth).items():
            errors[result] = max(error, errors.get(result, 0.0))
    worst = max(errors, key=lambda result: errors[result])
    error, tolerance = errors[worst], TOLERANCE[device.type]
    seconds = {each: _seconds(inputs, each) for each in dict.fromkeys((backend, "blocked"))} | {TRUTH: naive_seconds}
    facts = {
        "device": str(device),
        "backend": backend,
        "relative_error": error,
        "tolerance": tolerance,
        "milliseconds": {each: round(1e3 * value, 3) for each, value in seconds.items()},
        "threads": torch.get_num_threads() if device.type == "cpu" else None,
    }
    if error > tolerance:
        detail = f"{backend} is wrong: {worst} is off by {error:.1e} of its largest value; {tolerance:.0e} is allowed"
        return serious(name, detail, _replace(backend), **facts)
    return ok(
        name, f"{backend} is off by {error:.1e} at most ({tolerance:.0e} allowed); {_times(facts, size)}", **facts
    )


def _inputs(device: torch.device, b: int, h: int, w: int, d: int, n: int, r: int) -> list[Tensor]:
    """float32, with the statistics of the network's initialisation."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape) -> Tensor:
        return torch.randn(shape, generator=generator)

    x, delta, B, C = normal(b, h, w, d), normal(b, h, w, 4, r), normal(b, h, w, 4, n), normal(b, h, w, 4, n)
    A, D = -torch.arange(1.0, n + 1).repeat(4, d, 1), torch.ones(4, d)
    delta_bias, delta_weight = normal(4, d) - 4, normal(4, d, r) / r**0.5
    return [tensor.to(device) for tensor in (x, delta, A, B, C, D, delta_bias, delta_weight)]


def _results(inputs: list[Tensor], backend: str) -> dict[str, Tensor]:
    """y, and the gradient of every input."""
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    y = ss2d_scan(*leaves, backend=backend)
    dy = torch.linspace(-1, 1, y.numel(), dtype=y.dtype, device=y.device).view_as(y)
    return dict(zip(RESULTS, (y.detach(), *torch.autograd.grad(y, leaves, dy)), strict=True))


def relative_errors(ours: dict[str, Tensor], truth: dict[str, Tensor]) -> dict[str, float]:
    """The largest error of each result over its largest value; infinite where a value is not a number."""
    errors = {name: ((ours[name] - truth[name]).abs().max() / truth[name].abs().max()).item() for name in truth}
    return {name: error if error == error else float("inf") for name, error in errors.items()}


def _seconds(inputs: list[Tensor], backend: str) -> float:
    """The duration of the fastest of a few runs."""
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        _results(inputs, backend)
        seconds.append(_seconds_since(start, inputs[0].device))
    return min(seconds)


def _seconds_since(start: float, device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def _times(facts: dict, size: Size) -> str:
    milliseconds = facts["milliseconds"].items()
    times = ", ".join(f"{backend} {value:.{1 if value < 10 else 0}f}" for backend, value in milliseconds)
    threads = facts["threads"]
    how = "" if threads is None else f" on {threads} thread{'' if threads == 1 else 's'}"
    _, height, width, channels, *_ = size
    return f"forward and backward at {height}x{width}x{channels}{how}, in ms: {times}"
