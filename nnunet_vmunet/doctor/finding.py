"""What a check found: the one type that all checks yield."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

OK, WARNING, PROBLEM, UNKNOWN = "ok", "warning", "problem", "unknown"


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Args:
        name: what was looked at; stable, as `--json` has it too.
        state: PROBLEM if training cannot start, WARNING if it can but not as it should, UNKNOWN if it cannot be told.
        detail: what was found, in a sentence or less.
        fix: the command that puts it right, for the user's shell.
        facts: numbers and names for `--json`.
    """

    name: str
    state: str
    detail: str
    fix: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """What is about to be done and may take Python down or hang; `fix` is for that case."""

    doing: str
    fix: str


def ok(name: str, detail: str, **facts) -> Finding:
    return Finding(name, OK, detail, facts=facts)


def warning(name: str, detail: str, fix: str, **facts) -> Finding:
    return Finding(name, WARNING, detail, fix, facts)


def problem(name: str, detail: str, fix: str, **facts) -> Finding:
    return Finding(name, PROBLEM, detail, fix, facts)


def unknown(name: str, detail: str, **facts) -> Finding:
    return Finding(name, UNKNOWN, detail, facts=facts)


def first_line(error: BaseException) -> str:
    """The error as one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
