"""How the Triton kernels are launched: the channels that a program takes, and the chunks that a walk is cut into.

A program is one warp with a tile of channels of one image in one direction. Where that makes too few programs for the
GPU, walks are cut, which costs a second exponential of every state: a walk stays whole where it can.

`RULE` knows no shape: it says how many programs a GPU wants, and the shape says how many there are. docs/benchmarks.md
says where its numbers come from; `benchmarks/tune.py` times others.
"""

from typing import NamedTuple

import torch

SPAN = 64  # steps from one saved state to the next: at 16 states, together the size of x
STATES = 512  # of a program, over its channels: 16 for each lane of its one warp, so 32 channels at 16 states
SERIES_TERMS = {torch.float32: 7, torch.float64: 16}  # of softplus' series, whose terms fall by 9: to the last bits
TILES = (64, 32)  # channels that a program may take, of few states: two or one for each lane


class Launch(NamedTuple):
    """How a kernel is launched."""

    block: int  # steps that are loaded together; the backward pass keeps their states in registers
    chunks: int  # that a walk is cut into; fewer where these would not be whole spans


class Rule(NamedTuple):
    """What a launch follows from, whatever the shape."""

    block: int
    programs_per_multiprocessor: int  # a walk is cut into chunks towards this


RULE = Rule(block=4, programs_per_multiprocessor=8)


class Problem(NamedTuple):
    """What a launch is chosen for."""

    kernel: str  # forward or backward
    multiprocessors: int
    batch: int
    height: int
    width: int
    channels: int
    states: int
    dtype: torch.dtype

    @property
    def tile(self) -> int:
        """The channels of a program. The forward pass takes one for every lane at least: a lane sums states alone.

        Of few states it is the wider of TILES, unless that leaves more of the last tile empty.
        """
        fewest = 32 if self.kernel == "forward" else 1
        most = max(fewest, STATES // self.states)
        return most if most <= min(TILES) else min(TILES, key=lambda tile: -(-self.channels // tile) * tile)

    @property
    def tiles(self) -> int:
        """Number of tiles that the channels make."""
        return -(-self.channels // self.tile)

    @property
    def spans(self) -> int:
        """Number of spans in one walk."""
        return -(-self.height * self.width // SPAN)

    @property
    def programs(self) -> int:
        """Number of programs if no walk is cut."""
        return self.tiles * 4 * self.batch


def choose(problem: Problem) -> Launch:
    """Whole walks, unless they would be less than half of the programs that the rule wants."""
    wanted = RULE.programs_per_multiprocessor * problem.multiprocessors
    return Launch(RULE.block, 1 if 2 * problem.programs >= wanted else -(-wanted // problem.programs))


def layout(launch: Launch, problem: Problem) -> tuple[int, int, int]:
    """Tiles, chunks of a walk, and steps of a chunk, a multiple of SPAN."""
    chunk = -(-problem.spans // launch.chunks) * SPAN
    return problem.tiles, -(-problem.height * problem.width // chunk), chunk


def computed_in(dtype: torch.dtype) -> torch.dtype:
    """The type in which the kernels compute and write their parts, whatever type x has."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def constants(problem: Problem) -> dict:
    """What every kernel is compiled for."""
    import triton.language as tl

    return {
        "N": problem.states,
        "TILE": problem.tile,
        "FULL": problem.channels % problem.tile == 0,
        "FLOAT": tl.float64 if problem.dtype == torch.float64 else tl.float32,
        "num_warps": 1,
        "num_stages": 1,
        "enable_fp_fusion": True,  # off by default from Triton 3.9 on
    }


def walking_constants(launch: Launch, problem: Problem) -> dict:
    """What the kernels that visit pixels are compiled for, besides `constants`."""
    return {
        "BLOCK": launch.block,
        "STRAIGHT": problem.height % launch.block == 0 and problem.width % launch.block == 0,
        "TERMS": SERIES_TERMS[computed_in(problem.dtype)],
    }
