"""An exported network in onnxruntime against itself in torch, on this CPU: `python benchmarks/onnx_speed.py`.

The paper's network with random weights, one image. The scan's small operators stay on one of onnxruntime's threads, so
several images at a time use the cores better than several threads for one. Times are medians of rounds, of one column
after the other, because threads that wait actively would take a core from the next column.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from report import Row, arguments, cpu_machine, report

from nnunet_vmunet.export.onnx_model import write_network
from nnunet_vmunet.models import VMUNet

SIDES = (64, 224, 256)
COLUMNS = {  # the threads of torch, or of onnxruntime; None: as many as it takes
    "network": None,
    "network, one thread": 1,
    "onnxruntime": None,
    "onnxruntime, one thread": 1,
}


def main() -> None:
    args = arguments(__doc__, 5, "interleaved rounds")
    with tempfile.TemporaryDirectory() as folder:
        machine = {**cpu_machine(), "onnxruntime": onnxruntime.__version__}
        report(machine, list(COLUMNS), _rows(Path(folder), args.rounds, args.only), args.output, _cell)


def _cell(row: Row, column: str) -> str:
    """With how many times the network's time it is, by as many threads."""
    value, network = row.values[column], row.values.get(column.replace("onnxruntime", "network"))
    return f"{value:.4g}" + (f" ({value / network:.2f}x)" if network and column.startswith("onnx") else "")


def _rows(folder: Path, rounds: int, only: str):
    torch.manual_seed(0)
    network = VMUNet(3, 2).eval()
    for side in (side for side in SIDES if only in str(side)):
        what, file, image = f"{side}x{side}", folder / f"{side}.onnx", torch.randn(1, 3, side, side)
        start = time.perf_counter()
        write_network(network, file, 3, (side, side), has_regions=False)
        yield Row(what, "export (s)", {"onnxruntime": time.perf_counter() - start})
        yield Row(what, "file (MB)", {"onnxruntime": file.stat().st_size / 1e6})
        runs = {name: _run(name, threads, network, file, image) for name, threads in COLUMNS.items()}
        truth = runs["network"]()
        errors = {name: float(np.abs(run() - truth).max()) for name, run in runs.items() if name.startswith("onnx")}
        yield Row(what, "largest error of a probability", errors)
        yield Row(what, "forward (ms)", {name: _median(run, rounds) for name, run in runs.items()})
        alone = {name: run for name, run in runs.items() if COLUMNS[name] == 1}
        yield Row(
            what, "two at a time, each (ms)", {name: _median(_twice(run), rounds) / 2 for name, run in alone.items()}
        )


def _twice(run: Callable[[], np.ndarray]) -> Callable[[], None]:
    def both() -> None:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda _: run(), range(2)))

    return both


def _run(name: str, threads: int | None, network: VMUNet, file: Path, image: torch.Tensor) -> Callable[[], np.ndarray]:
    if name.startswith("network"):
        return lambda: _in_torch(network, image, threads)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads or 0
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"image": image.numpy()})[0]


@torch.inference_mode()
def _in_torch(network: VMUNet, image: torch.Tensor, threads: int | None) -> np.ndarray:
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        return network(image).softmax(1).numpy()
    finally:
        torch.set_num_threads(before)


def _median(run: Callable, rounds: int) -> float:
    times = []
    for i in range(rounds + 1):
        start = time.perf_counter()
        run()
        if i > 0:
            times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


if __name__ == "__main__":
    main()
