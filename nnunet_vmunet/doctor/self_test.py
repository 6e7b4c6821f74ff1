"""The scan that `auto` takes, against the step-by-step scan in float64, and timed. Needs torch."""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch
from torch import Tensor

from ..ops import backends, ss2d_scan
from .backends import choose
from .finding import Finding, Step, first_line, ok, problem, warning
from .shell import pip_install, set_variable

ODD = (2, 5, 7, 50, 5, 3)  # batch, height, width, channels, states, rank of the step
STAGE_1 = (1, 24, 24, 192, 16, 6)  # as in the network's first stage, but for its 64×64 pixels
TOLERANCE = {"cpu": 3e-6, "cuda": 1e-5}  # of float32, as in the backends' tests
REPEATS = 2
TRUTH = "naive in float64"
RESULTS = ("y", "dx", "ddelta", "dA", "dB", "dC", "dD", "ddelta_bias", "ddelta_weight")


def check(device: torch.device, *, trains: bool) -> Iterator[Finding | Step]:
    """Nothing where no backend can be chosen: `backends.check` has said so."""
    name, serious = f"self-test on {device}", problem if trains else warning
    try:
        backend = choose(device)
    except (ValueError, RuntimeError):
        return
    yield Step(f"the scan {backend} runs on {device}", _fix(backend))
    try:
        yield _compared(name, device, backend, serious)
    except Exception as error:  # compilers and drivers raise anything
        yield serious(name, f"{backend} fails: {first_line(error)}", _fix(backend), backend=backend)


def _compared(name: str, device: torch.device, backend: str, serious) -> Finding:
    errors = {}
    for size in (ODD, STAGE_1):
        inputs = _inputs(device, *size)
        start = time.perf_counter()
        truth = _results([tensor.double() for tensor in inputs], "naive")
        naive_seconds = _seconds_since(start, device)
        errors[size] = _relative_errors(_results(inputs, backend), truth)
    worst_size = max(errors, key=lambda size: max(errors[size].values()))
    worst = max(errors[worst_size], key=lambda name: errors[worst_size][name])
    error, tolerance = errors[worst_size][worst], TOLERANCE[device.type]
    seconds = {each: _seconds(inputs, each) for each in dict.fromkeys((backend, "blocked"))} | {TRUTH: naive_seconds}
    facts = {
        "device": str(device),
        "backend": backend,
        "relative_error": error,
        "tolerance": tolerance,
        "milliseconds": {each: round(1e3 * value, 3) for each, value in seconds.items()},
        "threads": torch.get_num_threads() if device.type == "cpu" else None,
    }
    if not error <= tolerance:  # NaN is not either
        detail = f"{backend} is wrong: {worst} is off by {error:.1e} of its largest value; {tolerance:.0e} is allowed"
        return serious(name, detail, _fix(backend), **facts)
    return ok(name, f"{backend} is off by {error:.1e} at most ({tolerance:.0e} allowed); {_times(facts)}", **facts)


def _times(facts: dict) -> str:
    milliseconds = facts["milliseconds"].items()
    times = ", ".join(f"{backend} {value:.{1 if value < 10 else 0}f}" for backend, value in milliseconds)
    threads = facts["threads"]
    how = "" if threads is None else f" on {threads} thread{'' if threads == 1 else 's'}"
    _, height, width, channels, *_ = STAGE_1
    return f"forward and backward at {height}x{width}x{channels}{how}, in ms: {times}"


def _inputs(device: torch.device, b: int, h: int, w: int, d: int, n: int, r: int) -> list[Tensor]:
    """float32, with the statistics of the network's initialisation."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape) -> Tensor:
        return torch.randn(shape, generator=generator)

    return [
        tensor.to(device)
        for tensor in (
            normal(b, h, w, d),
            normal(b, h, w, 4, r),
            -torch.arange(1.0, n + 1).repeat(4, d, 1),
            normal(b, h, w, 4, n),
            normal(b, h, w, 4, n),
            torch.ones(4, d),
            normal(4, d) - 4,
            normal(4, d, r) / r**0.5,
        )
    ]


def _results(inputs: list[Tensor], backend: str) -> dict[str, Tensor]:
    """y, and the gradient of every input."""
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    y = ss2d_scan(*leaves, backend=backend)
    dy = torch.linspace(-1, 1, y.numel(), dtype=y.dtype, device=y.device).view_as(y)
    return dict(zip(RESULTS, (y.detach(), *torch.autograd.grad(y, leaves, dy)), strict=True))


def _relative_errors(ours: dict[str, Tensor], truth: dict[str, Tensor]) -> dict[str, float]:
    """Of each result, the largest error over the largest value; infinite for what is not a number."""
    errors = {name: ((ours[name] - truth[name]).abs().max() / truth[name].abs().max()).item() for name in truth}
    return {name: error if error == error else float("inf") for name, error in errors.items()}


def _seconds(inputs: list[Tensor], backend: str) -> float:
    """Of the fastest of a few runs."""
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


def _fix(backend: str) -> str:
    """A newer numba where it is numba, since it and NumPy must fit each other; elsewhere, plain torch."""
    if backend == "numba":
        return pip_install("--upgrade", "numba")
    return set_variable(backends.VARIABLE, "naive" if backend == "blocked" else "blocked")
