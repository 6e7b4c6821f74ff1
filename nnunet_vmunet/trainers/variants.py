"""Variants of the trainer, by suffix as nnU-Net names its own."""

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from .trainer import nnUNetTrainerVMUNet


class nnUNetTrainerVMUNet_5epochs(nnUNetTrainerVMUNet):
    epochs = t_max = 5  # one descent: the learning rate ends low, as after the paper's 50, 150 and 250 epochs


class nnUNetTrainerVMUNet_20epochs(nnUNetTrainerVMUNet):
    epochs = t_max = 20


class nnUNetTrainerVMUNet_50epochs(nnUNetTrainerVMUNet):
    epochs = 50


class nnUNetTrainerVMUNet_raw(nnUNetTrainerVMUNet):
    """Validates and saves the weights as the last step left them, instead of their running average."""

    optimizer_class = torch.optim.AdamW


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


class nnUNetTrainerVMUNet_T(nnUNetTrainerVMUNet):
    """As deep as VMamba-T, and its decoder too: all blocks of that file are used."""

    network_name = "vmunet-t"


class nnUNetTrainerVMUNet_S(nnUNetTrainerVMUNet):
    """As deep as VMamba-S, and its decoder too: all blocks of that file are used."""

    network_name = "vmunet-s"


class nnUNetTrainerVMUNet_VMamba2(nnUNetTrainerVMUNet):
    """VM-UNet's decoder on the encoder of VMamba v2, trained as VM-UNet."""

    network_name = "vmamba2-unet"


class nnUNetTrainerVMUNet_MambaUNet(nnUNetTrainerVMUNet):
    """Mamba-UNet, trained as VM-UNet."""

    network_name = "mamba-unet"


class nnUNetTrainerVMUNet_SwinUMambaD(nnUNetTrainerVMUNet):
    """Swin-UMamba†, trained as VM-UNet, but with the losses of four resolutions, in nnU-Net's weights."""

    network_name = "swin-umamba-d"
