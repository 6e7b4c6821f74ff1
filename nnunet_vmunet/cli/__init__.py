"""The `nnunet-vmunet` command: one module per subcommand, each a few lines around a public function.

A module's `add` declares the options. What a subcommand needs is imported when it runs, so that `--help` is instant.
"""

from __future__ import annotations

import argparse
import io
import sys

from .. import __version__
from ..errors import InputError
from . import convert, demo, doctor, evaluate, overlay, register, weights

COMMANDS = (register, doctor, convert, evaluate, overlay, weights, demo)


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand. Returns the exit code: 0, 2 for input that cannot be used, 1 for a check that fails."""
    _print_whatever_a_name_holds()
    args = parser().parse_args(argv)
    try:
        return args.run(args) or 0
    except InputError as error:
        print(f"nnunet-vmunet: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130  # as a shell reports a command that Ctrl-C ended


def parser() -> argparse.ArgumentParser:
    """Of the whole command line."""
    parser = argparse.ArgumentParser(prog="nnunet-vmunet", description="VM-UNet for stock nnU-Net.")
    parser.add_argument("--version", action="version", version=f"nnunet-vmunet {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add(commands)
    return parser


def _print_whatever_a_name_holds() -> None:
    """A terminal or log that lacks the letters of a file's name is no error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
