"""`nnunet-vmunet register`, `doctor` and `demo`: what a new user runs before there is any data."""

from __future__ import annotations

from pathlib import Path


def add_register(commands) -> None:
    parser = commands.add_parser("register", help="let the installed nnU-Net find VM-UNet")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="report, change nothing (exit code 1 if not registered)")
    what.add_argument("--remove", action="store_true", help="take everything away again")
    parser.set_defaults(run=_register)


def add_doctor(commands) -> None:
    parser = commands.add_parser("doctor", help="what stands between this machine and a training, and what fixes it")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the screen")
    parser.set_defaults(run=_doctor)


def add_demo(commands) -> None:
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
    parser.set_defaults(run=_demo)


def _register(args) -> int:
    from .. import register

    if args.check:
        return 0 if register.check() else 1
    if args.remove:
        register.remove()
    else:
        register.register()
    return 0


def _doctor(args) -> int:
    from ..doctor import doctor

    return doctor(as_json=args.json)


def _demo(args) -> None:
    from ..demo import demo

    demo(args.output, overwrite=args.overwrite)
