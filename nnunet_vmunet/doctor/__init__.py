"""`nnunet-vmunet doctor`: what stands between this machine and a training, found out without a dataset.

A check is a generator of findings. The checks that need torch come last and run in a process of their own
(`torch_process`): they take seconds, and what is broken there may take Python down with it.
"""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from . import folders, installation, machine, torch_process
from .finding import OK, PROBLEM, UNKNOWN, WARNING, Finding, Step, guarded

WIDTH = 100  # columns
INDENT = 24  # where the details begin
MARKS = {OK: "ok", WARNING: " !", PROBLEM: " x", UNKNOWN: " ?"}
COLOURS = {OK: 32, WARNING: 33, PROBLEM: 31, UNKNOWN: 36}  # green, yellow, red, cyan
CLEAR_LINE = "\r\033[K"


def doctor(*, as_json: bool = False) -> int:
    """Print the findings as they come, or all as one JSON document. Returns 1 if training could not start, else 0."""
    findings = []
    for each in diagnose():
        if isinstance(each, Finding):
            findings.append(each)
        if not as_json:
            _show(each)
    print(json.dumps(_document(findings), indent=2) if as_json else "\n".join(_end(findings)))
    return 0 if _can_start(findings) else 1


def diagnose() -> Iterator[Finding | Step]:
    """All checks in their order: those that need nothing first, those that need torch last."""
    yield from guarded("versions", installation.check)
    yield from guarded("folders", folders.check)
    yield from guarded("registration", installation.check_registration)
    yield from guarded("machine", machine.check)
    yield from guarded("GPU and scan", torch_process.check)


def _can_start(findings: Sequence[Finding]) -> bool:
    return all(finding.state != PROBLEM for finding in findings)


def _show(each: Finding | Step) -> None:
    """Print a finding; on a terminal print a step too, in a line that the next one replaces."""
    clear = CLEAR_LINE if sys.stdout.isatty() else ""
    if isinstance(each, Finding):
        print(clear + _lines(each), flush=True)
    elif clear:
        print(f"{clear}    ... {each.doing}", end="", flush=True)


def _lines(finding: Finding) -> str:
    start = f"    {finding.name}".ljust(INDENT - 1) + " "
    text = textwrap.fill(
        finding.detail, WIDTH, initial_indent=start, subsequent_indent=" " * INDENT, break_on_hyphens=False
    )
    return f" {_mark(finding)}{text[3:]}"


def _mark(finding: Finding) -> str:
    mark = MARKS[finding.state]
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return mark
    return f"\033[{COLOURS[finding.state]}m{mark}\033[0m"


def _end(findings: Sequence[Finding]) -> list[str]:
    """The commands that fix what was found, beginning with what stops a training; then the verdict."""
    to_fix = [finding for state in (PROBLEM, WARNING) for finding in findings if finding.state == state]
    lines = ["", "Problems"] if to_fix else []
    for number, finding in enumerate(to_fix, 1):
        lines += [f"{number:>3}. {_mark(finding)} {finding.name}", f"        {finding.fix}"]
    return [*lines, "", _verdict(findings)]


def _verdict(findings: Sequence[Finding]) -> str:
    count = sum(finding.state == PROBLEM for finding in findings)
    if count:
        return f"Training cannot start before {'this is' if count == 1 else f'these {count} are'} fixed (x)."
    on_cpu = any(finding.name == "GPU" and finding.facts.get("device") == "cpu" for finding in findings)
    return "Training can start, with -device cpu." if on_cpu else "Training can start."


def _document(findings: Sequence[Finding]) -> dict:
    return {
        "verdict": _verdict(findings),
        "can_start": _can_start(findings),
        "checks": [asdict(finding) for finding in findings],
        "self_test": [finding.facts for finding in findings if finding.name.startswith("self-test")],
    }
