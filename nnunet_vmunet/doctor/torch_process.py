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
from importlib.util import find_spec

from . import installation, machine
from .finding import PROBLEM, Finding, Step, first_line, guarded, ok, pip_install, problem

LONGEST = 300  # seconds; compiling the scan for the first time takes several
# sys.path is handed over: Python would put the working directory first, with whatever torch.py lies there.
PROGRAM = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from {} import write; write()"


def check(longest: float = LONGEST) -> Iterator[Finding | Step]:
    """Everything that the process finds; a problem more if it dies, or is not done after `longest` seconds."""
    with tempfile.TemporaryFile("w+", errors="replace") as complaints:
        command = [sys.executable, "-c", PROGRAM.format(__name__), json.dumps(sys.path)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints, text=True)
        timer = threading.Timer(longest, process.kill)
        start = time.monotonic()
        timer.start()
        step = Step("Python starts", "")
        try:
            for line in process.stdout or ():
                each = _read(line)
                step = each if isinstance(each, Step) else step
                yield each
            ended = process.wait()
        finally:
            timer.cancel()
            process.kill()
            process.wait()
        if ended:
            complaints.seek(0)
            late = time.monotonic() - start >= longest
            how = f"not done after {longest} s" if late else _describe_exit(ended)
            last_words = [] if late else complaints.read().strip().splitlines()[-1:]
            yield problem("torch process", ": ".join([f"{how} while {step.doing}", *last_words]), step.fix)


def write() -> None:
    """What the process does. Whatever prints goes to stderr: standard output is for findings."""
    findings = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for each in checks():
        print(json.dumps({type(each).__name__: asdict(each)}), file=findings, flush=True)


def _read(line: str) -> Finding | Step:
    ((kind, fields),) = json.loads(line).items()
    return Step(**fields) if kind == "Step" else Finding(**fields)


def _describe_exit(code: int) -> str:
    return f"Python died of {signal.Signals(-code).name}" if code < 0 else f"Python ended with exit code {code}"


def checks() -> Iterator[Finding | Step]:
    """The checks that need torch, in their order."""
    reinstall = pip_install("--force-reinstall", "torch")
    cores = machine.affinity()
    yield Step("torch is imported", reinstall)
    try:
        import torch

        yield ok("torch import", f"works: build {torch.__version__}")
    except Exception as error:  # a broken installation raises anything: ImportError, OSError, AttributeError...
        yield problem("torch import", f"import torch fails: {first_line(error)}", reinstall)
        return
    yield from machine.check_openmp_binding(cores, machine.affinity())
    yield Step("torch asks for GPUs", reinstall)
    from . import gpu, scan

    gpus = list(guarded("GPU", gpu.check))
    yield from gpus
    unusable = any(isinstance(each, Finding) and each.state == PROBLEM for each in gpus)
    cpu = torch.device("cpu")
    trains_on = cpu if unusable else gpu.training_device()
    yield Step("torch compiles an addition", f"export {gpu.COMPILE}=f")
    yield from guarded(gpu.COMPILE, gpu.check_compiling, trains_on)
    if trains_on == cpu:
        yield from guarded(machine.OPENMP_WAITING, machine.check_openmp_waiting)
    if find_spec("nnunetv2") is not None:
        yield Step("nnU-Net looks for the trainer", pip_install("--force-reinstall", "nnunetv2"))
        yield from guarded("trainer", installation.check_trainer)
    for device in dict.fromkeys((trains_on, cpu)):
        yield from guarded(f"scan on {device}", scan.check, device, trains=device == trains_on)
