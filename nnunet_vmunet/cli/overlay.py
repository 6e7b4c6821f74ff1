"""`nnunet-vmunet overlay`."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError
from .evaluate import add_num_processes, add_trained_fold


def add(commands) -> None:
    parser = commands.add_parser("overlay", help="pictures of predictions over their images, and a contact sheet")
    folders = parser.add_argument_group("folders, paired by file name")
    folders.add_argument(
        "-i",
        dest="images",
        type=Path,
        metavar="FOLDER",
        help="images: nnU-Net's NAME_0000 files, or photographs or volumes called NAME",
    )
    folders.add_argument("-p", dest="predictions", type=Path, metavar="FOLDER", help="predictions")
    folders.add_argument(
        "-r",
        dest="references",
        type=Path,
        metavar="FOLDER",
        help="references (optional): dashed contours, Dice, and the worst cases first",
    )
    add_trained_fold(parser)
    parser.add_argument("-o", dest="output", type=Path, required=True, metavar="FOLDER", help="folder to write")
    parser.add_argument("--slices", type=int, default=3, metavar="N", help="of each volume (default 3)")
    parser.add_argument(
        "--window",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="intensities of volumes to draw black and white (default: -160 240 for CT, which the "
        "dataset.json names or values below -500 show; else the percentiles 0.5 and 99.5)",
    )
    add_num_processes(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier overlay")
    parser.set_defaults(run=_run)


def _run(args) -> None:
    from ..overlay.draw import draw_cases

    window = tuple(args.window) if args.window else None
    draw_cases(
        _source(args),
        args.output,
        slices=args.slices,
        window=window,
        num_processes=args.num_processes,
        overwrite=args.overwrite,
    )


def _source(args):
    from ..overlay.cases import fold_source, given_source

    fold_given = args.dataset is not None and args.fold is not None
    if args.images and args.predictions and args.dataset is None and args.fold is None:
        return given_source(args.images, args.predictions, args.references)
    if fold_given and args.predictions is None and args.references is None:
        return fold_source(args.images, args.dataset, args.fold, args.trainer, args.plans, args.configuration)
    raise InputError("give -i and -p, with or without -r, or a trained fold as -d and -f")
