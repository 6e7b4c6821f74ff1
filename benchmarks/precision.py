"""A network in half and double precision against float32, on this machine's CPU: `python benchmarks/precision.py`.

The paper's network with random weights, one 256×256 image. "rounded" is float32 with weights and image rounded to
bfloat16, what such a model costs at least. Errors are relative, over all values of a tensor. Of the gradients, which
are those of a loss times 1024, it is the largest error of any tensor. Times are medians of interleaved rounds.
"""

from __future__ import annotations

import copy
import os
import statistics
import time

import torch
from report import IMAGE, Row, arguments, cpu_machine, report

from nnunet_vmunet.models import VMUNet
from nnunet_vmunet.ops import backends

DTYPES = {
    "float32": torch.float32,
    "rounded": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}
SCALE = 1024  # of the loss, for the gradients of float16


def main() -> None:
    args = arguments(__doc__, 5, "interleaved rounds")
    names = ["numba"] if backends.why_not_numba(torch.device("cpu")) is None else []
    report(cpu_machine(), list(DTYPES), _rows([*names, "blocked"], args.rounds, args.only), args.output, _cell)


def _cell(row: Row, name: str) -> str:
    return f"{row.values[name]:.3g}" if "error" in row.measure else f"{row.values[name]:.4g}"


def _rows(names: list[str], rounds: int, only: str):
    torch.manual_seed(0)
    network, image = VMUNet(3, 2).eval(), torch.randn(1, 3, IMAGE, IMAGE)
    networks = {name: copy.deepcopy(network).to(dtype) for name, dtype in DTYPES.items()}
    networks["rounded"] = copy.deepcopy(network).bfloat16().float()
    for backend in (name for name in names if only in name):
        os.environ[backends.VARIABLE] = backend
        logits, gradients = {}, {}
        for name, dtype in DTYPES.items():
            given = image.bfloat16() if name == "rounded" else image
            logits[name], gradients[name] = _run(networks[name], given.to(dtype))
        truth, slopes = logits["float32"], gradients["float32"]
        yield Row(backend, "error of the logits", {name: _error(found, truth) for name, found in logits.items()})
        largest = {name: max(map(_error, found, slopes)) for name, found in gradients.items()}
        yield Row(backend, "largest error of the gradients", largest)
        agree = {name: 100 * (f.argmax(1) == truth.argmax(1)).double().mean().item() for name, f in logits.items()}
        yield Row(backend, "pixels that agree (%)", agree)
        yield Row(backend, "forward (ms)", _medians(networks, image, rounds))


def _run(network: VMUNet, image: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    image = image.clone().requires_grad_()
    logits = network(image)
    gradients = torch.autograd.grad(SCALE * logits.square().mean(), [image, *network.parameters()])
    return logits.detach(), list(gradients)


def _error(found: torch.Tensor, truth: torch.Tensor) -> float:
    return float((found.double() - truth.double()).norm() / truth.double().norm())


@torch.inference_mode()
def _medians(networks: dict[str, VMUNet], image: torch.Tensor, rounds: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in networks}
    for i in range(rounds + 1):
        for name, network in networks.items():
            given = image.to(DTYPES[name])
            start = time.perf_counter()
            network(given)
            if i > 0:
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


if __name__ == "__main__":
    main()
