"""The benchmarks at sizes that take seconds: every row is there, and every number is one. Speed is not looked at.

The GPU's runs here on the CPU, with a clock and a memory meter in place of torch.cuda's.
"""

import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import label as components

from nnunet_vmunet.models import VMUNet
from nnunet_vmunet.ops import backends
from nnunet_vmunet.synthetic_lesions import lesion_photograph

TESTS = Path(__file__).resolve().parent
BENCHMARKS = TESTS.parent / "benchmarks"
SMALL_STAGES = {1: (8, 32), 2: (5, 48)}
SmallVMUNet = partial(VMUNet, depths=(1, 1, 1, 1), depths_decoder=(1, 1, 1, 1))


@pytest.fixture
def load(monkeypatch):
    """Imports a benchmark as `python benchmarks/NAME.py` would, but small."""

    def load(name: str):
        monkeypatch.syspath_prepend(str(BENCHMARKS))
        monkeypatch.delitem(sys.modules, name, raising=False)
        module = __import__(name)
        for constant, small in (("STAGES", SMALL_STAGES), ("IMAGE", 32), ("VMUNet", SmallVMUNet)):
            if hasattr(module, constant):
                monkeypatch.setattr(module, constant, small)
        return module

    return load


class Event:
    """As torch.cuda.Event."""

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        self.seconds = time.perf_counter()

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, end: "Event") -> float:
        return 1000 * (end.seconds - self.seconds)


@pytest.fixture
def gpu(load, monkeypatch):
    module = load("gpu")
    monkeypatch.setattr(module, "DEVICE", torch.device("cpu"))
    monkeypatch.setattr(module, "BATCHES", (2,))
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    monkeypatch.setattr(torch.cuda, "Event", Event)
    for nothing in ("synchronize", "reset_peak_memory_stats", "empty_cache"):
        monkeypatch.setattr(torch.cuda, nothing, lambda: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 0)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 2**20)
    return module


@pytest.mark.slow
def test_gpu_fills_every_row(gpu):
    columns = ["blocked", "original (blocked)"]
    rows = list(gpu._all_rows(["blocked"], columns[1], bytes_per_ms=1e6, rounds=1))
    ops = [
        (f"op, stage {stage}, batch 2, {dtype}", measure)
        for stage in (1, 2)
        for dtype in ("fp32", "bf16")
        for measure in (
            "forward (ms)",
            "forward bandwidth (GB/s)",
            "backward (ms)",
            "backward bandwidth (GB/s)",
            "peak memory of a step (MB)",
        )
    ]
    networks = [
        (f"network, batch 2, {dtype}{compiled}", measure)
        for dtype in ("fp32", "bf16")
        for compiled in ("", ", compiled")
        for measure in ("training step (ms)", "peak memory of a training step (MB)", "inference (images/s)")
    ]
    assert [(row.what, row.measure) for row in rows] == ops + networks
    for row in rows:
        assert list(row.values)[:2] == columns
        assert all(value > 0 for value in row.values.values())


def test_only_what_is_asked_for_is_measured(gpu, load):
    rows = gpu._all_rows(["blocked"], "original (blocked)", 1e6, 1, only="stage 2, batch 2, bf16")
    assert {row.what for row in rows} == {"op, stage 2, batch 2, bf16"}
    assert {row.what for row in load("cpu")._all_rows(["blocked"], 1, only="stage 2")} == {"op, stage 2"}
    assert list(gpu._all_rows(["blocked"], "original (blocked)", 1e6, 1, only="stage 9")) == []


def test_what_is_slow_takes_part_in_fewer_rounds(gpu, monkeypatch):
    monkeypatch.setattr(gpu, "ENOUGH_MS", 5)
    calls = {"slow": 0, "fast": 0}

    def run(name, seconds):
        calls[name] += 1
        time.sleep(seconds)

    gpu._medians_ms({"slow": lambda: run("slow", 0.01), "fast": lambda: run("fast", 0)}, rounds=4)
    assert calls == {"slow": 3, "fast": 6}


def test_a_run_that_is_cut_off_leaves_what_it_measured(load, tmp_path, capsys):
    report = load("gpu").report
    output = tmp_path / "numbers.json"

    def rows():
        yield sys.modules["report"].Row("op", "forward (ms)", {"blocked": 1.0})
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        report({"GPU": "none"}, ["blocked"], rows(), str(output))
    assert json.loads(output.read_text())["rows"] == [
        {"what": "op", "measure": "forward (ms)", "values": {"blocked": 1.0}}
    ]


