"""The scan and the whole network on this machine's GPU, in one run: `python benchmarks/gpu.py [-o RESULT.json]`.

Times are medians of interleaved rounds, fewer of what takes seconds; `--only "op, stage 1"` measures a part. "original"
is the original formulation (see `stacked`): four stacked and flipped copies of the pixels, scanned by mamba-ssm's
extension, or by this package's blocked scan where that is missing, and labelled so. The floor is the time in which this
GPU copies as many bytes as the operator must read and write, each once; the bandwidth achieved is those bytes by the
time taken.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from unittest import mock

import torch
import torch.nn.functional as F
from report import IMAGE, STAGES, STATES, Row, arguments, report, software
from stacked import ss2d_forward_original, ss2d_scan_stacked
from torch import Tensor

from nnunet_vmunet.models import VMUNet, ss2d
from nnunet_vmunet.ops import backends, ss2d_scan

DEVICE = torch.device("cuda")
BATCHES = (1, 32)
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
BACKENDS = ("triton", "mamba_ssm", "blocked")
ENOUGH_MS = 3000  # of one measurement


def main() -> None:
    args = arguments(__doc__, 20, "interleaved rounds")
    if not torch.cuda.is_available():
        print("benchmarks/gpu.py needs an NVIDIA GPU, and torch finds none", file=sys.stderr)
        sys.exit(2)
    for name in BACKENDS:
        if reason := backends.why_not(name, DEVICE):
            print(f"without {name}: {reason}")
    names = [name for name in BACKENDS if backends.why_not(name, DEVICE) is None]
    original = "original (mamba_ssm)" if "mamba_ssm" in names else "original (blocked)"
    bytes_per_ms = _copied_bytes_per_ms()
    rows = _all_rows(names, original, bytes_per_ms, args.rounds, args.only)
    report(_machine(bytes_per_ms), [*names, original, "floor"], rows, args.output)


def _machine(bytes_per_ms: float) -> dict[str, str | int | None]:
    return {
        "GPU": torch.cuda.get_device_name(DEVICE),
        "CUDA": torch.version.cuda,
        **software(),
        "bandwidth of a copy (GB/s)": round(bytes_per_ms / 1e6),
    }


def _copied_bytes_per_ms() -> float:
    """Bytes that a copy within the GPU's memory reads and writes in a millisecond."""
    source = torch.ones(2**28, device=DEVICE)
    target = torch.empty_like(source)
    (time_ms,) = _medians_ms({"copy": lambda: target.copy_(source)}, 10).values()
    return 2 * source.numel() * source.element_size() / time_ms


def _all_rows(names: list[str], original: str, bytes_per_ms: float, rounds: int, only: str = ""):
    runs = {name: _scan_with(name) for name in names} | {original: ss2d_scan_stacked}
    for stage, (side, channels) in STAGES.items():
        for batch in BATCHES:
            for label, dtype in DTYPES.items():
                if only not in (what := f"op, stage {stage}, batch {batch}, {label}"):
                    continue
                inputs = _op_inputs(batch, side, channels, dtype)
                yield from _op_rows(what, runs, inputs, bytes_per_ms, rounds)
    for batch in BATCHES:
        for label, dtype in DTYPES.items():
            for compiled in (False, True):
                if only not in (what := f"network, batch {batch}, {label}" + (", compiled" if compiled else "")):
                    continue
                yield from _network_rows(what, runs, batch, dtype, compiled, rounds)


def _op_rows(what: str, runs: dict[str, Callable], inputs: list[Tensor], bytes_per_ms: float, rounds: int):
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    dy = torch.randn_like(inputs[0])
    forwards, backwards, steps = {}, {}, {}
    for name, scan in runs.items():

        def forward(scan=scan):
            with torch.no_grad():
                scan(*inputs)

        def step(scan=scan):
            y = scan(*leaves)
            torch.autograd.grad(y, leaves, dy.to(y.dtype))

        y = scan(*leaves)

        def backward(y=y):
            torch.autograd.grad(y, leaves, dy.to(y.dtype), retain_graph=True)

        forwards[name], backwards[name], steps[name] = forward, backward, step
    read, read_again = (_bytes_moved(inputs, backward) for backward in (False, True))
    for measure, timed, moved in (("forward", forwards, read), ("backward", backwards, read_again)):
        times_ms = _medians_ms(timed, rounds)
        yield Row(what, f"{measure} (ms)", times_ms | {"floor": moved / bytes_per_ms})
        yield Row(what, f"{measure} bandwidth (GB/s)", {name: moved / ms / 1e6 for name, ms in times_ms.items()})
    del forwards, backwards, y, forward, backward  # and the graphs that they hold
    yield Row(what, "peak memory of a step (MB)", {name: _peak_mb(step) for name, step in steps.items()})


