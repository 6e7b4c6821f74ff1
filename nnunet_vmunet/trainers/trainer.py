"""nnUNetTrainerVMUNet: the paper's training inside nnU-Net (section 4.2; `train.py` and `configs/` of the original)."""

from __future__ import annotations

import math
import os
from pathlib import Path

import torch
import torch.distributed as dist
from batchgenerators.dataloading.multi_threaded_augmenter import MultiThreadedAugmenter
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.nnunet_masking import MaskImageTransform
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.default_n_proc_DA import get_allowed_n_proc_DA
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn
from torch._dynamo import OptimizedModule

from ..dataset_json import FILE_NAME, DatasetJson, parse_dataset_json
from ..errors import InputError
from ..files.nnunet import nnunet_folder
from ..files.processes import finish_before_exit
from ..losses import BinaryBceDiceLoss, CeDiceLoss, RegionBceDiceLoss
from ..models.layers import DropPath
from ..models.network import UShapedNetwork
from ..plans import NETWORKS, PAPERS, architecture_of, build_network, network_class, paper_batch_size
from ..requirement import AVERAGING, refuse_missing_parts, refuse_other_reader, requirement
from ..schedule import T_MAX, CosineSchedule
from ..weights.checkpoint import fingerprint
from .averaging import AveragingAdamW
from .checkpoints import PARTIAL, plain, refuse_unusable, saved
from .passes import PassLoader, SliceDataset
from .refusals import (
    refuse_other_than_2d,
    refuse_too_few_cases,
    refuse_unfit_data,
    refuse_uninstructive,
    refuse_unusable_split,
)
from .seeds import VARIABLE, Purpose, chosen_seed, seed_everything
from .starting_weights import describe_start, refuse_foreign_weights

ONE_PASS = 0  # batches of an epoch: as many as the data have
P_ROTATION = 0.5  # the original rotates every other image
MAX_VALIDATION_BATCHES = 50  # nnU-Net's: the score during training is an estimate, the real validation comes at the end


