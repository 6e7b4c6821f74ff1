"""The `nnunet-vmunet` command: each subcommand is a few lines around a public function.

An `add` function declares a subcommand's options. What a subcommand needs is imported when it runs, so that `--help`
is instant.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TextIO

from .. import __version__
from ..errors import InputError, print_refusal
from . import app, compare, convert, evaluate, export, first_steps, overlay, predict, report, weights

ADD_COMMANDS = (  # in the order of --help
    first_steps.add_register,
    first_steps.add_doctor,
    convert.add,
    predict.add,
    app.add,
    evaluate.add,
    compare.add,
    overlay.add,
    report.add,
    weights.add,
    export.add,
    first_steps.add_demo,
)


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand. Returns the exit code: 0, 2 for input that cannot be used, 1 for a check that fails."""
    _print_whatever_a_name_holds()
    args = parser().parse_args(argv)
    try:
        with redirect_stdout(_UntilClosed(sys.stdout)):
            code = args.run(args) or 0
            sys.stdout.flush()
            return code
    except InputError as error:
        return print_refusal(error)
    except KeyboardInterrupt:
        return 130  # as a shell reports a command that Ctrl-C ended


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(prog="nnunet-vmunet", description="VM-UNet for stock nnU-Net.")
    parser.add_argument("--version", action="version", version=f"nnunet-vmunet {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for add in ADD_COMMANDS:
        add(commands)
    return parser


class _UntilClosed:
    """Standard output that a reader such as `head` may close early: the command goes on and writes its files."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with self._quietly():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._quietly():
            self._stream.flush()

    def __getattr__(self, name: str):
        return getattr(self._stream, name)

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:  # nobody reads what follows either, nor what Python flushes as it exits
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


def _print_whatever_a_name_holds() -> None:
    """A terminal or log that lacks the letters of a file's name is no error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
