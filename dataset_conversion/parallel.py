"""Many jobs in a few processes, with a progress bar; the first error ends all of them."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from tqdm import tqdm

from nnunet_vmunet.errors import InputError
from nnunet_vmunet.workers import end_with_parent

Job = TypeVar("Job")
Result = TypeVar("Result")


def check_num_processes(num_processes: int) -> None:
    """An InputError for fewer than 1."""
    if num_processes < 1:
        raise InputError(f"-np {num_processes}: give at least 1 process")


def run_parallel(
    function: Callable[[Job], Result], jobs: Sequence[Job], num_processes: int, description: str
) -> list[Result]:
    """[function(job) for job in jobs]. `function` lives at the top of a module that is quick to import.

    The processes are spawned, so a script that calls this keeps its own calls under `if __name__ == "__main__":`.
    """
    check_num_processes(num_processes)
    with progress(total=len(jobs), description=description) as bar:
        if min(num_processes, len(jobs)) > 1:
            return _run_in_pool(function, jobs, min(num_processes, len(jobs)), bar)
        results = []
        for job in jobs:
            results.append(function(job))
            bar.update()
        return results


def progress(total: int, description: str) -> tqdm:
    """A progress bar where someone watches; a log file gets none."""
    return tqdm(total=total, desc=description, disable=None)


def _run_in_pool(function, jobs, num_processes, bar) -> list:
    with ProcessPoolExecutor(num_processes, mp_context=get_context("spawn"), initializer=_prepare_worker) as pool:
        try:
            futures = [pool.submit(function, job) for job in jobs]
            for done in as_completed(futures):
                done.result()
                bar.update()
            return [future.result() for future in futures]
        except BrokenProcessPool as error:
            raise InputError(f"a process died, perhaps out of memory: try fewer than -np {num_processes}") from error
        finally:
            pool.shutdown(cancel_futures=True)


def _prepare_worker() -> None:
    # Ctrl-C reaches the whole process group: the parent alone answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
