"""Worker processes that do not outlive their parent."""

from __future__ import annotations

import os
import threading
from multiprocessing import connection, parent_process


def end_with_parent() -> None:
    """Let this worker process end when its parent does, in whatever way; any other process is left alone.

    A killed parent leaves its workers waiting for work, or for room to put it, for ever: they hold both ends of the
    queue, and with them their memory.
    """
    if parent_process() is not None:
        threading.Thread(target=_wait_for_the_end, daemon=True).start()


def _wait_for_the_end() -> None:
    parent = parent_process()
    assert parent is not None  # as above
    connection.wait([parent.sentinel])
    os._exit(1)
