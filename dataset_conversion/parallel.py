"""Many jobs in a few processes, with a progress bar; the first error ends all of them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, get_context, parent_process
from typing import TypeVar

from tqdm import tqdm

from nnunet_vmunet.errors import InputError

Job = TypeVar("Job")


def check_num_processes(num_processes: int) -> None:
    if num_processes < 1:
        raise InputError(f"-np {num_processes}: give at least 1 process")


def run_parallel(function: Callable[[Job], None], jobs: Sequence[Job], num_processes: int, description: str) -> None:
    """Call function(job) for every job. `function` lives at the top of a module that is quick to import.

    The processes are spawned, so a script that calls this keeps its own calls under `if __name__ == "__main__":`.
    """
    check_num_processes(num_processes)
    with progress(total=len(jobs), description=description) as bar:
        if min(num_processes, len(jobs)) <= 1:
            for job in jobs:
                function(job)
                bar.update()
        else:
            _run_in_pool(function, jobs, min(num_processes, len(jobs)), bar)


def progress(total: int, description: str) -> tqdm:
    """A progress bar where someone watches; a log file gets none."""
    return tqdm(total=total, desc=description, disable=None)


def _run_in_pool(function, jobs, num_processes, bar) -> None:
    with ProcessPoolExecutor(num_processes, mp_context=get_context("spawn"), initializer=_prepare_worker) as pool:
        try:
            for done in as_completed([pool.submit(function, job) for job in jobs]):
                done.result()
                bar.update()
        except BrokenProcessPool as error:
            raise InputError(f"a process died, perhaps out of memory: try fewer than -np {num_processes}") from error
        finally:
            pool.shutdown(cancel_futures=True)


def _prepare_worker() -> None:
    # Ctrl-C reaches the whole process group: the parent alone answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """A killed parent leaves its workers waiting for work for ever, because they hold both ends of the queue."""
    connection.wait([parent_process().sentinel])
    os._exit(1)
