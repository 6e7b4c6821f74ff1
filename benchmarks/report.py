"""What the benchmarks have in common: the shapes they time, and a Markdown table that grows as they run."""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

import torch

from nnunet_vmunet import __version__

IMAGE = 256
STAGES = {1: (64, 192), 2: (32, 384), 3: (16, 768), 4: (8, 1536)}  # of a 256×256 image: side, channels D
STATES = 16


@dataclass
class Row:
    what: str  # op stage 1, batch 32, bf16; network, batch 4; ...
    measure: str  # forward (ms), peak memory (MB), ...
    values: dict[str, float]  # by column


def arguments(description: str | None, rounds: int, rounds_help: str, *, family: bool = False) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("-o", dest="output", help="write the numbers to this JSON file too")
    parser.add_argument("--rounds", type=int, default=rounds, help=rounds_help)
    parser.add_argument(
        "--only", default="", metavar="TEXT", help='only what has this in its name, as in "op, stage 1" or "batch 32"'
    )
    if family:
        parser.add_argument("--family", action="store_true", help="the networks beside VM-UNet")
    return parser.parse_args()


def software() -> dict[str, str]:
    return {"torch": torch.__version__, "python": platform.python_version(), "nnunet-vmunet": __version__}


def cpu_machine() -> dict[str, str | int]:
    """Linux only."""
    with open("/proc/cpuinfo") as info:
        model = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), platform.machine())
    return {"processor": model, "torch threads": torch.get_num_threads(), **software()}


def report(
    machine: dict,
    columns: list[str],
    rows: Iterable[Row],
    output: str | None,
    cell: Callable[[Row, str], str] = lambda row, column: f"{row.values[column]:.4g}",
) -> None:
    """Print each row when it is there, and write it to `output` with those before: a run cut off leaves them."""
    print("\n".join(f"{key}: {value}" for key, value in machine.items()))
    print(f"\n| | | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 2)}", flush=True)
    done = []
    for row in rows:
        cells = [cell(row, column) if column in row.values else "" for column in columns]
        print(f"| {row.what} | {row.measure} | " + " | ".join(cells) + " |", flush=True)
        done.append(row)
        if output:
            with open(output, "w") as file:
                json.dump({"machine": machine, "rows": [asdict(row) for row in done]}, file, indent=1)
