"""`nnunet-vmunet evaluate`: one subcommand per task."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError


def add(commands) -> None:
    parser = commands.add_parser("evaluate", help="metrics of predictions against references")
    tasks = parser.add_subparsers(dest="task", metavar="TASK", required=True)
    labels = tasks.add_parser("labels", help="any dataset: Dice, IoU, HD95 and surface Dice of each label and region")
    _add_evaluated_folders(labels)
    add_tolerance(labels)
    labels.set_defaults(run=_labels)
    isic = tasks.add_parser("isic", help="the paper's, of lesion masks: IoU, Dice, accuracy, specificity, sensitivity")
    _add_evaluated_folders(isic)
    isic.add_argument("--native", action="store_true", help="compare at the images' own size instead of 256x256")
    isic.add_argument(
        "--paper",
        choices=("isic17", "isic18"),
        help="which of the paper's rows to print (default: that of the release which the dataset.json says it is of)",
    )
    isic.set_defaults(run=_isic)
    synapse = tasks.add_parser("synapse", help="the paper's, of organs in volumes: Dice and HD95")
    _add_evaluated_folders(synapse)
    synapse.add_argument(
        "--paper",
        choices=("synapse",),
        help="print the paper's columns (default: where the dataset.json says that it is of that release)",
    )
    synapse.set_defaults(run=_synapse)


def _add_evaluated_folders(parser) -> None:
    folders = parser.add_argument_group("two folders, paired by file name")
    folders.add_argument("-p", dest="predictions", type=Path, metavar="FOLDER", help="predictions")
    folders.add_argument("-r", dest="references", type=Path, metavar="FOLDER", help="references")
    folders.add_argument("--chill", action="store_true", help="leave out references that were not predicted")
    add_trained_fold(parser)
    parser.add_argument(
        "-o",
        dest="output",
        type=Path,
        metavar="FOLDER",
        help="where metrics.json, metrics.csv and metrics.png go (default: PREDICTIONS/metrics)",
    )
    add_num_processes(parser)


def _evaluated_folders(args):
    from ..evaluation.label_folders import given_folders, trained_fold

    given = {
        option
        for option, value in (
            ("-p", args.predictions),
            ("-r", args.references),
            ("-d", args.dataset),
            ("-f", args.fold),
        )
        if value is not None
    }
    if given == {"-p", "-r"}:
        return given_folders(args.predictions, args.references, chill=args.chill)
    if given == {"-d", "-f"}:
        return trained_fold(args.dataset, args.fold, args.trainer, args.plans, args.configuration)
    raise InputError("give the two folders as -p and -r, or a trained fold as -d and -f")


def _labels(args) -> None:
    from ..evaluation.label_metrics import TOLERANCE
    from ..evaluation.labels_report import evaluate_labels

    evaluate_labels(
        _evaluated_folders(args),
        args.output,
        tolerance=TOLERANCE if args.tolerance is None else args.tolerance,
        num_processes=args.num_processes,
    )


def _isic(args) -> None:
    from ..evaluation.isic_report import evaluate_isic

    evaluate_isic(
        _evaluated_folders(args),
        args.output,
        native=args.native,
        paper_row=args.paper,
        num_processes=args.num_processes,
    )


def _synapse(args) -> None:
    from ..evaluation.synapse_report import evaluate_synapse

    evaluate_synapse(
        _evaluated_folders(args), args.output, with_paper=bool(args.paper), num_processes=args.num_processes
    )


def add_trained_fold(parser) -> None:
    """Add the options that name the validation of a trained fold; `overlay` has them too."""
    group = parser.add_argument_group("or the validation of a trained fold")
    group.add_argument("-d", dest="dataset", metavar="ID", help="nnU-Net dataset id or name")
    group.add_argument("-f", dest="fold", metavar="FOLD", help="0 to 4, or all")
    group.add_argument(
        "-tr", dest="trainer", default="nnUNetTrainerVMUNet", metavar="TRAINER", help="default nnUNetTrainerVMUNet"
    )
    group.add_argument("-pl", dest="plans", default="nnUNetPlans", metavar="PLANS", help="default nnUNetPlans")
    group.add_argument("-c", dest="configuration", default="2d", metavar="CONFIGURATION", help="default 2d")


def add_tolerance(parser) -> None:
    """Add the option of surface Dice; `compare` has it too."""
    parser.add_argument(
        "--tolerance",
        type=float,
        metavar="T",
        help="for surface Dice: how far apart surfaces may lie, in mm, or in pixels where the files have no spacing "
        "(default 2: about what people differ by who outline the same organ)",
    )


def add_num_processes(parser) -> None:
    """Add the option that all commands on folders of label images have."""
    parser.add_argument(
        "-np",
        dest="num_processes",
        type=int,
        metavar="N",
        help="processes (default: nnU-Net's, 8, but at most one per core)",
    )
