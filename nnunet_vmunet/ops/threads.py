"""Runs compiled jobs, which release Python's lock, on several threads: torch's own OpenMP threads where possible."""

import ctypes
import multiprocessing
import os
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

import torch

# After each operator torch's OpenMP threads spin for milliseconds, waiting for the next one. A second set of threads
# would have to share the cores with them. So torch's threads get the jobs, through `GOMP_parallel`, the stable entry
# point of their library; docs/benchmarks.md has the times.

SHARES = 4  # of the work for each thread: few, because each costs a call from Python; not one, because cores get busy


def _forked() -> bool:
    """Is this a child that multiprocessing forked? OpenMP's threads stayed in the parent."""
    forks = multiprocessing.get_start_method(allow_none=True) in (None, "fork")
    return multiprocessing.parent_process() is not None and forks


_PROCESS = None if _forked() else os.getpid()  # the one in which OpenMP may run; later forks have other numbers
_Callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def run(work: Callable[[int, int], None], jobs: int) -> None:
    """Calls work(first, last) until every job from 0 to jobs - 1 was in one range(first, last): in any order, on
    `torch.get_num_threads()` threads. The first exception that `work` raises is raised here, when all have stopped.
    """
    threads = min(torch.get_num_threads(), jobs)
    waiting = deque(_shares(jobs, SHARES * threads if threads > 1 else 1))
    failures: list[BaseException] = []

    def work_on(_=None):
        while not failures:
            try:
                share = waiting.popleft()
            except IndexError:  # nothing left
                return
            try:
                work(*share)
            except BaseException as failure:  # nothing may be raised through OpenMP's frames
                failures.append(failure)

    _start(work_on, threads)
    if failures:
        raise failures[0]


def _shares(jobs: int, count: int) -> list[tuple[int, int]]:
    """At most `count` ranges, equal to within one job."""
    count = min(count, jobs)
    bounds = [jobs * i // count for i in range(count + 1)]
    return list(pairwise(bounds))


def _start(work: Callable, threads: int) -> None:
    """Calls `work` on as many threads, this one among them, and waits for all."""
    if threads == 1:
        work()
    elif _parallel() and os.getpid() == _PROCESS:  # else it would wait for threads that are not there
        _parallel()(_Callback(work), None, threads, 0)
    else:
        helpers = [_pool(os.getpid(), threads - 1).submit(work) for _ in range(threads - 1)]
        work()
        for helper in helpers:
            helper.result()


@cache
def _parallel():
    """GOMP_parallel(function, data, threads, flags) of the OpenMP that torch runs on, or None (macOS, Windows)."""
    if sys.platform != "linux":
        return None
    try:
        parallel = ctypes.CDLL(torch._C.__file__).GOMP_parallel
    except (OSError, AttributeError):
        return None
    parallel.argtypes = [_Callback, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    parallel.restype = None
    return parallel


@cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """The pool of a process; a forked child needs its own, because it inherits the pool but not its threads."""
    return ThreadPoolExecutor(threads)
