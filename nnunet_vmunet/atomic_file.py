"""A file that appears complete or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import InputError


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a hidden sibling with the same ending; once written, it takes the name of `path` when the block ends.

    Raises:
        InputError: it cannot be written.
    """
    partial = path.with_name(f".{path.stem}-{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written, make room or choose another place ({error})") from error
    finally:
        partial.unlink(missing_ok=True)
