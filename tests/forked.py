"""Functions in a process of their own that is there at once, because it is forked, to be killed or limited."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator

from tqdm import tqdm


def start(function: Callable[[], int]) -> int:
    """Run function() as the leader of a process group; what it returns is the exit code. Returns the process id."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            os.setpgid(0, 0)
            _share_nothing()
            code = function()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return pid


def _share_nothing() -> None:
    tqdm.set_lock(threading.RLock())  # its own is a semaphore: who is killed while holding it stops the parent too
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)  # or workers write their coverage, under the limits of the test


def wait(pid: int) -> int:
    """The exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def run(function: Callable[[], int]) -> tuple[int, str]:
    """The exit code, and what function() and all that it started wrote to standard error."""
    reader, writer = os.pipe()

    def child() -> int:
        # Files may be what the child can no longer write.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(writer, 2)
        sys.stdout, sys.stderr = (os.fdopen(descriptor, "w", closefd=False) for descriptor in (1, 2))
        return function()

    pid = start(child)
    os.close(writer)
    with open(reader) as pipe:
        text = pipe.read()
    return wait(pid), text


def kill_group(pid: int) -> None:
    """SIGKILL for a child and all that it started."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        os.kill(pid, signal.SIGKILL)  # it has not made its group yet


def seconds(function: Callable[[], int]) -> float:
    """How long function() takes in a process of its own; it must succeed."""
    begin = time.monotonic()
    assert wait(start(function)) == 0
    return time.monotonic() - begin


def random_kills(function: Callable[[], int], kills: int, seed: int | str) -> Iterator[Callable[[], None]]:
    """Yields what runs function() and kills it, until it was killed `kills` times: each in a later part of its time."""
    killed, duration, part = 0, seconds(function), random.Random(seed)

    def run_and_kill() -> None:
        nonlocal killed, duration
        moment = (killed + part.random()) / kills * duration
        pid = start(function)
        time.sleep(moment)
        kill_group(pid)
        end = wait(pid)
        if end == -signal.SIGKILL:
            killed += 1
        else:  # it is faster now than when it was measured, and had ended: the next one is killed earlier
            assert end == 0
            duration = moment

    while killed < kills:
        yield run_and_kill
