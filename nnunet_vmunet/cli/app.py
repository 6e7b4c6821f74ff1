"""`nnunet-vmunet app`."""

from __future__ import annotations

from .predict import add_model, chosen_model


def add(commands) -> None:
    parser = commands.add_parser("app", help="a page in the browser: drop a photograph or a volume, download its mask")
    add_model(parser)
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (default 127.0.0.1, this machine alone)")
    parser.add_argument("--port", type=int, metavar="N", help="default: 7860, or the next free one")
    parser.add_argument(
        "--max-size", dest="max_mb", type=int, default=200, metavar="MB", help="of a file (default 200)"
    )
    parser.set_defaults(run=_run)


def _run(args) -> None:
    from ..errors import InputError

    try:
        import gradio  # noqa: F401 - told before the model is loaded
    except ImportError as error:
        raise InputError('Gradio is not installed: pip install "nnunet-vmunet[app]"') from error
    model = chosen_model(args)
    from ..app.page import serve

    serve(model, host=args.host, port=args.port, max_mb=args.max_mb)
