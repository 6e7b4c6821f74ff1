"""What libraries print about a broken file, kept away from the terminal: the one line that follows says it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet(*loggers: logging.Logger) -> Iterator[None]:
    """Nothing reaches standard error, not even from libtiff and ITK, which write straight to its descriptor."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    for logger in loggers:
        logger.disabled = True
    try:
        yield
    finally:
        for logger in loggers:
            logger.disabled = False
        os.dup2(kept, 2)
        os.close(kept)
