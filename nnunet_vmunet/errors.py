"""The one exception that a user's input may raise, how it ends a program, and how its messages write sizes."""

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import parent_process
from pathlib import Path
from uuid import uuid4

NOTE = "NNUNET_VMUNET_REFUSAL"  # environment variable: the file in which workers note their refusal


class InputError(Exception):
    """Something that the user gave cannot be used: the message names it and says what to do, in one line.

    The command line prints the message without a traceback and exits with code 2.
    """

    def __str__(self) -> str:
        # A file's name may hold line breaks, and bytes that are no text.
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in super().__str__())


def print_refusal(error: InputError) -> int:
    """Print the one line. Returns the exit code."""
    print(f"nnunet-vmunet: error: {error}", file=sys.stderr, flush=True)
    return 2


def end_in_one_line() -> None:
    """Let an InputError that nothing catches end this process with its one line and exit code 2.

    For nnU-Net's commands, which know nothing of the exception and would end with a traceback and code 1. What nnU-Net
    raises itself goes to whoever was there before.
    """
    if getattr(sys.excepthook, "ends_in_one_line", False):
        return
    before = sys.excepthook
    os.environ.setdefault(NOTE, str(Path(tempfile.gettempdir(), f"nnunet-vmunet-{uuid4().hex}")))

    def hook(kind, error, traceback) -> None:
        noted = _take_note()
        refusal = noted if kind is RuntimeError else error
        if isinstance(refusal, InputError):
            sys.exit(print_refusal(refusal))  # Python takes the exit code from here
        before(kind, error, traceback)

    hook.ends_in_one_line = True  # type: ignore[attr-defined]
    sys.excepthook = hook


@contextmanager
def noted_for_parent() -> Iterator[None]:
    """In a worker process an InputError is noted for the parent, besides being raised.

    nnU-Net's workers that read the images to predict hand on no exception: the parent sees that they are gone, and
    raises a RuntimeError, in place of which `end_in_one_line` prints the note.
    """
    try:
        yield
    except InputError as error:
        if parent_process() is not None and NOTE in os.environ:
            with suppress(OSError), open(os.environ[NOTE], "x", encoding="utf-8") as note:  # the first one counts
                note.write(str(error))
        raise


def _take_note() -> InputError | None:
    note = Path(os.environ[NOTE])
    try:
        refusal = InputError(note.read_text(encoding="utf-8"))
        note.unlink()
    except OSError:
        return None
    return refusal


def size_text(lengths: Iterable[int]) -> str:
    """Such as 512x512x90, for messages: width, height and depth, the x axis first."""
    return "x".join(map(str, lengths))
