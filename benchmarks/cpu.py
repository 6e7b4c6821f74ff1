"""The scan and the whole network on this machine's CPU, in one run: `python benchmarks/cpu.py [-o RESULT.json]`.

Times are medians of interleaved rounds, so that a machine that slows down slows down all rows alike; trust the ratios.
"loop" is the reference: the original formulation, step by step, see `original`. "identity" is the same network with the
scan replaced by y = x: what everything but the scan costs. Peak memory is that of a process of its own that takes one
training step, less what it held before the step; Linux only.

With `--family` the networks beside VM-UNet are timed instead, all with the scan that this machine would choose.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial

import torch
from original import ss2d_scan_original
from report import IMAGE, STAGES, STATES, Row, arguments, cpu_machine, report

from nnunet_vmunet.models import VMUNet, ss2d
from nnunet_vmunet.models.network import UShapedNetwork
from nnunet_vmunet.ops import backends, ss2d_scan
from nnunet_vmunet.plans import NETWORKS, PAPERS, architecture_of, build_network

REFERENCE = "loop"
KEEP_EVERY_STEP = (REFERENCE, "naive")  # in the backward pass, which takes gigabytes for each image
LARGEST_BATCH_THAT_FITS = 1  # of those, backward
# With these, freed memory goes back to the system at once, so that peaks repeat within 1 percent.
RETURN_FREED_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def main() -> None:
    args = arguments(__doc__, 7, "interleaved rounds (the reference takes part in one)", family=True)
    if args.family:
        report(cpu_machine(), list(NETWORKS), _family_rows(args.rounds), args.output)
        return
    names = [REFERENCE, "naive", "blocked"]
    if backends.why_not_numba(torch.device("cpu")) is None:
        names.append("numba")
    report(cpu_machine(), [*names, "identity"], _all_rows(names, args.rounds, args.only), args.output, _cell)


def _cell(row: Row, name: str) -> str:
    """With how many times less than the reference it is, and how many times the identity."""
    value, against = row.values[name], []
    if REFERENCE in row.values and name != REFERENCE:
        against.append(f"{row.values[REFERENCE] / value:.1f}x less")
    if "identity" in row.values and name != "identity":
        against.append(f"{value / row.values['identity']:.2f}x identity")
    return f"{value:.4g}" + (f" ({', '.join(against)})" if against else "")


def _all_rows(names: list[str], rounds: int, only: str = ""):
    for stage, (side, channels) in STAGES.items():
        if only not in (what := f"op, stage {stage}"):
            continue
        inputs = _op_inputs(side, channels)
        yield from _rows(what, {name: _op(name, inputs) for name in names}, rounds)
    network = VMUNet(3, 2)
    batches = [batch for batch in (1, 4) if only in f"network, batch {batch}"]
    for batch in batches:
        image = torch.randn(batch, 3, IMAGE, IMAGE)
        runs = {name: _network(name, network, image) for name in [*names, "identity"]}
        yield from _rows(f"network, batch {batch}", runs, rounds, batch)
    for batch in batches:
        fitting = [name for name in names if name not in KEEP_EVERY_STEP or batch <= LARGEST_BATCH_THAT_FITS]
        values = {name: _peak_memory(name, batch) for name in [*fitting, "identity"]}
        yield Row(f"network, batch {batch}", "peak memory of a step (MB)", values)


def _family_rows(rounds: int):
    networks = {name: _built(name) for name in NETWORKS}
    millions = {
        name: sum(parameter.numel() for parameter in network.parameters()) / 1e6 for name, network in networks.items()
    }
    yield Row("network", "parameters (millions)", millions)
    image = torch.randn(1, 3, IMAGE, IMAGE)
    runs = {name: _network("auto", network, image) for name, network in networks.items()}
    yield from _rows("network, batch 1", runs, rounds)
    for batch in (1, 4):
        values = {name: _peak_memory("auto", batch, name) for name in NETWORKS}
        yield Row(f"network, batch {batch}", "peak memory of a step (MB)", values)


def _built(name: str) -> UShapedNetwork:
    return build_network(architecture_of(name), 3, 2)


def _rows(what: str, runs: dict[str, tuple[Callable, Callable]], rounds: int, batch: int = 1):
    forward, both = ({name: run[i] for name, run in runs.items()} for i in (0, 1))
    yield Row(what, "forward (ms)", _medians(forward, rounds))
    if batch > LARGEST_BATCH_THAT_FITS:
        both = {name: run for name, run in both.items() if name not in KEEP_EVERY_STEP}
    yield Row(what, "forward+backward (ms)", _medians(both, rounds))


def _medians(runs: dict[str, Callable], rounds: int) -> dict[str, float]:
    """Milliseconds per run. The slow ones run once, after the others have warmed up."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for i in range(rounds + 1):
        for name, run in runs.items():
            if name in KEEP_EVERY_STEP and i != 1:
                continue
            start = time.perf_counter()
            run()
            if i > 0:
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def _op_inputs(side: int, channels: int) -> list[torch.Tensor]:
    torch.manual_seed(0)
    pixels = (1, side, side)
    projected = torch.randn(*pixels, 4, channels // 32 + 2 * STATES)
    return [
        torch.randn(*pixels, channels),
        torch.randn(*pixels, 4, channels),
        -torch.arange(1.0, STATES + 1).expand(4, channels, STATES).contiguous(),
        projected[..., -2 * STATES : -STATES],
        projected[..., -STATES:],
        torch.ones(4, channels),
        torch.full((4, channels), -4.0),
    ]


def _op(backend: str, inputs: list[torch.Tensor]) -> tuple[Callable, Callable]:
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    dy, scan = torch.randn_like(inputs[0]), _scan_function(backend)

    def forward():
        with torch.no_grad():
            scan(*inputs)

    def forward_and_backward():
        torch.autograd.grad(scan(*leaves), leaves, dy)

    return forward, forward_and_backward


def _network(backend: str, network: UShapedNetwork, image: torch.Tensor) -> tuple[Callable, Callable]:
    def forward():
        with _scan(backend), torch.inference_mode():
            network.eval()(image)

    def forward_and_backward():
        with _scan(backend):
            network.train()(image).square().mean().backward()
        network.zero_grad(set_to_none=True)

    return forward, forward_and_backward


@contextmanager
def _scan(backend: str):
    """Let the network scan with this backend, with the reference, or not at all."""
    original, ss2d.ss2d_scan = ss2d.ss2d_scan, _scan_function(backend)
    try:
        yield
    finally:
        ss2d.ss2d_scan = original


def _scan_function(backend: str) -> Callable:
    if backend == "identity":
        return lambda x, *_: x.clone()
    if backend == REFERENCE:
        return ss2d_scan_original
    return partial(ss2d_scan, backend=backend)


def _peak_memory(backend: str, batch: int, network: str = PAPERS) -> float:
    """Megabytes that one training step adds to its process."""
    os.environ.update(RETURN_FREED_MEMORY)  # read when a process starts
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_memory_here, (backend, batch, network))


def _peak_memory_here(backend: str, batch: int, name: str) -> float:
    network = _built(name)
    _network(backend, network, torch.randn(1, 3, 32, 32))[1]()  # compiles, imports, starts threads
    step = _network(backend, network, torch.randn(batch, 3, IMAGE, IMAGE))[1]
    before = _status("VmRSS")
    with open("/proc/self/clear_refs", "w") as clear:
        clear.write("5")  # the peak starts again at what is resident now
    step()
    return (_status("VmHWM") - before) / 1000


def _status(name: str) -> float:
    """Kilobytes, of this process."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1.024 for line in status if line.startswith(name))


if __name__ == "__main__":
    main()
