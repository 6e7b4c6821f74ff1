import inspect
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerNoMirroring import nnUNetTrainerNoMirroring
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_vmunet import trainers
from nnunet_vmunet.errors import InputError
from nnunet_vmunet.losses import BinaryBceDiceLoss, CeDiceLoss, RegionBceDiceLoss
from nnunet_vmunet.models import VMUNet
from nnunet_vmunet.plans import NETWORK
from nnunet_vmunet.schedule import cosine_lr
from nnunet_vmunet.trainers import nnUNetTrainerVMUNet

SMALL = {"depths": [1, 1], "depths_decoder": [1, 1], "dims": [8, 16], "d_state": 4}
OUR_ARCHITECTURE = {"network_class_name": NETWORK, "arch_kwargs": SMALL, "_kw_requires_import": []}


class OneEpoch(nnUNetTrainerVMUNet):
    epochs = 1


@pytest.fixture
def small(tiny_dataset):
    """A dataset whose plans name our network at a size that trains in a second."""

    def make(**kwargs):
        dataset = tiny_dataset(**kwargs)
        dataset.plans["configurations"]["2d"].update(architecture=OUR_ARCHITECTURE, batch_size=2)
        return dataset

    return make


def test_hyperparameters_are_the_papers(small):
    trainer = small().trainer(nnUNetTrainerVMUNet)
    trainer.initialize()
    assert trainer.num_epochs == 300
    assert isinstance(trainer.optimizer, torch.optim.AdamW)
    group = trainer.optimizer.param_groups[0]
    assert (group["lr"], group["betas"], group["eps"], group["weight_decay"]) == (1e-3, (0.9, 0.999), 1e-8, 1e-2)
    assert len(trainer.optimizer.param_groups) == 1  # every parameter decays, as in the original
    trainer.lr_scheduler.step(60)
    assert group["lr"] == cosine_lr(60, 1e-3)


def test_plans_for_another_network_get_ours_and_the_papers_batch(tiny_dataset):
    dataset = tiny_dataset(shapes=((1, 16, 16),) * 41)
    trainer = dataset.trainer(nnUNetTrainerVMUNet)
    trainer.initialize()
    saved = trainer.plans_manager.plans["configurations"]["2d"]
    assert saved["batch_size"] == trainer.batch_size == 32
    assert saved["architecture"]["network_class_name"] == NETWORK
    assert type(trainer.network) is VMUNet
    log = next(trainer_log.read_text() for trainer_log in log_files(trainer))
    assert "training VM-UNet with 32 images of 16x16 per batch instead of 12" in log


NNUNETS_RESAMPLING = {"resampling_fn_data": "resample_data_or_seg_to_shape"}


@pytest.mark.parametrize(
    ("size", "expected"), [(256, "resample_averaging"), ("native", NNUNETS_RESAMPLING["resampling_fn_data"])]
)
def test_photographs_that_a_converter_averaged_will_be_averaged_when_predicting(
    tiny_dataset, registered, size, expected
):
    dataset = tiny_dataset(overwrite_image_reader_writer="WholeGreyImage2DIO", size=size)
    dataset.plans["image_reader_writer"] = "WholeGreyImage2DIO"
    dataset.plans["configurations"]["2d"].update(NNUNETS_RESAMPLING)
    trainer = dataset.trainer(nnUNetTrainerVMUNet)
    trainer.initialize()
    assert trainer.plans_manager.plans["configurations"]["2d"]["resampling_fn_data"] == expected


def test_plans_that_name_our_network_are_obeyed(small):
    trainer = small().trainer(nnUNetTrainerVMUNet)
    trainer.initialize()
    assert trainer.batch_size == 2
    assert len(trainer.network.encoder.stages) == 2
    assert trainer.network.encoder.patch_embed.proj.out_channels == 8


class Variant(VMUNet):
    """A user's own network."""