def test_a_network_that_does_not_fit_leaves_its_cell_empty(gpu, capsys, monkeypatch):
    def values(scan, *_):
        if scan is None:
            raise torch.OutOfMemoryError
        return 1.0, 2.0, 3.0

    monkeypatch.setattr(gpu, "_network_values", values)
    rows = list(gpu._network_rows("network, batch 2", {"small": max, "large": None}, 2, torch.float32, False, 1))
    assert [row.values for row in rows] == [{"small": 1.0}, {"small": 2.0}, {"small": 3.0}]
    assert "large does not fit into this GPU's memory: network, batch 2" in capsys.readouterr().err


def test_gpu_floor_counts_every_input_and_output_once(gpu):
    inputs = gpu._op_inputs(2, 5, 48, torch.bfloat16)
    pixels, n, d = 2 * 5 * 5, 16, 48
    per_pixel, parameters = 2 * (d + 4 * d + 2 * 4 * n), 4 * (4 * d * n + 2 * 4 * d)
    assert gpu._bytes_moved(inputs, backward=False) == pixels * per_pixel + parameters + pixels * 2 * d
    assert gpu._bytes_moved(inputs, backward=True) == 2 * (pixels * per_pixel + parameters) + pixels * 2 * d


def test_gpu_original_scans_as_the_package_does(gpu, relative_error):
    inputs = [tensor.requires_grad_() for tensor in gpu._op_inputs(2, 5, 48, torch.float32)]
    results = []
    for scan in (gpu.ss2d_scan_stacked, gpu._scan_with("naive")):
        y = scan(*inputs)
        results.append([y, *torch.autograd.grad(y, inputs, torch.linspace(-1, 1, y.numel()).view_as(y))])
    assert max(map(relative_error, *results)) < 1e-5


def test_gpu_original_network_is_the_packages_but_for_how_it_computes(gpu, relative_error):
    torch.manual_seed(0)
    network, image = SmallVMUNet(3, 2).eval(), torch.randn(1, 3, 32, 32)
    logits = []
    for scan in (gpu.ss2d_scan_stacked, gpu._scan_with("naive")):
        with gpu._network_scans_with(scan):
            logits.append(network(image))
    assert relative_error(*logits) < 1e-5
    assert gpu.ss2d.SS2D.forward is not gpu.ss2d_forward_original


