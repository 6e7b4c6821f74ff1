"""The trainers that `nnUNetv2_train -tr` finds once `nnunet-vmunet register` has run."""

from .paper import nnUNetTrainerVMUNet_paper
from .trainer import nnUNetTrainerVMUNet
from .variants import (
    nnUNetTrainerVMUNet_5epochs,
    nnUNetTrainerVMUNet_20epochs,
    nnUNetTrainerVMUNet_50epochs,
    nnUNetTrainerVMUNet_DA,
    nnUNetTrainerVMUNet_fp32,
    nnUNetTrainerVMUNet_raw,
)

__all__ = [
    "nnUNetTrainerVMUNet",
    "nnUNetTrainerVMUNet_5epochs",
    "nnUNetTrainerVMUNet_20epochs",
    "nnUNetTrainerVMUNet_50epochs",
    "nnUNetTrainerVMUNet_DA",
    "nnUNetTrainerVMUNet_fp32",
    "nnUNetTrainerVMUNet_paper",
    "nnUNetTrainerVMUNet_raw",
]