class nnUNetTrainerVMUNet(nnUNetTrainer):
    """VM-UNet, 300 epochs of one pass each, AdamW, cosine learning rate, BceDice or CeDice, flips and rotations.

    nnU-Net does the rest: preprocessing, inference, validation, evaluation, logging. Subclasses vary a class
    attribute or one method; they need no `__init__`, whose signature nnU-Net inspects.

    A subclass may set its own `num_iterations_per_epoch`, as a class attribute or in `__init__`.

    Raises:
        InputError: a 3D configuration or a cascade, a dataset.json that nnU-Net does not train as it is meant, or
            photographs that another reader than the dataset's was planned for.
    """

    epochs = 300
    t_max = T_MAX
    num_iterations_per_epoch = ONE_PASS
    num_val_iterations_per_epoch = ONE_PASS  # at most MAX_VALIDATION_BATCHES
    optimizer_class: type[torch.optim.AdamW] = AveragingAdamW
    network_name = PAPERS  # of plans.NETWORKS; plans that name another of ours are obeyed by the paper's trainers alone
    _best_ema: float | None  # nnU-Net's
    plans_manager: PlansManager  # nnU-Net's, both; `_change_plans` replaces them
    configuration_manager: ConfigurationManager

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008 - nnU-Net's signature
    ) -> None:
        refuse_other_than_2d(plans, configuration)
        self.description = _described(plans, dataset_json)
        self.description.refuse_untrainable()
        refuse_other_reader(self.description, plans.get("image_reader_writer"))
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = self.epochs
        self.num_iterations_per_epoch = type(self).num_iterations_per_epoch
        self.num_val_iterations_per_epoch = type(self).num_val_iterations_per_epoch
        self.initial_lr = 1e-3
        self.weight_decay = 1e-2
        self.enable_deep_supervision = False
        self.oversample_foreground_percent = 1 / 3  # of patches smaller than their image, see PassLoader
        self.save_every = min(10, max(1, self.num_epochs // 10))  # our epochs are shorter than nnU-Net's
        self.my_init_kwargs["seed"] = chosen_seed()  # nnU-Net saves these, and loads them where a training goes on
        self.step = 0  # training steps so far
        self.initialised = ""  # fingerprint of the network before any weights were loaded
        self.datasets: tuple[SliceDataset, SliceDataset] | None = None

    def initialize(self) -> None:
        """Make the plans fit for the network (its class, batch size, batches of an epoch), then do as nnU-Net does."""
        if not self.was_initialized:
            self._plan_for_vmunet()
            seed_everything(self.seed, Purpose.INITIALISATION)
        super().initialize()
        self._share_stochastic_depth()
        state_dict = self._bare_network().state_dict()
        self.initialised = fingerprint(state_dict)
        refuse_foreign_weights(self.network_name, state_dict, self.plans_manager.dataset_name)

    def on_train_start(self) -> None:
        """Do as nnU-Net does, and log which seed and which weights the training starts from."""
        super().on_train_start()
        self.print_to_log_file(
            f"Seed {self.seed} ({VARIABLE}=N sets another): a CPU repeats this training bit for bit, on the same data "
            "and versions and with the same number of threads."
        )
        if self.local_rank == 0:
            for partial in Path(self.output_folder).glob(f"*{PARTIAL}"):
                partial.unlink()  # of a training that was killed while saving
        if self.current_epoch == 0:
            self.print_to_log_file(
                describe_start(self.network_name, self.initialised, self._bare_network().state_dict())
            )

    def on_train_epoch_start(self) -> None:
        """Do as nnU-Net does, from the step that belongs to this epoch."""
        self.step = self.current_epoch * self.num_iterations_per_epoch
        super().on_train_epoch_start()
        self.use_raw_weights()

    def train_step(self, batch: dict) -> dict:
        """Do as nnU-Net does; stochastic depth follows from the seed and the number of the step."""
        seed_everything(self.seed, Purpose.STEP, self.step)
        self.step += 1
        return self.optimise(batch)

    def optimise(self, batch: dict) -> dict:
        """One step of the optimiser on data (b, c, h, w) and target; returns the "loss"."""
        return super().train_step(batch)

    def on_train_epoch_end(self, train_outputs: list[dict]) -> None:
        """Do as nnU-Net does, and say where the last step had no usable gradient: its clipping passes that over."""
        super().on_train_epoch_end(train_outputs)
        if not _has_usable_gradient(self.network):
            self.print_to_log_file(
                "Warning: the gradient of this epoch's last step was 0, infinite or not a number, so that the step "
                "taught nothing. Now and then that does no harm. Where epoch after epoch says so, the training stands "
                "still: stop it, look for extreme values in the images, or train with a lower learning rate."
            )

    def on_validation_epoch_start(self) -> None:
        """Validate the averaged weights: they are the ones that will be saved."""
        self.use_averaged_weights()
        super().on_validation_epoch_start()

    def use_averaged_weights(self) -> None:
        """Give the network the weights to validate, save and predict with."""
        if isinstance(self.optimizer, AveragingAdamW):
            self.optimizer.use_average()

    def use_raw_weights(self) -> None:
        """Give the network the weights to train on with."""
        if isinstance(self.optimizer, AveragingAdamW):
            self.optimizer.use_raw()

    @property
    def seed(self) -> int:
        """Of all that is random. A continued training has the one that it began with."""
        return self.my_init_kwargs.get("seed", 0)  # 0: begun by an earlier version

    def _share_stochastic_depth(self) -> None:
        """Let the processes of a distributed training drop together what one process would."""
        if self.is_ddp:
            share = self._first_sample_of_this_rank(), self.configuration_manager.batch_size
            for module in self._bare_network().modules():
                if isinstance(module, DropPath):
                    module.share = share

    def _bare_network(self) -> nn.Module:
        """Without the wrappers of distributed training and torch.compile."""
        network = self.network.module if self.is_ddp else self.network
        return network._orig_mod if isinstance(network, OptimizedModule) else network

    def _plan_for_vmunet(self) -> None:
        """Put our network and a batch size for it into plans made for another; one pass is an epoch either way."""
        training, validation = (len(dataset) for dataset in self.get_tr_and_val_datasets())
        changes = self._change_of_network()
        if network_class(self.configuration_manager.network_arch_class_name) is None:
            changes |= self._paper_batch(training)
            if self.description.was_averaged:
                changes["resampling_fn_data"] = AVERAGING  # what the model will see was averaged too
        if changes:
            self._change_plans(**changes)
            refuse_missing_parts(self.plans_manager.plans)
        planned = network_class(self.configuration_manager.network_arch_class_name)
        self.enable_deep_supervision = planned is not None and planned.output_scales != (1,)
        batch_size, processes = self.configuration_manager.batch_size, self._processes()
        if batch_size < processes:
            raise InputError(
                f"{self._plans_file()}: a batch_size of {batch_size} has no image for each of {processes} GPUs: train "
                f"with -num_gpus {batch_size}, or give configuration {self.configuration_name!r} a larger batch_size "
                "there"
            )
        if self.num_iterations_per_epoch == ONE_PASS:
            self.num_iterations_per_epoch = math.ceil(training / batch_size)
        if self.num_val_iterations_per_epoch == ONE_PASS:
            self.num_val_iterations_per_epoch = min(math.ceil(validation / batch_size), MAX_VALIDATION_BATCHES)

    def _change_of_network(self) -> dict:
        """What the plans must say of the network instead: nothing where they name this trainer's, with these sizes."""
        wanted = NETWORKS[self.network_name]
        planned = self.configuration_manager.configuration["architecture"]
        its_class = network_class(planned["network_class_name"])
        if its_class is not None and self.network_name == PAPERS:
            return {}
        if its_class is None or not issubclass(its_class, wanted.network_class):
            return {"architecture": architecture_of(self.network_name)}
        if wanted.sizes.items() <= planned["arch_kwargs"].items():
            return {}
        return {"architecture": {**planned, "arch_kwargs": {**planned["arch_kwargs"], **wanted.sizes}}}

    def _paper_batch(self, training_images: int) -> dict[str, int]:
        """The change of the plans' batch size; none where an inheriting configuration sets one: the user's."""
        patch_size, planned = self.configuration_manager.patch_size, self.configuration_manager.batch_size
        is_users = _sets_batch_size(self.plans_manager.plans["configurations"], self.configuration_name)
        taken = planned if is_users else paper_batch_size(patch_size, training_images, self._processes())
        title = NETWORKS[self.network_name].network_class.title
        line = (
            f"The plans are for another network: training {title} with {taken} images of "
            f"{patch_size[0]}x{patch_size[1]} per batch"
        )
        if is_users:
            self.print_to_log_file(f"{line}, as configuration {self.configuration_name!r} says.")
            return {}
        inherits = f'"{self.configuration_name}_b4": {{"inherits_from": "{self.configuration_name}", "batch_size": 4}}'
        self.print_to_log_file(
            f"{line} instead of {planned}. For another number, add a configuration such as {inherits} to "
            f"{self._plans_file()}, and train that one."
        )
        return {"batch_size": taken}

    def _plans_file(self) -> Path:
        return Path(self.preprocessed_dataset_folder_base, f"{self.plans_manager.plans_name}.json")

    def _set_batch_size_and_oversample(self) -> None:
        """nnU-Net's hook, but for the batch alone: PassLoader counts its share of foreground over all processes."""
        share = self.oversample_foreground_percent
        super()._set_batch_size_and_oversample()
        self.oversample_foreground_percent = share

    def _processes(self) -> int:
        return dist.get_world_size() if self.is_ddp else 1

    def _change_plans(self, **changes) -> None:
        """Change this configuration in the plans that are saved with the model."""
        self.plans_manager.plans["configurations"][self.configuration_name].update(changes)
        self.plans_manager = PlansManager(self.plans_manager.plans)
        self.configuration_manager = self.plans_manager.get_configuration(self.configuration_name)

    @classmethod
    def build_network_architecture(
        cls,
        plans_manager,
        configuration_manager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = False,
    ) -> nn.Module:
        """The network that the plans name: (b, c, h, w) to logits (b, heads, h, w), or a list with deep supervision.

        nnU-Net calls this for inference, and for training once the plans name ours.
        """
        if plans_manager is not None:
            refuse_missing_parts(plans_manager.plans)
        return cls.network_of(
            configuration_manager, num_input_channels, num_output_channels, deep_supervision=enable_deep_supervision
        )

    @classmethod
    def network_of(
        cls, configuration: ConfigurationManager, input_channels: int, heads: int, *, deep_supervision: bool = False
    ) -> nn.Module:
        """The same wherever it predicts, whether nnU-Net finds this package's parts there or not."""
        architecture = configuration.configuration["architecture"]
        network = build_network(architecture, input_channels, heads, deep_supervision=deep_supervision)
        network.autocast_dtype = cls.autocast_dtype()
        return network

    @staticmethod
    def autocast_dtype() -> torch.dtype | None:
        """What the network computes in under nnU-Net's autocast: bfloat16 where the GPU has it, for its range."""
        has_bfloat16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if has_bfloat16 else None

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        """nnU-Net's hook, for the networks that have several outputs."""
        if self.enable_deep_supervision:
            super().set_deep_supervision_enabled(enabled)

    def _get_deep_supervision_scales(self) -> list[list[float]] | None:
        """nnU-Net's hook: of height and width, for every output of the network, finest first."""
        if not self.enable_deep_supervision:
            return None
        network = self._bare_network()
        assert isinstance(network, UShapedNetwork)  # the only ones with which it is enabled
        return [[scale, scale] for scale in network.output_scales]

    def configure_optimizers(self):
        """AdamW over all parameters, and the cosine schedule (section 4.2 of the paper)."""
        optimizer = self.optimizer_class(
            self.network.parameters(), self.initial_lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=self.weight_decay
        )
        return optimizer, CosineSchedule(optimizer, self.initial_lr, self.t_max)

    def _build_loss(self) -> nn.Module:
        loss = self.loss_of_an_output()
        scales = self._get_deep_supervision_scales()
        return loss if scales is None else DeepSupervisionWrapper(loss, self._weights_of_outputs(len(scales)))

    def loss_of_an_output(self) -> nn.Module:
        """The paper's loss for these labels: of logits (b, heads, ...) and target (b, 1, ...), to a scalar."""
        labels = self.label_manager
        if labels.has_regions:
            return RegionBceDiceLoss(labels.has_ignore_label, self.is_ddp)
        if labels.num_segmentation_heads == 2:
            return BinaryBceDiceLoss(labels.ignore_label, self.is_ddp)
        return CeDiceLoss(labels.ignore_label, self.is_ddp)

    def _weights_of_outputs(self, outputs: int) -> list[float]:
        """nnU-Net's: each half of the one before, the coarsest 0, and a sum of 1."""
        weights = [1 / 2**i for i in range(outputs)]
        # Processes that train together wait for a gradient of every parameter, so that nnU-Net gives them some.
        weights[-1] = 1e-6 if self.is_ddp and not self._do_i_compile() else 0
        return [weight / sum(weights) for weight in weights]

    @staticmethod
    def get_training_transforms(
        patch_size,
        rotation_for_DA,
        deep_supervision_scales,
        mirror_axes,
        do_dummy_2d_data_aug,
        use_mask_for_norm=None,
        is_cascaded=False,
        foreground_labels=None,
        regions=None,
        ignore_label=None,
    ) -> BasicTransform:
        """Rotation and flips, then what nnU-Net's validation does to the labels."""
        rotation = SpatialTransform(
            patch_size,
            patch_center_dist_from_border=0,
            random_crop=False,
            p_rotation=P_ROTATION,
            rotation=rotation_for_DA,
            bg_style_seg_sampling=False,
            border_mode_seg="constant",
            padding_value_seg=-1,
        )
        mirroring = (
            [MirrorTransform(allowed_axes=mirror_axes)] if mirror_axes else []
        )  # nnUNetTrainerNoMirroring's None
        transforms = [rotation, *mirroring]
        if use_mask_for_norm is not None and any(use_mask_for_norm):
            channels = [channel for channel, masked in enumerate(use_mask_for_norm) if masked]
            transforms.append(MaskImageTransform(apply_to_channels=channels, channel_idx_in_seg=0, set_outside_to=0))
        labels = nnUNetTrainer.get_validation_transforms(
            deep_supervision_scales, is_cascaded, foreground_labels, regions, ignore_label
        )
        return ComposeTransforms([*transforms, labels])

    def get_tr_and_val_datasets(self) -> tuple[SliceDataset, SliceDataset]:
        """Training and validation part of the fold, slice by slice; opened once."""
        if self.datasets is None:
            has_ignore_label = self.label_manager.has_ignore_label
            annotated = (-1, *self.label_manager.all_labels) if has_ignore_label else None
            training, validation = (SliceDataset(part, annotated) for part in super().get_tr_and_val_datasets())
            refuse_unfit_data(
                (*training.cases, *validation.cases), Path(self.preprocessed_dataset_folder), self.description
            )
            refuse_uninstructive(training, validation, self.description, self.fold)
            self.datasets = training, validation
        return self.datasets

    def do_split(self):
        """nnU-Net's hook: names of the training and the validation cases."""
        dataset_class = infer_dataset_class(self.preprocessed_dataset_folder)
        cases = dataset_class.get_identifiers(self.preprocessed_dataset_folder)
        splits = Path(self.preprocessed_dataset_folder_base, "splits_final.json")
        refuse_too_few_cases(splits, self.fold, len(cases))
        training, validation = super().do_split()
        refuse_unusable_split(splits, self.fold, training, validation, set(cases))
        return training, validation

    def get_dataloaders(self):
        """Batches for training, rotated and mirrored, and for validation: data (b, c, h, w), target (b, 1, h, w).

        With deep supervision the target is a list, one at each of the outputs' resolutions.
        """
        rotation, dummy_2d, rotated_patch_size, mirror_axes = (
            self.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        )
        labels = {
            "foreground_labels": self.label_manager.foreground_labels,
            "regions": self.label_manager.foreground_regions if self.label_manager.has_regions else None,
            "ignore_label": self.label_manager.ignore_label,
        }
        patch_size, scales = self.configuration_manager.patch_size, self._get_deep_supervision_scales()
        training_transforms = self.get_training_transforms(
            patch_size,
            rotation,
            scales,
            mirror_axes,
            dummy_2d,
            use_mask_for_norm=self.configuration_manager.use_mask_for_norm,
            **labels,
        )
        validation_transforms = self.get_validation_transforms(scales, **labels)
        training, validation = self.get_tr_and_val_datasets()
        workers = get_allowed_n_proc_DA()
        return (
            self._augmenter(
                training,
                rotated_patch_size,
                training_transforms,
                self.num_iterations_per_epoch,
                workers,
                (Purpose.TRAINING_ORDER, Purpose.TRAINING_SAMPLE),
            ),
            self._augmenter(
                validation,
                patch_size,
                validation_transforms,
                self.num_val_iterations_per_epoch,
                math.ceil(workers / 2),
                (Purpose.VALIDATION_ORDER, Purpose.VALIDATION_SAMPLE),
            ),
        )

    def _augmenter(
        self,
        dataset: SliceDataset,
        patch_size,
        transforms: BasicTransform,
        iterations: int,
        workers: int,
        purposes: tuple[Purpose, Purpose],
        batch_size: int | None = None,
    ):
        """Batches in passes over `dataset`, in order, made by `workers` processes, or by this one if there are none.

        batch_size: of a single process, where it is not the training's.
        """
        loader = PassLoader(
            dataset,
            batch_size or self.batch_size,
            patch_size,
            self.configuration_manager.patch_size,
            self.label_manager,
            oversample_foreground_percent=self.oversample_foreground_percent,
            transforms=transforms,
            global_batch_size=batch_size or self.configuration_manager.batch_size,
            first_sample=self._first_sample_of_this_rank(),
            first_batch=self.current_epoch * iterations,
            num_workers=max(1, workers),
            seed=self.seed,
            purposes=purposes,
        )
        if workers == 0:
            return SingleThreadedAugmenter(loader, None)
        # Not nnU-Net's faster one, which takes batches in whatever order they are ready: passes need their order.
        augmenter = MultiThreadedAugmenter(
            loader, None, workers, pin_memory=self.device.type == "cuda", wait_time=0.002
        )
        augmenter._start()  # forks now, not in the first epoch
        finish_before_exit(augmenter)
        return augmenter

    def _first_sample_of_this_rank(self) -> int:
        """nnU-Net deals the global batch out evenly and the remainder to the first ranks, one each."""
        if not self.is_ddp:
            return 0
        share, remainder = divmod(self.configuration_manager.batch_size, dist.get_world_size())
        return dist.get_rank() * share + min(dist.get_rank(), remainder)

    def save_checkpoint(self, filename: str) -> None:
        """Save as nnU-Net does, but a training killed while saving keeps the checkpoint that it had.

        Its weights are the averaged ones; the optimizer's state has the raw ones beside them. The checkpoint also says
        what the model needs elsewhere, unless the trainer is a user's own.
        """
        self.use_averaged_weights()
        if type(self).__module__.startswith("nnunet_vmunet."):
            required = requirement(type(self).__name__, self.plans_manager.plans)
            self.my_init_kwargs["requires"] = required  # nnU-Net saves these as "init_args"
        # NumPy's numbers become Python's, the same to the last bit: a checkpoint opens with torch.load's weights_only.
        self.logger.load_checkpoint(plain(self.logger.get_checkpoint()))
        self._best_ema = plain(self._best_ema)
        partial = f"{filename}{PARTIAL}"
        super().save_checkpoint(partial)
        if self.local_rank == 0 and not self.disable_checkpointing:  # else nothing was written by this process
            os.replace(partial, filename)

    def load_checkpoint(self, filename_or_checkpoint: str) -> None:
        """Load as nnU-Net does, but refuse a file that no training can go on from, and name the way out."""
        try:
            super().load_checkpoint(filename_or_checkpoint)
        except Exception:
            refuse_unusable(Path(filename_or_checkpoint))
            raise
        # nnU-Net saves the latest checkpoint before it knows whether the epoch is the best so far: going on from there,
        # a worse one would take the best checkpoint's place.
        self._best_ema = saved(Path(self.output_folder, "checkpoint_best.pth"), "_best_ema")


def _sets_batch_size(configurations: dict, name: str) -> bool:
    """Whether the configuration, or one that it inherits from and that inherits itself, sets a batch size: a user's."""
    while "inherits_from" in configurations[name]:
        if "batch_size" in configurations[name]:
            return True
        name = configurations[name]["inherits_from"]
    return False


def _has_usable_gradient(network: nn.Module) -> bool:
    """Of the step before. Clipping leaves zeros of a gradient whose norm is infinite."""
    gradients = (parameter.grad for parameter in network.parameters() if parameter.grad is not None)
    return 0 < math.hypot(*(gradient.norm().item() for gradient in gradients)) < math.inf


def _described(plans: dict, dataset_json: dict) -> DatasetJson:
    dataset = plans["dataset_name"]
    return parse_dataset_json(dataset_json, (nnunet_folder("nnUNet_preprocessed") or Path()) / dataset / FILE_NAME)