def test_gpu_original_scans_in_float32_whatever_autocast_says(gpu, monkeypatch):
    """mamba-ssm's extension refuses inputs of two types."""
    dtypes = set()

    def apply(u, *others):
        dtypes.update(tensor.dtype for tensor in (u, *others))
        return u

    monkeypatch.setattr(sys.modules["stacked"], "_StackedScan", SimpleNamespace(apply=apply))
    x, delta, *others = gpu._op_inputs(2, 5, 48, torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        gpu.ss2d_scan_stacked(x, delta[..., :3], *others, torch.randn(4, 48, 3))
    assert dtypes == {torch.float32}


def test_gpu_without_a_gpu_says_so(load, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    with pytest.raises(SystemExit) as stopped:
        load("gpu").main()
    assert stopped.value.code == 2
    assert "needs an NVIDIA GPU" in capsys.readouterr().err


def test_cpu_prints_a_table_and_writes_its_numbers(load, monkeypatch, capsys, tmp_path):
    cpu = load("cpu")
    monkeypatch.setattr(cpu, "_peak_memory", lambda *_: 1.0)  # that of processes which would not be small
    monkeypatch.setattr(sys, "argv", ["cpu.py", "--rounds", "1", "-o", str(tmp_path / "numbers.json")])
    cpu.main()
    printed = capsys.readouterr().out
    written = json.loads((tmp_path / "numbers.json").read_text())
    assert printed.count("| op, stage") == 4
    assert {name for row in written["rows"] for name in row["values"]} >= {"loop", "naive", "blocked", "identity"}
    assert backends.why_not_numba(torch.device("cpu")) or "numba" in printed


def test_precision_fills_every_row(load, monkeypatch):
    monkeypatch.setenv(backends.VARIABLE, "blocked")  # which the benchmark sets, and the test's end takes back
    rows = list(load("precision")._rows(["blocked"], rounds=1, only=""))
    measures = ["error of the logits", "largest error of the gradients", "pixels that agree (%)", "forward (ms)"]
    assert [row.measure for row in rows] == measures
    for row in rows[:2]:
        assert row.values["float32"] == 0
        assert 0 < row.values["float64"] < 1e-3 < row.values["bfloat16"] < 1


def test_onnx_speed_fills_every_row(load, tmp_path, monkeypatch):
    pytest.importorskip("onnxscript")
    module = load("onnx_speed")
    monkeypatch.setattr(module, "SIDES", (32,))
    rows = {row.measure: row.values for row in module._rows(tmp_path, rounds=1, only="")}
    assert list(rows["forward (ms)"]) == list(module.COLUMNS)
    assert all(error < 1e-4 for error in rows["largest error of a probability"].values())


@pytest.mark.slow
def test_applying_fills_every_row(load, tmp_path, registered, monkeypatch):
    for i in range(2):
        lesion_photograph(np.random.default_rng(i), 120, 90)[0].save(tmp_path / f"photo{i}.jpg")
    monkeypatch.setenv("nnUNet_n_proc_DA", "1")
    module = load("applying")
    (tmp_path / "work").mkdir()
    rows = list(module.Bench(tmp_path / "work", sorted(tmp_path.glob("*.jpg")), 3, module.COLUMNS).rows())
    assert [row.what for row in rows] == [
        "network alone",
        "before the network",
        "after it",
        "nnunet-vmunet predict --fast",
        "nnUNetv2_predict --disable_tta",
    ]
    assert all(list(row.values) == module.COLUMNS and min(row.values.values()) > 0 for row in rows)


def test_spotted_images_hold_one_small_lesion_among_things_as_bright(load):
    module = load("spotted_images")
    brighter = 0  # pixels that are no lesion
    for seed in range(5):
        image, labels = module.spotted_image(np.random.default_rng(seed))
        lesion = np.argwhere(labels)
        assert image.shape == labels.shape == (256, 256)
        assert components(labels)[1] == 1
        assert set(np.ptp(lesion, axis=0) + 1) <= {11, 12, 13}
        assert lesion.min() > 0
        assert lesion.max() < 255  # whole
        brighter += (image[labels == 0] > np.median(image[labels == 1])).sum() / labels.sum() / 5
    assert brighter > 3


def test_small_lesions_counts_a_lesion_of_which_half_is_marked(load, tmp_path):
    module = load("small_lesions")
    lesions = module.SmallLesions(tmp_path, module.SMALL)
    drawn, predicted = tmp_path / "nnUNet_raw" / module.NAME / "labelsTr", tmp_path / "validation"
    marks = {
        "whole": [(4, 8), (20, 22)],  # and something elsewhere
        "half": [(6, 8)],
        "less": [(7, 8)],
        "elsewhere": [(0, 3), (10, 12)],
        "in two": [(4, 5), (6, 8)],
        "nothing": [],
    }
    for folder in (drawn, predicted):
        folder.mkdir(parents=True)
    for case, columns in marks.items():
        for folder, areas in ((drawn, [(4, 8)]), (predicted, columns)):
            image = np.zeros((16, 32), np.uint8)
            for begin, end in areas:
                image[4:8, begin:end] = 1
            Image.fromarray(image).save(folder / f"{case}.png")
    found, false = lesions._finds(predicted)
    assert (found, false) == (3, 3)


@pytest.mark.slow
def test_a_trial_of_small_lesions_ends_with_a_table_and_is_not_run_again(load, tmp_path):
    columns = list(load("small_lesions").TRAINERS)
    finished = subprocess.run(
        [sys.executable, TESTS / "benchmark_twice.py", "small_lesions", "-o", tmp_path, "--small"],
        env={**os.environ, "nnUNet_def_n_proc": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    first, again = finished.stdout.split("AGAIN")
    heading = f"| | | {' | '.join(columns)} |"
    assert first[first.index(heading) :].strip() == again[again.index(heading) :].strip()
    written = json.loads((tmp_path / "small_lesions.json").read_text())
    rows = {(row["what"], row["measure"]): list(row["values"].values()) for row in written["rows"]}
    assert {what for what, _ in rows} == {"seed 0", "mean of seeds"}
    assert len(rows["mean of seeds", "Dice (%)"]) == len(columns)
    _, third, nnunets = rows["mean of seeds", "patches that show lesion (%)"]
    assert min(third, nnunets) >= 100 / 3
    for trainer in load("small_lesions").TRAINERS.values():
        model = tmp_path / "nnUNet_results_0" / "Dataset914_SmallLesions" / f"{trainer}__nnUNetPlans__2d"
        configuration = json.loads((model / "plans.json").read_text())["configurations"]["2d"]
        assert (configuration["patch_size"], configuration["batch_size"]) == ([64, 64], 12)
