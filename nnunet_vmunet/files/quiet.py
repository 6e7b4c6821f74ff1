"""What libraries print about a broken file, kept away from the terminal: the one line that follows says it."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import IO

# libtiff (inside Pillow) and MetaIO (inside SimpleITK) write straight to descriptor 2 and cannot be asked not to.
_NOISE = re.compile(
    rb"""(?:tempfile\.tif|\w*(?:TIFF|JPEG|LZW|ZIP|Fax\dD|Fax4|PixarLog|LogL|Dump|PackBits|LERC|ZSTD|Decode)\w*):\ .*\n
    |MetaImage:\ .*\n|\ +ideal\ =\ \d+\ :\ actual\ =\ \d+\n""",
    re.VERBOSE,
)


class _Capture:
    """Standard error as long as at least one thread is inside `quiet`: all of them share the one descriptor."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.terminal: int | None = None
        self.captured: IO[bytes] | None = None

    def begin(self) -> None:
        with self.lock:
            self.users += 1
            if self.users == 1:
                self._redirect()

    def end(self) -> None:
        with self.lock:
            self.users -= 1
            if self.users == 0 and self.terminal is not None:
                self._restore()

    def _redirect(self) -> None:
        try:
            self.terminal = os.dup(2)
        except OSError:  # standard error is closed: nobody would see anything
            self.terminal = None
            return
        self.captured = TemporaryFile(buffering=0)  # noqa: SIM115 - closed by _restore
        os.dup2(self.captured.fileno(), 2)

    def _restore(self) -> None:
        assert self.terminal is not None and self.captured is not None
        os.dup2(self.terminal, 2)
        os.close(self.terminal)
        self.captured.seek(0)
        rest = _NOISE.sub(b"", self.captured.read())
        self.captured.close()
        self.terminal = self.captured = None
        if rest:
            os.write(2, rest)


_capture = _Capture()


@contextmanager
def quiet() -> Iterator[None]:
    """Messages of libtiff and MetaIO do not reach standard error.

    What anything else in the process writes there meanwhile, in other threads too, appears when the block ends.
    """
    _capture.begin()
    try:
        yield
    finally:
        _capture.end()