def test_plans_that_name_a_subclass_are_obeyed(small):
    dataset = small()
    architecture = {**OUR_ARCHITECTURE, "network_class_name": f"{__name__}.Variant"}
    dataset.plans["configurations"]["2d"]["architecture"] = architecture
    trainer = dataset.trainer(nnUNetTrainerVMUNet)
    trainer.initialize()
    assert type(trainer.network).__name__ == "Variant"
    assert trainer.plans_manager.plans["configurations"]["2d"]["architecture"] == architecture


def test_an_epoch_is_one_pass(small):
    trainer = small(shapes=((1, 16, 16),) * 6).trainer(nnUNetTrainerVMUNet)
    trainer.initialize()
    assert trainer.num_iterations_per_epoch == 3  # 5 images, 2 at a time
    assert trainer.num_val_iterations_per_epoch == 1


def test_an_epoch_of_volumes_is_one_pass_over_their_slices(small):
    trainer = small(shapes=((4, 16, 16), (7, 20, 12), (3, 16, 16))).trainer(nnUNetTrainerVMUNet)
    trainer.initialize()
    assert trainer.num_iterations_per_epoch == 6  # 11 slices, 2 at a time
    training, _ = trainer.get_dataloaders()
    seen = [key for _ in range(6) for key in next(training)["keys"]]
    assert set(seen[:11]) == {("case00", z) for z in range(4)} | {("case01", z) for z in range(7)}


def test_worker_processes_keep_the_order_of_the_pass(small, monkeypatch):
    trainer = small(shapes=((1, 16, 16),) * 9).trainer(nnUNetTrainerVMUNet)
    trainer.initialize()
    alone, _ = trainer.get_dataloaders()
    monkeypatch.setenv("nnUNet_n_proc_DA", "2")
    shared, validation = trainer.get_dataloaders()
    try:
        for _ in range(6):
            assert next(shared)["keys"] == next(alone)["keys"]
        assert next(validation)["keys"] == [("case08", 0)] * 2
    finally:
        shared._finish()
        validation._finish()


@pytest.mark.parametrize(
    ("labels", "extra", "loss"),
    [
        ({"background": 0, "lesion": 1}, {}, BinaryBceDiceLoss),
        ({"background": 0, "lesion": 1, "ignore": 2}, {}, BinaryBceDiceLoss),
        ({"background": 0, "a": 1, "b": 2}, {}, CeDiceLoss),
        ({"background": 0, "whole": [1, 2], "core": [2]}, {"regions_class_order": [1, 2]}, RegionBceDiceLoss),
    ],
    ids=["binary", "binary with ignore", "classes", "regions"],
)
def test_loss_follows_the_labels_and_trains(small, labels, extra, loss):
    dataset = small(labels=labels, **extra)
    trainer = dataset.trainer(OneEpoch)
    trainer.initialize()
    assert isinstance(trainer.loss, loss)
    trainer.run_training()
    assert np.isfinite(trainer.logger.get_value("train_losses", step=-1))
    assert np.isfinite(trainer.logger.get_value("val_losses", step=-1))


@pytest.mark.parametrize(
    ("factor", "warns"), [(1, False), (1e30, True), (np.nan, True), (0, True)], ids=["usual", "huge", "no number", "0"]
)
def test_the_log_warns_of_an_epoch_that_taught_nothing(small, factor, warns):
    trainer = small().trainer(OneEpoch)
    trainer.initialize()
    loss = trainer.loss
    trainer.loss = lambda logits, target: factor * loss(logits, target)
    trainer.run_training()
    assert ("taught nothing" in Path(trainer.log_file).read_text()) == warns


class TenBatches(OneEpoch):
    num_iterations_per_epoch = 10


class FourBatches(OneEpoch):
    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_iterations_per_epoch = 4
        self.num_val_iterations_per_epoch = 2


