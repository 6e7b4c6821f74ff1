"""nnUNetTrainerVMUNet_paper: the training of the published code, https://github.com/JCruan519/VM-UNet.

docs/fidelity.md compares the three, line by line: the original, the default trainer, and this one.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from ..errors import InputError
from ..plans import PAPER_PLANNER, PAPER_PLANS, are_of_volumes
from ..schedule import T_MAX
from .checkpoints import saved
from .paper_augmentation import PhotographAugmentation, SliceAugmentation
from .trainer import ONE_PASS
from .variants import nnUNetTrainerVMUNet_fp32

T_MAX_OF_VOLUMES = 100  # the original's configs/config_setting_synapse.py; the paper's text says 50, as for ISIC
BEST = "checkpoint_best.pth"


class nnUNetTrainerVMUNet_paper(nnUNetTrainerVMUNet_fp32):
    """float32, no clipping of gradients, no mirroring at inference, the original's augmentation, its choice of weights.

    The best epoch is that of the lowest mean loss: of pictures on the validation part, of volumes on the training part.
    Its weights are what the training ends with: nnU-Net validates with them, and checkpoint_final.pth holds them.

    Raises:
        InputError: the plans are not of `VMUNetPlannerPaper`, or several GPUs are to train. Others as its base.
    """

    optimizer_class = torch.optim.AdamW  # the weights as they are

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008 - nnU-Net's signature
    ) -> None:
        _refuse_other_plans(plans)
        super().__init__(plans, configuration, fold, dataset_json, device)
        if self.is_ddp:
            raise InputError(f"{type(self).__name__} trains on one GPU, as the original does: leave out -num_gpus")
        self.of_volumes = are_of_volumes(plans)
        self.t_max = T_MAX_OF_VOLUMES if self.of_volumes else T_MAX
        self.deciding_loss = "train_losses" if self.of_volumes else "val_losses"  # nnU-Net's names in its logger
        self.best_loss = math.inf

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self):  # noqa: N802 - nnU-Net's
        """nnU-Net's hook: nothing is mirrored at inference, and images are turned as they are, without a margin."""
        self.inference_allowed_mirroring_axes = None
        return None, False, self.configuration_manager.patch_size, None

    def get_training_transforms(self, *args, regions=None, ignore_label=None, **kwargs) -> BasicTransform:  # type: ignore[override]
        """nnU-Net's hook: the original's augmentation, then what nnU-Net's validation does to the labels."""
        augmentation = SliceAugmentation() if self.of_volumes else PhotographAugmentation()
        labels = nnUNetTrainer.get_validation_transforms(
            None, False, kwargs["foreground_labels"], regions, ignore_label
        )
        return ComposeTransforms([augmentation, labels])

    def optimise(self, batch: dict) -> dict:
        """One step of the optimiser, without autocast and without clipping."""
        data, target = (batch[key].to(self.device, non_blocking=True) for key in ("data", "target"))
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(self.network(data), target)
        loss.backward()
        self.optimizer.step()
        return {"loss": loss.detach().cpu().numpy()}

    def _plan_for_vmunet(self) -> None:
        is_one_pass = self.num_val_iterations_per_epoch == ONE_PASS
        super()._plan_for_vmunet()
        self.enable_deep_supervision = False  # the published code has one output
        if is_one_pass:
            self.num_val_iterations_per_epoch = len(self.get_tr_and_val_datasets()[1]) // self._validation_batch()

    def _validation_batch(self) -> int:
        """The largest one that divides the validation part: every epoch then sees each of its images once."""
        images = len(self.get_tr_and_val_datasets()[1])
        return max(n for n in range(1, self.configuration_manager.batch_size + 1) if images % n == 0)

    def _augmenter(self, dataset, patch_size, transforms, iterations, workers, purposes, batch_size=None):
        if dataset is self.get_tr_and_val_datasets()[1]:
            batch_size = self._validation_batch()
        return super()._augmenter(dataset, patch_size, transforms, iterations, workers, purposes, batch_size)

    def on_train_start(self) -> None:
        """Do as nnU-Net does, and log which weights the training will end with."""
        super().on_train_start()
        part = "training" if self.of_volumes else "validation"
        line = f"The training will end, as the original's, with the weights of the lowest loss on the {part} part"
        if not self.of_volumes:
            line += ". It selects on what it reports: the fold's validation flatters them"
        self.print_to_log_file(f"{line}.")

    def on_epoch_end(self) -> None:
        """Do as nnU-Net does, but keep the checkpoint of the lowest loss in place of that of the best pseudo Dice."""
        self._best_ema = math.inf  # which no pseudo Dice exceeds
        super().on_epoch_end()
        self._keep_if_best()

    def _keep_if_best(self) -> None:
        """Save the last epoch's weights if its loss is the lowest; nnU-Net has counted on to the next epoch already."""
        loss = float(self.logger.get_value(self.deciding_loss, step=-1))
        if not loss < self.best_loss:
            return
        self.best_loss = loss
        self.print_to_log_file(f"Lowest loss so far: {loss:.4f}")
        self.current_epoch -= 1
        self.save_checkpoint(str(self._best_file()))
        self.current_epoch += 1

    def on_train_end(self) -> None:
        """Take the best epoch's weights, then do as nnU-Net does: save them as the final ones, and validate them."""
        if self.disable_checkpointing:
            self.print_to_log_file("No checkpoints are kept, so the last epoch's weights are taken.")
        elif math.isfinite(self.best_loss):
            self._bare_network().load_state_dict(saved(self._best_file(), "network_weights"))
            epoch = saved(self._best_file(), "current_epoch") - 1
            self.print_to_log_file(
                f"The final weights are those of epoch {epoch}, with a loss of {self.best_loss:.4f}."
            )
        super().on_train_end()

    def load_checkpoint(self, filename_or_checkpoint: str) -> None:
        """Load as its base does, and find out which loss a better epoch must undercut.

        A training can be killed after nnU-Net saved its latest checkpoint and before that one was found the best.
        """
        super().load_checkpoint(filename_or_checkpoint)
        logged = saved(self._best_file(), "logging")
        self.best_loss = logged[self.deciding_loss][-1] if logged else math.inf  # its own epoch's is the last
        if self.current_epoch < self.num_epochs:
            self._keep_if_best()

    def _best_file(self) -> Path:
        return Path(self.output_folder, BEST)


def _refuse_other_plans(plans: dict) -> None:
    planner = plans.get("experiment_planner_used")
    if planner != PAPER_PLANNER:
        dataset = plans["dataset_name"].partition("_")[0].removeprefix("Dataset")
        raise InputError(
            f"nnUNetTrainerVMUNet_paper needs plans of {PAPER_PLANNER} and {plans.get('plans_name')} are of {planner}: "
            f"run nnUNetv2_plan_and_preprocess -d {int(dataset)} -c 2d -pl {PAPER_PLANNER}, then train with "
            f"-p {PAPER_PLANS}"
        )
