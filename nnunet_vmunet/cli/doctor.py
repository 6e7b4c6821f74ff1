"""`nnunet-vmunet doctor`."""

from __future__ import annotations


def add(commands) -> None:
    parser = commands.add_parser("doctor", help="what stands between this machine and a training, and what fixes it")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the screen")
    parser.set_defaults(run=_run)


def _run(args) -> int:
    from ..doctor import doctor

    return doctor(as_json=args.json)
