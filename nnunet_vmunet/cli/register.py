"""`nnunet-vmunet register`."""

from __future__ import annotations


def add(commands) -> None:
    parser = commands.add_parser("register", help="let the installed nnU-Net find VM-UNet")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="report, change nothing (exit code 1 if not registered)")
    what.add_argument("--remove", action="store_true", help="take everything away again")
    parser.set_defaults(run=_run)


def _run(args) -> int:
    from .. import register

    if args.check:
        return 0 if register.check() else 1
    if args.remove:
        register.remove()
    else:
        register.register()
    return 0