@pytest.mark.parametrize(("cls", "training", "validation"), [(TenBatches, 10, 1), (FourBatches, 4, 2)])
def test_a_subclass_may_count_its_batches_itself(small, cls, training, validation):
    trainer = small(shapes=((1, 16, 16),) * 6).trainer(cls)
    trainer.initialize()
    assert trainer.num_iterations_per_epoch == training
    assert trainer.num_val_iterations_per_epoch == validation


class NoMirroringFirst(nnUNetTrainerNoMirroring, OneEpoch):
    pass


class NoMirroringLast(OneEpoch, nnUNetTrainerNoMirroring):
    pass


@pytest.mark.parametrize("cls", [NoMirroringFirst, NoMirroringLast])
def test_nnunets_mixin_without_mirroring(small, cls, tmp_path):
    trainer = small().trainer(cls)
    trainer.run_training()
    transforms = trainer.dataloader_train.data_loader.transforms.transforms
    assert next(type(transform).__name__ for transform in transforms) == "SpatialTransform"
    assert "Mirror" not in str(transforms)
    trainer.save_checkpoint(str(tmp_path / "checkpoint.pth"))
    # What nnUNetv2_predict goes by.
    assert torch.load(tmp_path / "checkpoint.pth", weights_only=True)["inference_allowed_mirroring_axes"] is None


@pytest.mark.parametrize("configuration", ["2d_b4", "2d_b4_again"])
def test_a_batch_size_that_an_inheriting_configuration_sets_is_the_users(tiny_dataset, configuration):
    dataset = tiny_dataset(shapes=((1, 16, 16),) * 41)
    dataset.plans["configurations"]["2d_b4"] = {"inherits_from": "2d", "batch_size": 4}
    dataset.plans["configurations"]["2d_b4_again"] = {"inherits_from": "2d_b4"}
    trainer = dataset.trainer(nnUNetTrainerVMUNet, configuration)
    trainer.initialize()
    assert trainer.batch_size == trainer.configuration_manager.batch_size == 4
    assert trainer.num_iterations_per_epoch == 10
    assert type(trainer.network) is VMUNet
    log = next(trainer_log.read_text() for trainer_log in log_files(trainer))
    assert f"with 4 images of 16x16 per batch, as configuration {configuration!r} says" in log


def test_the_log_says_how_to_set_a_batch_size(tiny_dataset):
    """And the configuration that it writes out does."""
    dataset = tiny_dataset(shapes=((1, 16, 16),) * 41)
    trainer = dataset.trainer(nnUNetTrainerVMUNet)
    trainer.initialize()
    log = next(trainer_log.read_text() for trainer_log in log_files(trainer))
    [configuration] = re.findall(r"add a configuration such as (.*) to (.*/nnUNetPlans\.json), and train", log)
    dataset.plans["configurations"].update(json.loads(f"{{{configuration[0]}}}"))
    named = dataset.trainer(nnUNetTrainerVMUNet, "2d_b4")
    named.initialize()
    assert named.batch_size == 4


def test_a_3d_configuration_is_refused_with_the_reason(tiny_dataset):
    with pytest.raises(InputError, match=r"VM-UNet is a 2D network and configuration '3d_fullres'"):
        tiny_dataset().trainer(nnUNetTrainerVMUNet, "3d_fullres")


def test_augmentation_is_rotation_and_flips_only(small):
    trainer = small().trainer(nnUNetTrainerVMUNet)
    trainer.initialize()
    training, _ = trainer.get_dataloaders()
    transforms = training.data_loader.transforms.transforms
    names = [type(transform).__name__ for transform in transforms]
    assert names[:2] == ["SpatialTransform", "MirrorTransform"]
    assert not any(word in str(names) for word in ("Gamma", "Noise", "Blur", "Contrast", "Brightness", "LowRes"))
    spatial = transforms[0]
    assert (spatial.p_rotation, spatial.p_scaling, spatial.p_elastic_deform) == (0.5, 0, 0)


