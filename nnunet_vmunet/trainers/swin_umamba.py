"""nnUNetTrainerVMUNet_SwinUMambaD_paper: the training of the published code, https://github.com/JiarunLiu/Swin-UMamba.

docs/fidelity.md lists what is the same and what is not.
"""

from __future__ import annotations

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn

from ..errors import InputError
from ..schedule import CosineSchedule
from ..weights.checkpoint import fingerprint
from .variants import nnUNetTrainerVMUNet_SwinUMambaD

FROZEN_EPOCHS = 10
TRAINED_ALL_ALONG = "patch_embed"  # which sees the images, and ImageNet's are others


class nnUNetTrainerVMUNet_SwinUMambaD_paper(nnUNetTrainerVMUNet_SwinUMambaD):
    """1000 epochs of 250 batches, AdamW of rate 1e-4 and decay 0.05, one cosine, nnU-Net's losses and augmentation.

    In the first 10 epochs the encoder stays as given weights left it, but for the patch embedding. Without given
    weights it is trained from the start. The batch is the plans' own.

    Raises:
        InputError: several GPUs are to train. Others as its base.
    """

    epochs = t_max = 1000
    num_iterations_per_epoch = 250
    num_val_iterations_per_epoch = 50  # nnU-Net's
    optimizer_class = torch.optim.AdamW  # the weights as they are
    get_training_transforms = staticmethod(nnUNetTrainer.get_training_transforms)

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008 - nnU-Net's signature
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        if self.is_ddp:  # whose processes wait for the gradients of all parameters, also of frozen ones
            raise InputError(f"{type(self).__name__} trains on one GPU, because it freezes: leave out -num_gpus")
        self.initial_lr = 1e-4
        self.weight_decay = 0.05
        self.my_init_kwargs["frozen_epochs"] = 0  # nnU-Net saves these, and loads them where a training goes on

    def configure_optimizers(self):
        """AdamW over all parameters, norms and biases too, and a cosine down to 1e-6."""
        optimizer = self.optimizer_class(
            self.network.parameters(), self.initial_lr, betas=(0.9, 0.999), eps=1e-5, weight_decay=self.weight_decay
        )
        return optimizer, CosineSchedule(optimizer, self.initial_lr, self.t_max, minimum=1e-6)

    def on_train_start(self) -> None:
        """Do as its base does, and freeze an encoder whose weights were given."""
        super().on_train_start()
        if self.current_epoch == 0 and fingerprint(self._bare_network().state_dict()) != self.initialised:
            self.my_init_kwargs["frozen_epochs"] = FROZEN_EPOCHS
            self.print_to_log_file(
                f"The encoder stays as it was given for {FROZEN_EPOCHS} epochs, but for its patch embedding."
            )

    def on_train_epoch_start(self) -> None:
        """Do as its base does; the optimiser leaves frozen parameters alone, decay included: they have no gradient."""
        super().on_train_epoch_start()
        learns = self.current_epoch >= self.my_init_kwargs["frozen_epochs"]
        for name, parameter in self._bare_network().named_parameters():
            if name.startswith("encoder."):
                parameter.requires_grad_(learns or TRAINED_ALL_ALONG in name)

    def _paper_batch(self, training_images: int) -> dict[str, int]:
        return {}

    def _build_loss(self) -> nn.Module:
        return nnUNetTrainer._build_loss(self)
