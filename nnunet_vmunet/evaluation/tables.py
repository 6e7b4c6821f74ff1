"""Tables on the terminal."""

from __future__ import annotations

import math

from .bootstrap import Estimate


def table(rows: list[list[str]]) -> str:
    """Columns aligned: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        for first, *others in rows
    )
    return "\n".join("  ".join(line).rstrip() for line in lines)


def number(value: float | None, scale: float = 1) -> str:
    """Two decimals; a dash for what is undefined."""
    return "-" if value is None or math.isnan(value) else f"{scale * value:.2f}"


def interval(estimate: Estimate, scale: float = 1) -> str:
    """Both ends, one decimal; a dash for what is undefined."""
    return "-" if math.isnan(estimate.low) else f"{scale * estimate.low:.1f}-{scale * estimate.high:.1f}"
