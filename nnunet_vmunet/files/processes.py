"""Worker processes: many jobs in a few of them, with a progress bar; the first error ends all."""

from __future__ import annotations

import os
import signal
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, get_context, parent_process
from multiprocessing.util import Finalize
from typing import TypeVar

from tqdm import tqdm

from ..errors import InputError

Job = TypeVar("Job")
Result = TypeVar("Result")


def default_num_processes() -> int:
    """nnU-Net's default, but no more than there are cores, as each process may hold two volumes."""
    return min(int(os.environ.get("nnUNet_def_n_proc", 8)), os.cpu_count() or 1)


def check_num_processes(num_processes: int) -> None:
    """Raise InputError for fewer than 1."""
    if num_processes < 1:
        raise InputError(f"-np {num_processes}: give at least 1 process")


def run_parallel(
    function: Callable[[Job], Result], jobs: Sequence[Job], num_processes: int | None, description: str
) -> list[Result]:
    """[function(job) for job in jobs]. `function` lives at the top of a module that is quick to import.

    num_processes: None is `default_num_processes()`.

    The processes are spawned, so a script that calls this keeps its own calls under `if __name__ == "__main__":`.
    """
    num_processes = default_num_processes() if num_processes is None else num_processes
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


def end_with_parent() -> None:
    """Let this worker process end when its parent does, in whatever way; any other process is left alone.

    The workers of a killed parent would wait for ever, for work or for room to put it: they hold both ends of the
    queue, and with them their memory.
    """
    if parent_process() is not None:
        threading.Thread(target=_wait_for_the_end, daemon=True).start()


def _wait_for_the_end() -> None:
    parent = parent_process()
    assert parent is not None  # end_with_parent has asked
    connection.wait([parent.sentinel])
    os._exit(1)


def finish_before_exit(augmenter) -> None:
    """Let the workers of batchgenerators' `augmenter` end by themselves before this process does, interrupted or not.

    Else Python kills them. One that is killed while it asks the augmenter's event whether to end holds that event's
    lock for ever, and the augmenter, which sets the event when it is deleted, waits for the lock: the process hangs.
    """
    # From priority 0 on, a finalizer runs before the killing. It must not hold what it finalizes.
    Finalize(augmenter, _finish, args=[weakref.ref(augmenter)], exitpriority=0)


def _finish(reference: weakref.ref) -> None:
    augmenter = reference()
    if augmenter is not None:
        augmenter._finish()