def _bytes_moved(inputs: list[Tensor], backward: bool) -> int:
    """What must be read and written at least: every input once, every output once."""
    sizes = [tensor.numel() * tensor.element_size() for tensor in inputs]
    return sum(sizes) + sizes[0] + (sum(sizes) if backward else 0)


def _network_rows(what: str, runs: dict[str, Callable], batch: int, dtype, compiled: bool, rounds: int):
    """One network at a time: at batch 32 two may not fit, and if one does not, the others are still measured."""
    values = {}
    image = torch.randn(batch, 3, IMAGE, IMAGE, device=DEVICE)
    target = torch.zeros(batch, IMAGE, IMAGE, dtype=torch.long, device=DEVICE)
    for name, scan in runs.items():
        try:
            values[name] = _network_values(scan, image, target, dtype, compiled, rounds)
        except torch.OutOfMemoryError:
            print(f"{name} does not fit into this GPU's memory: {what}", file=sys.stderr)
        torch.cuda.empty_cache()
    for i, measure in enumerate(("training step (ms)", "peak memory of a training step (MB)", "inference (images/s)")):
        yield Row(what, measure, {name: numbers[i] for name, numbers in values.items()})


def _network_values(scan: Callable, image: Tensor, target: Tensor, dtype, compiled: bool, rounds: int):
    """A training step's milliseconds and peak megabytes, and the images predicted in a second."""
    torch._dynamo.reset()
    torch.manual_seed(0)
    network = VMUNet(3, 2).to(DEVICE)
    run = torch.compile(network) if compiled else network
    step = _training_step(run, network, torch.optim.AdamW(network.parameters()), scan, image, target, dtype)
    (step_ms,) = _medians_ms({"": step}, rounds).values()
    peak_mb = _peak_mb(step)
    (prediction_ms,) = _medians_ms({"": _prediction(run, network, scan, image, dtype)}, rounds).values()
    return step_ms, peak_mb, 1000 * len(image) / prediction_ms


def _training_step(run, network, optimizer, scan, image, target, dtype) -> Callable:
    def step():
        network.train()
        with _network_scans_with(scan), torch.autocast(DEVICE.type, dtype=dtype, enabled=dtype != torch.float32):
            loss = F.cross_entropy(run(image).float(), target)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def _prediction(run, network, scan, image, dtype) -> Callable:
    def predict():
        network.eval()
        autocast = torch.autocast(DEVICE.type, dtype=dtype, enabled=dtype != torch.float32)
        with _network_scans_with(scan), autocast, torch.inference_mode():
            run(image)

    return predict


@contextmanager
def _network_scans_with(scan: Callable):
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(ss2d, "ss2d_scan", scan))
        if scan is ss2d_scan_stacked:
            stack.enter_context(mock.patch.object(ss2d.SS2D, "forward", ss2d_forward_original))
        yield


def _medians_ms(runs: dict[str, Callable], rounds: int) -> dict[str, float]:
    """Median milliseconds on the GPU, after two rounds that compile and warm up. What is slow takes part in fewer."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for i in range(rounds + 2):
        for name, run in runs.items():
            if sum(times[name]) > ENOUGH_MS:
                continue
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            run()
            end.record()
            end.synchronize()
            if i >= 2:
                times[name].append(start.elapsed_time(end))
    return {name: statistics.median(values) for name, values in times.items()}


def _peak_mb(run: Callable) -> float:
    """Megabytes that a run adds to what is allocated before it."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def _op_inputs(batch: int, side: int, channels: int, dtype: torch.dtype) -> list[Tensor]:
    torch.manual_seed(0)
    pixels = (batch, side, side)
    rank = channels // 32
    projected = torch.randn(*pixels, 4, rank + 2 * STATES)
    inputs = [
        torch.randn(*pixels, channels),
        torch.randn(*pixels, 4, channels),
        -torch.arange(1.0, STATES + 1).expand(4, channels, STATES).contiguous(),
        projected[..., rank : rank + STATES],
        projected[..., rank + STATES :],
        torch.ones(4, channels),
        torch.full((4, channels), -4.0),
    ]
    per_pixel = (0, 1, 3, 4)
    return [tensor.to(DEVICE, dtype if i in per_pixel else torch.float32) for i, tensor in enumerate(inputs)]


def _scan_with(backend: str) -> Callable:
    def scan(*inputs):
        return ss2d_scan(*inputs, backend=backend)

    return scan


if __name__ == "__main__":
    main()
