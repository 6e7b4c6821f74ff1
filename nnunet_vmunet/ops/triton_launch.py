"""How the Triton kernels are launched: the channels that a program takes, and the chunks that a walk is cut into.

A program is one warp with a tile of channels of one image in one direction. Where that makes too few programs for the
GPU, walks are cut, which costs a second exponential of every state: a walk stays whole where it can.

The table knows no shape: its rule says how many programs a GPU wants, and the shape how many there are. With
NNUNET_VMUNET_SCAN_TUNE=1 in the environment, every shape is timed when it is first met, and what was fastest is printed
and kept for as long as the process lives.
"""

import os
from collections.abc import Callable
from typing import NamedTuple

import torch

SPAN = 64  # steps from one saved state to the next: at 16 states, together the size of x
STATES = 512  # of a program, over its channels: 16 for each lane of its one warp, so 32 channels at 16 states
TUNE = "NNUNET_VMUNET_SCAN_TUNE"
TUNED_BLOCKS = (2, 4)
TUNED_CHUNKS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
MOST_PROGRAMS_PER_MULTIPROCESSOR = 32  # that a GPU holds at a time


class Launch(NamedTuple):
    """How a kernel is launched."""

    block: int  # steps that are loaded together; the backward pass keeps their states in registers
    chunks: int  # that a walk is cut into; fewer where these would not be whole spans


class Rule(NamedTuple):
    """What a launch follows from, whatever the shape."""

    block: int
    programs_per_multiprocessor: int  # a walk is cut into chunks towards this


class Problem(NamedTuple):
    """What a launch is chosen for."""

    kernel: str  # forward or backward
    capability: int  # of the GPU, 80 for an A100, 90 for an H100; 0 in Triton's interpreter
    multiprocessors: int
    batch: int
    height: int
    width: int
    channels: int
    states: int
    dtype: torch.dtype

    @property
    def tile(self) -> int:
        """The channels of a program; in the forward pass one for every lane at least, which then sums states alone."""
        fewest = 32 if self.kernel == "forward" else 1
        return max(fewest, STATES // self.states)

    @property
    def tiles(self) -> int:
        return -(-self.channels // self.tile)

    @property
    def spans(self) -> int:
        """Of a walk."""
        return -(-self.height * self.width // SPAN)

    @property
    def programs(self) -> int:
        """If no walk is cut."""
        return self.tiles * 4 * self.batch


# By kernel and compute capability from which on it holds. Not yet measured on a GPU; from compiling for both
# capabilities: at a block of 4 the forward kernel takes 9.4 to 9.6 instructions per 32 state updates and 106 registers,
# hence at most 18 programs per multiprocessor, the backward kernel 35 and all 255, hence 8. A block of 2 would double
# the backward pass' scratch, a block of 8 spills in both. An exponential takes as long as 8 other instructions, so two
# programs on each of the 4 schedulers keep it busy.
TABLE = {
    ("forward", 0): Rule(block=4, programs_per_multiprocessor=8),
    ("backward", 0): Rule(block=4, programs_per_multiprocessor=8),
}
_tuned: dict[Problem, Launch] = {}


def choose(problem: Problem, run: Callable[[Launch], object]) -> Launch:
    """From the table; or by timing `run`, if that is asked for and there is a GPU."""
    if problem.capability and os.environ.get(TUNE) == "1" and problem not in _tuned:
        _tuned[problem] = tune(problem, run)
    return _tuned.get(problem) or from_table(problem)


def from_table(problem: Problem) -> Launch:
    """Whole walks, unless they would be less than half of the programs that the rule wants."""
    known = [capability for kernel, capability in TABLE if kernel == problem.kernel]
    rule = TABLE[problem.kernel, max(capability for capability in known if capability <= problem.capability)]
    wanted = rule.programs_per_multiprocessor * problem.multiprocessors
    return Launch(rule.block, 1 if 2 * problem.programs >= wanted else -(-wanted // problem.programs))


def tune(problem: Problem, run: Callable[[Launch], object]) -> Launch:
    """The fastest candidate for this problem, printed."""
    from triton.testing import do_bench

    times_ms = {launch: do_bench(lambda launch=launch: run(launch), warmup=5, rep=20) for launch in candidates(problem)}
    best = min(times_ms, key=times_ms.__getitem__)
    print(f"{TUNE}: {problem}: {best}, of " + ", ".join(f"{tuple(k)} {v:.3f} ms" for k, v in times_ms.items()))
    return best


def candidates(problem: Problem) -> list[Launch]:
    """What the tuner tries: walks cut ever finer, until there are more programs than a GPU holds at a time."""
    most = max(1, MOST_PROGRAMS_PER_MULTIPROCESSOR * problem.multiprocessors // problem.programs)
    most = min(most, problem.spans)
    return [Launch(block, chunks) for block in TUNED_BLOCKS for chunks in TUNED_CHUNKS if chunks <= most]


def layout(launch: Launch, problem: Problem) -> tuple[int, int, int]:
    """Tiles, chunks of a walk, and steps of a chunk, a multiple of SPAN."""
    chunk = -(-problem.spans // launch.chunks) * SPAN
    return problem.tiles, -(-problem.height * problem.width // chunk), chunk
