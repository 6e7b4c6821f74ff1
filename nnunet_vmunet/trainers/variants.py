"""Variants of the trainer, by suffix as nnU-Net names its own."""

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from .trainer import nnUNetTrainerVMUNet


class nnUNetTrainerVMUNet_5epochs(nnUNetTrainerVMUNet):
    epochs = 5


class nnUNetTrainerVMUNet_20epochs(nnUNetTrainerVMUNet):
    epochs = 20


class nnUNetTrainerVMUNet_50epochs(nnUNetTrainerVMUNet):
    epochs = 50


class nnUNetTrainerVMUNet_DA(nnUNetTrainerVMUNet):
    """nnU-Net's full data augmentation instead of flips and rotations."""

    get_training_transforms = staticmethod(nnUNetTrainer.get_training_transforms)


class nnUNetTrainerVMUNet_fp32(nnUNetTrainerVMUNet):
    """float32 throughout, as the paper trained."""

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008 - nnU-Net's signature
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.grad_scaler = None

    @staticmethod
    def autocast_dtype() -> torch.dtype:
        """The network's own, whatever nnU-Net's autocast would cast to."""
        return torch.float32
