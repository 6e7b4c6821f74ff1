"""The compared trainers, each with the budget of images of `image_budget`: nnU-Net finds them by `nnUNet_extTrainer`.

They differ from the trainers after which they are named in how long they train, and in nothing else: within the budget
nnU-Net's learning rate falls by its own rule, and ours once to its minimum. During a training they validate one batch
after each epoch. The paper's trainer alone validates as it always does, because that chooses its weights.
"""

from image_budget import ImageBudget
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_vmunet.trainers import (
    nnUNetTrainerVMUNet,
    nnUNetTrainerVMUNet_DA,
    nnUNetTrainerVMUNet_MambaUNet,
    nnUNetTrainerVMUNet_paper,
    nnUNetTrainerVMUNet_S,
    nnUNetTrainerVMUNet_SwinUMambaD,
    nnUNetTrainerVMUNet_T,
    nnUNetTrainerVMUNet_VMamba2,
)

SMALL_SIZES = {"depths": [1, 1, 1, 1], "depths_decoder": [1, 1, 1, 1], "dims": [8, 16, 32, 64]}
SAVE_EVERY = 1  # epochs: what a training that is killed loses


class nnUNetTrainer_outcome(nnUNetTrainer):
    def initialize(self):
        """nnU-Net's hook: before the learning rate is scheduled."""
        budget = ImageBudget.from_environment()
        self.num_epochs = budget.epochs
        self.num_iterations_per_epoch = budget.steps_per_epoch(self.configuration_manager.batch_size)
        self.num_val_iterations_per_epoch = 1
        self.save_every = SAVE_EVERY
        super().initialize()


class WithBudget:
    """In front of one of our trainers."""

    num_val_iterations_per_epoch = 1

    def _plan_for_vmunet(self) -> None:
        """Our trainers' hook: the batch is known after it, and the learning rate is scheduled later."""
        budget = ImageBudget.from_environment()
        super()._plan_for_vmunet()
        if budget.small:
            architecture = self.configuration_manager.configuration["architecture"]
            known = architecture["arch_kwargs"]
            sizes = {**known, **{name: size[: len(known[name])] for name, size in SMALL_SIZES.items() if name in known}}
            self._change_plans(architecture={**architecture, "arch_kwargs": sizes})
        self.num_epochs = self.t_max = budget.epochs
        self.num_iterations_per_epoch = budget.steps_per_epoch(self.configuration_manager.batch_size)
        self.save_every = SAVE_EVERY


class nnUNetTrainerVMUNet_outcome(WithBudget, nnUNetTrainerVMUNet):
    pass


class nnUNetTrainerVMUNet_paper_outcome(WithBudget, nnUNetTrainerVMUNet_paper):
    num_val_iterations_per_epoch = nnUNetTrainerVMUNet_paper.num_val_iterations_per_epoch


class nnUNetTrainerVMUNet_DA_outcome(WithBudget, nnUNetTrainerVMUNet_DA):
    pass


class nnUNetTrainerVMUNet_T_outcome(WithBudget, nnUNetTrainerVMUNet_T):
    pass


class nnUNetTrainerVMUNet_S_outcome(WithBudget, nnUNetTrainerVMUNet_S):
    pass


class nnUNetTrainerVMUNet_VMamba2_outcome(WithBudget, nnUNetTrainerVMUNet_VMamba2):
    pass


class nnUNetTrainerVMUNet_SwinUMambaD_outcome(WithBudget, nnUNetTrainerVMUNet_SwinUMambaD):
    pass


class nnUNetTrainerVMUNet_MambaUNet_outcome(WithBudget, nnUNetTrainerVMUNet_MambaUNet):
    pass
