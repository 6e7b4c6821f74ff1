"""Runs the checks that need torch in a process of their own, so that a crash there is a finding like any other.

The process writes each finding, as soon as it has it, as one line of JSON.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict

from .finding import Finding, Step, problem

LONGEST = 300  # seconds; compiling the scan for the first time takes several
# sys.path is handed over: Python would put the working directory first, with whatever torch.py lies there.
PROGRAM = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from {} import write; write()"


def check() -> Iterator[Finding | Step]:
    with tempfile.TemporaryFile("w+", errors="replace") as complaints:
        command = [sys.executable, "-c", PROGRAM.format(__name__), json.dumps(sys.path)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints, text=True)
        timer = threading.Timer(LONGEST, process.kill)
        start = time.monotonic()
        timer.start()
        step = Step("Python starts", "")
        try:
            for line in process.stdout or ():
                step, finding = _read(line, step)
                yield finding or step
            ended = process.wait()
        finally:
            timer.cancel()
            process.kill()
            process.wait()
        if ended:
            complaints.seek(0)
            yield problem(
                "torch process", _obituary(ended, step, complaints.read(), time.monotonic() - start), step.fix
            )


def write() -> None:
    """What the process does. Whatever prints goes to stderr: standard output is for findings."""
    findings = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    from . import torch_checks

    for each in torch_checks.check():
        print(json.dumps({type(each).__name__: asdict(each)}), file=findings, flush=True)


def _read(line: str, step: Step) -> tuple[Step, Finding | None]:
    """The step that is now under way, and the finding that the line holds, if it does."""
    written = json.loads(line)
    if "Step" in written:
        return Step(**written["Step"]), None
    return step, Finding(**written["Finding"])


def _obituary(ended: int, step: Step, complaints: str, seconds: float) -> str:
    if seconds >= LONGEST:
        return f"not done after {LONGEST} s, while {step.doing}"
    how = f"died of {signal.Signals(-ended).name}" if ended < 0 else f"ended with exit code {ended}"
    return ": ".join([f"Python {how} while {step.doing}", *complaints.strip().splitlines()[-1:]])
