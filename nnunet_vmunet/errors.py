"""The one exception that a user's input may raise, how it ends a program, and how its messages write sizes."""

import sys
from collections.abc import Iterable


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

    def hook(kind, error, traceback) -> None:
        if isinstance(error, InputError):
            sys.exit(print_refusal(error))  # Python takes the exit code from here
        before(kind, error, traceback)

    hook.ends_in_one_line = True  # type: ignore[attr-defined]
    sys.excepthook = hook


def size_text(lengths: Iterable[int]) -> str:
    """Such as 512x512x90, for messages: width, height and depth, the x axis first."""
    return "x".join(map(str, lengths))
