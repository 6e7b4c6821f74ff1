"""`nnunet-vmunet doctor`: the findings on one screen as they come, or as one JSON document."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict

from .diagnosis import diagnose
from .finding import OK, PROBLEM, UNKNOWN, WARNING, Finding, Step

WIDTH = 100  # columns
INDENT = 24  # where the details begin
MARKS = {OK: "ok", WARNING: " !", PROBLEM: " x", UNKNOWN: " ?"}
COLOURS = {OK: 32, WARNING: 33, PROBLEM: 31, UNKNOWN: 36}  # green, yellow, red, cyan
CLEAR_LINE = "\r\033[K"


def doctor(*, as_json: bool = False) -> int:
    """Print what stands between this machine and a training. Returns 1 if training could not start, else 0."""
    findings = []
    for each in diagnose():
        if isinstance(each, Finding):
            findings.append(each)
        if not as_json:
            _show(each)
    print(json.dumps(_document(findings), indent=2) if as_json else "\n".join(_end(findings)))
    return 0 if can_start(findings) else 1


def can_start(findings: Sequence[Finding]) -> bool:
    return all(finding.state != PROBLEM for finding in findings)


def _show(each: Finding | Step) -> None:
    """A finding as its line or lines; a step as a line that the next one replaces, where someone watches."""
    terminal = sys.stdout.isatty()
    if isinstance(each, Finding):
        print(f"{CLEAR_LINE if terminal else ''}{_lines(each)}", flush=True)
    elif terminal:
        print(f"{CLEAR_LINE}    ... {each.doing}", end="", flush=True)


def _lines(finding: Finding) -> str:
    start = f" {_mark(finding)} {finding.name}"
    details = _wrap(finding.detail, INDENT)
    visible = len(finding.name) + 4
    if visible >= INDENT:  # a long name, or none of the detail would fit beside it
        return "\n".join([start, *(" " * INDENT + line for line in details)])
    return start + " " * (INDENT - visible) + ("\n" + " " * INDENT).join(details)


def _wrap(text: str, indent: int) -> list[str]:
    return textwrap.wrap(text, WIDTH - indent, break_on_hyphens=False) or [""]


def _mark(finding: Finding) -> str:
    return _coloured(MARKS[finding.state], COLOURS[finding.state])


def _coloured(text: str, colour: int) -> str:
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\033[{colour}m{text}\033[0m"


def _end(findings: Sequence[Finding]) -> list[str]:
    """The commands that fix what was found, what stops a training first; then the verdict."""
    to_fix = [finding for state in (PROBLEM, WARNING) for finding in findings if finding.state == state]
    lines = ["", "Problems"] if to_fix else []
    for number, finding in enumerate(to_fix, 1):
        lines += [f"{number:>3}. {_mark(finding)} {finding.name}", *([f"        {finding.fix}"] if finding.fix else [])]
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
        "can_start": can_start(findings),
        "checks": [asdict(finding) for finding in findings],
        "self_test": [finding.facts for finding in findings if finding.name.startswith("self-test")],
    }
