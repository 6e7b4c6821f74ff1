"""How the Triton kernels are best launched on this machine's GPU: `python benchmarks/tune.py`.

For every stage of the paper's image it times the forward and the backward pass with other numbers of steps in a block
and of chunks in a walk than `nnunet_vmunet.ops.triton_launch` would choose, and prints them, the fastest first. What is
much faster than the choice belongs into RULE there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from unittest import mock

import torch
from gpu import BATCHES, DTYPES, _op_inputs
from report import STAGES

from nnunet_vmunet.ops import ss2d_scan, triton_launch
from nnunet_vmunet.ops.triton_launch import Launch, Problem

BLOCKS = (2, 4)
CHUNKS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
MOST_PROGRAMS_PER_MULTIPROCESSOR = 32  # that a GPU holds at a time


def main() -> None:
    if not torch.cuda.is_available():
        print("benchmarks/tune.py needs an NVIDIA GPU, and torch finds none", file=sys.stderr)
        sys.exit(2)
    for stage, (side, channels) in STAGES.items():
        for batch in BATCHES:
            for label, dtype in DTYPES.items():
                inputs = _op_inputs(batch, side, channels, dtype)
                for kernel, run in _runs(inputs).items():
                    print(
                        f"stage {stage}, batch {batch}, {label}, {kernel}: {_ranked(_times_ms(kernel, run))}",
                        flush=True,
                    )


def candidates(problem: Problem) -> list[Launch]:
    """Walks cut ever finer, until there are more programs than a GPU holds at a time."""
    most = max(1, MOST_PROGRAMS_PER_MULTIPROCESSOR * problem.multiprocessors // problem.programs)
    most = min(most, problem.spans)
    return [Launch(block, chunks) for block in BLOCKS for chunks in CHUNKS if chunks <= most]


def _runs(inputs) -> dict[str, Callable[[], object]]:
    y = ss2d_scan(*inputs, backend="triton")
    dy = torch.randn_like(y)
    wanted = [tensor for tensor in inputs if tensor.requires_grad]
    return {
        "forward": lambda: ss2d_scan(*inputs, backend="triton"),
        "backward": lambda: torch.autograd.grad(y, wanted, dy, retain_graph=True),
    }


def _times_ms(kernel: str, run: Callable[[], object]) -> dict[Launch, float]:
    from triton.testing import do_bench

    met: list[Problem] = []
    choose = triton_launch.choose

    def watch(problem: Problem) -> Launch:
        met.append(problem)
        return choose(problem)

    with mock.patch.object(triton_launch, "choose", watch):
        run()
    problem = next(problem for problem in met if problem.kernel == kernel)
    times = {}
    for launch in candidates(problem):
        with mock.patch.object(triton_launch, "choose", lambda _, launch=launch: launch):
            times[launch] = do_bench(run, warmup=5, rep=20)
    return times


def _ranked(times_ms: dict[Launch, float]) -> str:
    ranked = sorted(times_ms.items(), key=lambda item: item[1])
    return ", ".join(f"block {launch.block} chunks {launch.chunks} {time_ms:.3f} ms" for launch, time_ms in ranked)


if __name__ == "__main__":
    main()