def test_full_augmentation_variant_is_nnunets():
    assert trainers.nnUNetTrainerVMUNet_DA.get_training_transforms is nnUNetTrainer.get_training_transforms


@pytest.mark.parametrize("name", trainers.__all__)
def test_variants_keep_the_init_that_nnunet_inspects(name):
    parameters = list(inspect.signature(getattr(trainers, name).__init__).parameters)
    assert parameters == list(inspect.signature(nnUNetTrainer.__init__).parameters)


@pytest.mark.parametrize(("suffix", "epochs"), [("5epochs", 5), ("20epochs", 20), ("50epochs", 50), ("DA", 300)])
def test_variants_by_suffix(small, suffix, epochs):
    assert small().trainer(getattr(trainers, f"nnUNetTrainerVMUNet_{suffix}")).num_epochs == epochs


def test_float32_variant_neither_casts_nor_scales(small):
    before = torch.get_autocast_dtype("cuda")
    trainer = small().trainer(trainers.nnUNetTrainerVMUNet_fp32)
    trainer.initialize()
    assert trainer.grad_scaler is None
    with torch.autocast("cpu", torch.bfloat16):
        assert trainer.network(torch.zeros(1, 1, 16, 16)).dtype == torch.float32
    assert torch.get_autocast_dtype("cuda") == before  # other networks of the process keep theirs


def test_bfloat16_is_the_networks_own_where_the_gpu_has_it(small, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: not including_emulation)
    before = torch.get_autocast_dtype("cuda")
    plans = PlansManager(small().plans)
    network = nnUNetTrainerVMUNet.build_network_architecture(plans, plans.get_configuration("2d"), 1, 2)
    assert network.autocast_dtype == torch.bfloat16
    assert torch.get_autocast_dtype("cuda") == before


def test_a_training_killed_while_saving_keeps_its_checkpoint(small, monkeypatch, tmp_path):
    trainer = small().trainer(nnUNetTrainerVMUNet)
    trainer.initialize()
    file = tmp_path / "checkpoint_latest.pth"
    trainer.save_checkpoint(str(file))
    before = file.read_bytes()

    def killed_half_way(checkpoint, filename):
        with open(filename, "wb") as partial:
            partial.write(b"half a checkpoint")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", killed_half_way)
    with pytest.raises(KeyboardInterrupt):
        trainer.save_checkpoint(str(file))
    assert file.read_bytes() == before


def test_only_the_process_that_writes_a_checkpoint_puts_it_in_place(small, tmp_path):
    trainer = small().trainer(nnUNetTrainerVMUNet)
    trainer.initialize()
    half_written = tmp_path / "checkpoint_latest.pth.partial"
    half_written.write_bytes(b"rank 0 is still writing")
    trainer.local_rank = 1
    trainer.save_checkpoint(str(tmp_path / "checkpoint_latest.pth"))
    assert half_written.exists()
    assert not (tmp_path / "checkpoint_latest.pth").exists()


def test_oversampling_is_on_by_default_and_the_same_in_all_processes(small):
    trainer = small().trainer(nnUNetTrainerVMUNet)
    trainer.initialize()
    training, validation = trainer.get_dataloaders()
    for loader in (training, validation):
        assert loader.data_loader.oversample_foreground_percent == pytest.approx(1 / 3)


def test_saved_plans_build_the_network_for_inference(tiny_dataset):
    trainer = tiny_dataset().trainer(OneEpoch)
    trainer.initialize()
    plans = PlansManager(json.loads(json.dumps(trainer.plans_manager.plans)))
    network = OneEpoch.build_network_architecture(plans, plans.get_configuration("2d"), 1, 2, False)
    network.load_state_dict(trainer.network.state_dict())


def log_files(trainer):
    return iter_files(trainer, "training_log_*.txt")


def iter_files(trainer, pattern):
    return Path(trainer.output_folder).glob(pattern)
