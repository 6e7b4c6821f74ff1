"""An exported network in onnxruntime against itself in torch, on this CPU: `python benchmarks/onnx_speed.py`.

The paper's network with random weights, one image. "onnxruntime" has its default settings, "parallel" runs operators
beside each other that do not need each other, which the two walks of a scan do not. Times are medians of interleaved
rounds.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from report import Row, arguments, cpu_machine, report

from nnunet_vmunet.export.onnx_model import write_network
from nnunet_vmunet.models import VMUNet

SIDES = (64, 224, 256)
COLUMNS = ["network", "onnxruntime", "parallel"]


def main() -> None:
    args = arguments(__doc__, 5, "interleaved rounds")
    with tempfile.TemporaryDirectory() as folder:
        machine = {**cpu_machine(), "onnxruntime": onnxruntime.__version__}
        report(machine, COLUMNS, _rows(Path(folder), args.rounds, args.only), args.output, _cell)


def _cell(row: Row, column: str) -> str:
    value, network = row.values[column], row.values.get("network")
    return f"{value:.4g}" + (f" ({value / network:.2f}x)" if network and column != "network" else "")


def _rows(folder: Path, rounds: int, only: str):
    torch.manual_seed(0)
    network = VMUNet(3, 2).eval()
    for side in (side for side in SIDES if only in str(side)):
        what, file, image = f"{side}x{side}", folder / f"{side}.onnx", torch.randn(1, 3, side, side)
        start = time.perf_counter()
        write_network(network, file, 3, (side, side), has_regions=False)
        yield Row(what, "export (s)", {"onnxruntime": time.perf_counter() - start})
        yield Row(what, "file (MB)", {"onnxruntime": file.stat().st_size / 1e6})
        runs = {
            "network": lambda image=image: network(image).softmax(1).numpy(),
            "onnxruntime": _session(file, image),
            "parallel": _session(file, image, parallel=True),
        }
        with torch.inference_mode():
            truth = runs["network"]()
            errors = {name: float(np.abs(runs[name]() - truth).max()) for name in COLUMNS[1:]}
            yield Row(what, "largest error of a probability", errors)
            yield Row(what, "forward (ms)", _medians(runs, rounds))


def _session(file: Path, image: torch.Tensor, *, parallel: bool = False) -> Callable[[], np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if parallel:
        options.execution_mode = onnxruntime.ExecutionMode.ORT_PARALLEL
        options.inter_op_num_threads = 2
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"image": image.numpy()})[0]


def _medians(runs: dict[str, Callable], rounds: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in runs}
    for i in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if i > 0:
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


if __name__ == "__main__":
    main()
