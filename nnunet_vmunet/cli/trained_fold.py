"""Options that name the validation of a trained fold."""

from __future__ import annotations


def add_trained_fold(parser) -> None:
    group = parser.add_argument_group("or the validation of a trained fold")
    group.add_argument("-d", dest="dataset", metavar="ID", help="nnU-Net dataset id or name")
    group.add_argument("-f", dest="fold", metavar="FOLD", help="0 to 4, or all")
    group.add_argument(
        "-tr", dest="trainer", default="nnUNetTrainerVMUNet", metavar="TRAINER", help="default nnUNetTrainerVMUNet"
    )
    group.add_argument("-pl", dest="plans", default="nnUNetPlans", metavar="PLANS", help="default nnUNetPlans")
    group.add_argument("-c", dest="configuration", default="2d", metavar="CONFIGURATION", help="default 2d")
