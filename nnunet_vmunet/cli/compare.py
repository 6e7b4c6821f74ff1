"""`nnunet-vmunet compare`."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError
from .evaluate import add_num_processes, add_tolerance


def add(commands) -> None:
    parser = commands.add_parser("compare", help="whether one of several models is better, over the same cases")
    folders = parser.add_argument_group("folders of predictions, paired by file name; the first is the baseline")
    folders.add_argument("-p", dest="predictions", type=Path, nargs="+", metavar="FOLDER", help="predictions")
    folders.add_argument("-r", dest="references", type=Path, metavar="FOLDER", help="references")
    group = parser.add_argument_group(
        "or the validation of trained folds; two or more of -tr, -pl or -c name the models, the first the baseline"
    )
    group.add_argument("-d", dest="dataset", metavar="ID", help="nnU-Net dataset id or name")
    group.add_argument("-f", dest="folds", nargs="+", metavar="FOLD", help="0 to 4, or all; several are pooled")
    for option, name, default in (
        ("-tr", "trainer", "nnUNetTrainerVMUNet"),
        ("-pl", "plans", "nnUNetPlans"),
        ("-c", "configuration", "2d"),
    ):
        group.add_argument(
            option,
            dest=name,
            nargs="+",
            default=[default],
            metavar=name.upper(),
            help=f"one for all models or one for each (default {default})",
        )
    parser.add_argument(
        "-o",
        dest="output",
        type=Path,
        metavar="FOLDER",
        help="where comparison.json, comparison.csv and comparison.png go (default: `comparison` beside the first "
        "predictions, or beside the trained models)",
    )
    parser.add_argument("--chill", action="store_true", help="leave out cases that a model did not predict")
    parser.add_argument(
        "--group",
        metavar="REGEX",
        help=r"what names of one patient's cases share, such as 'patient\d+': the patient then counts once",
    )
    add_tolerance(parser)
    add_num_processes(parser)
    parser.set_defaults(run=_run)


def _run(args) -> None:
    from ..evaluation.comparison import compare_models
    from ..evaluation.label_metrics import TOLERANCE

    compare_models(
        _models(args),
        args.output,
        chill=args.chill,
        group=args.group,
        tolerance=TOLERANCE if args.tolerance is None else args.tolerance,
        num_processes=args.num_processes,
    )


def _models(args):
    from ..evaluation.compared_models import given_models, trained_models

    options = {"-p": args.predictions, "-r": args.references, "-d": args.dataset, "-f": args.folds}
    given = {option for option, value in options.items() if value is not None}
    if given == {"-p", "-r"}:
        return given_models(args.predictions, args.references, chill=args.chill)
    if given == {"-d", "-f"}:
        return trained_models(args.dataset, args.folds, args.trainer, args.plans, args.configuration)
    raise InputError("give two or more folders as -p and the references as -r, or trained folds as -d and -f")
