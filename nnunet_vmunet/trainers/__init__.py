"""The trainers that `nnUNetv2_train -tr` finds once `nnunet-vmunet register` has run."""

from .paper import nnUNetTrainerVMUNet_paper
from .swin_umamba import nnUNetTrainerVMUNet_SwinUMambaD_paper
from .trainer import nnUNetTrainerVMUNet
from .variants import (
    nnUNetTrainerVMUNet_5epochs,
    nnUNetTrainerVMUNet_20epochs,
    nnUNetTrainerVMUNet_50epochs,
    nnUNetTrainerVMUNet_DA,
    nnUNetTrainerVMUNet_fp32,
    nnUNetTrainerVMUNet_MambaUNet,
    nnUNetTrainerVMUNet_raw,
    nnUNetTrainerVMUNet_S,
    nnUNetTrainerVMUNet_SwinUMambaD,
    nnUNetTrainerVMUNet_T,
    nnUNetTrainerVMUNet_VMamba2,
)

__all__ = [
    "nnUNetTrainerVMUNet",
    "nnUNetTrainerVMUNet_5epochs",
    "nnUNetTrainerVMUNet_20epochs",
    "nnUNetTrainerVMUNet_50epochs",
    "nnUNetTrainerVMUNet_DA",
    "nnUNetTrainerVMUNet_MambaUNet",
    "nnUNetTrainerVMUNet_S",
    "nnUNetTrainerVMUNet_SwinUMambaD",
    "nnUNetTrainerVMUNet_SwinUMambaD_paper",
    "nnUNetTrainerVMUNet_T",
    "nnUNetTrainerVMUNet_VMamba2",
    "nnUNetTrainerVMUNet_fp32",
    "nnUNetTrainerVMUNet_paper",
    "nnUNetTrainerVMUNet_raw",
]
