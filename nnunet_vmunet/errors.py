"""The one exception that a user's input may raise, and how its messages write sizes."""

from collections.abc import Iterable


class InputError(Exception):
    """Something that the user gave cannot be used: the message names it and says what to do, in one line.

    The command line prints the message without a traceback and exits with code 2.
    """

    def __str__(self) -> str:
        # A file's name may hold line breaks, and bytes that are no text.
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in super().__str__())


def size_text(lengths: Iterable[int]) -> str:
    """Such as 512x512x90, for messages: width, height and depth, the x axis first."""
    return "x".join(map(str, lengths))
