"""The table of what came from a file, what was adapted and what was initialised."""

from __future__ import annotations

import re

from .fill import Filled

COLUMNS = ("from the file", "adapted", "initialised")
# Our names -> a row of the table, in the network's order.
PARTS = (
    (r"encoder\.patch_embed\.", "patch embedding"),
    (r"encoder\.stages\.(\d+)\.", "encoder stage {}"),
    (r"decoder\.stages\.(\d+)\.", "decoder stage {}"),
    (r"decoder\.final_up\.", "final expanding"),
    (r"decoder\.seg_layers\.", "output layer"),
)


def table(filled: Filled) -> str:
    """Tensors and parameters per stage, and of encoder and decoder."""
    rows: dict[str, list[list[int]]] = {}
    for name, tensor in filled.state_dict.items():
        column = 0 if name in filled.loaded else 1 if name in filled.adapted else 2
        for row in (part(name), f"{name.partition('.')[0]} in all"):
            cell = rows.setdefault(row, [[0, 0], [0, 0], [0, 0]])[column]
            cell[0] += 1
            cell[1] += tensor.numel()
    totals = [row for row in rows if row.endswith(" in all")]
    ordered = [row for row in rows if row not in totals] + totals
    lines = [f"{'tensors (parameters)':20}" + "".join(f"{column:>22}" for column in COLUMNS)]
    lines += [f"{row:20}" + "".join(f"{_cell(*counts):>22}" for counts in rows[row]) for row in ordered]
    return "\n".join(lines)


def part(name: str) -> str:
    """The part of the network that a tensor of ours belongs to, as a row of the table is called."""
    for pattern, row in PARTS:
        if match := re.match(pattern, name):
            return row.format(*match.groups())
    return ".".join(name.split(".")[:2])  # a variant's own


def _cell(tensors: int, parameters: int) -> str:
    return f"{tensors} ({parameters:,})" if tensors else "-"
