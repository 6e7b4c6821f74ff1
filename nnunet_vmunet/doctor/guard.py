"""Keeps the doctor alive where one of its own checks fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .finding import Finding, Step, first_line, unknown


def guarded(name: str, check: Callable, *args, **kwargs) -> Iterator[Finding | Step]:
    """What the check yields; if it raises, one finding more that says so."""
    try:
        yield from check(*args, **kwargs)
    except ModuleNotFoundError as error:
        yield unknown(name, f"cannot be looked at without {error.name}")
    except Exception as error:  # the machine is broken in a way that nobody thought of
        yield unknown(name, f"this check itself failed: {first_line(error)}")
