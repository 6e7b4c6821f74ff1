"""`nnunet-vmunet report`."""

from __future__ import annotations

from pathlib import Path

from .evaluate import add_num_processes


def add(commands) -> None:
    parser = commands.add_parser("report", help="one HTML file about a trained fold: data, training, metrics, cases")
    parser.add_argument("-d", dest="dataset", required=True, metavar="ID", help="nnU-Net dataset id or name")
    parser.add_argument("-f", dest="fold", required=True, metavar="FOLD", help="0 to 4, or all")
    parser.add_argument(
        "-tr", dest="trainer", default="nnUNetTrainerVMUNet", metavar="TRAINER", help="default nnUNetTrainerVMUNet"
    )
    parser.add_argument("-pl", dest="plans", default="nnUNetPlans", metavar="PLANS", help="default nnUNetPlans")
    parser.add_argument("-c", dest="configuration", default="2d", metavar="CONFIGURATION", help="default 2d")
    parser.add_argument("-o", dest="output", type=Path, required=True, metavar="FILE", help="such as report.html")
    add_num_processes(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier report")
    parser.set_defaults(run=_run)


def _run(args) -> None:
    from ..report.fold_report import Fold, write_report

    fold = Fold(args.dataset, args.fold, args.trainer, args.plans, args.configuration)
    write_report(fold, args.output, num_processes=args.num_processes, overwrite=args.overwrite)
