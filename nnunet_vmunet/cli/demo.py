"""`nnunet-vmunet demo`."""

from __future__ import annotations

from pathlib import Path


def add(commands) -> None:
    parser = commands.add_parser("demo", help="the whole job, from release folder to masks, on generated images")
    parser.add_argument(
        "-o",
        dest="output",
        type=Path,
        default=Path("demo"),
        metavar="FOLDER",
        help="folder to work in (default ./demo)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier demo")
    parser.set_defaults(run=_run)


def _run(args) -> None:
    from ..demo import demo

    demo(args.output, overwrite=args.overwrite)
