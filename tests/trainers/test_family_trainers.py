"""The trainers of the family: the network that each plans, deep supervision, and Swin-UMamba†'s own recipe."""

import numpy as np
import pytest
import torch
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper

from nnunet_vmunet import trainers
from nnunet_vmunet.errors import InputError
from nnunet_vmunet.losses import BinaryBceDiceLoss, CeDiceLoss, RegionBceDiceLoss
from nnunet_vmunet.plans import NETWORKS, architecture_of
from nnunet_vmunet.trainers import (
    nnUNetTrainerVMUNet_MambaUNet,
    nnUNetTrainerVMUNet_SwinUMambaD,
    nnUNetTrainerVMUNet_SwinUMambaD_paper,
    nnUNetTrainerVMUNet_T,
)

SIZES = {"depths": [1, 1, 1, 1], "dims": [8, 16, 32, 64], "d_state": 2}
THREE = {"background": 0, "one": 1, "two": 2}
REGIONS = {"background": 0, "whole": [1, 2], "core": 2}


@pytest.fixture
def small(tiny_dataset):
    """A dataset whose plans name one of the networks in a small size."""

    def make(network="swin-umamba-d", **options):
        dataset = tiny_dataset(patch_size=(32, 32), shapes=((1, 32, 32),) * 6, **options)
        architecture = architecture_of(network)
        architecture["arch_kwargs"] |= SIZES
        dataset.plans["configurations"]["2d"]["architecture"] = architecture
        return dataset

    return make


def planned(trainer) -> dict:
    return trainer.configuration_manager.configuration["architecture"]


@pytest.mark.parametrize("name", NETWORKS)
def test_each_trainer_puts_its_network_into_plans_made_for_another(name, tiny_dataset):
    trainer = tiny_dataset().trainer(getattr(trainers, NETWORKS[name].trainer))
    trainer._plan_for_vmunet()
    assert planned(trainer) == architecture_of(name)


def test_plans_of_the_trainers_own_network_are_obeyed(small):
    trainer = small("mamba-unet").trainer(nnUNetTrainerVMUNet_MambaUNet)
    trainer.initialize()
    assert planned(trainer)["arch_kwargs"]["dims"] == SIZES["dims"]
    assert trainer.network.title == "Mamba-UNet"


def test_depths_replace_those_of_vmunets_plans_and_nothing_else(small):
    trainer = small("vmunet").trainer(nnUNetTrainerVMUNet_T)
    batch = trainer.configuration_manager.batch_size
    trainer._plan_for_vmunet()
    sizes = planned(trainer)["arch_kwargs"]
    assert (sizes["depths"], sizes["depths_decoder"]) == ([2, 2, 9, 2], [2, 9, 2, 2])
    assert (sizes["dims"], sizes["d_state"]) == (SIZES["dims"], 2)
    assert trainer.configuration_manager.batch_size == batch


@pytest.mark.parametrize("variant", ["", "_5epochs", "_20epochs", "_50epochs", "_raw", "_DA", "_fp32"])
def test_vmunets_own_trainers_train_whatever_network_of_ours_the_plans_name(variant, small):
    trainer = small("swin-umamba-d").trainer(getattr(trainers, f"nnUNetTrainerVMUNet{variant}"))
    trainer.initialize()
    assert trainer.network.title == "Swin-UMamba†"
    assert trainer.enable_deep_supervision
    trainer.dataloader_train, trainer.dataloader_val = trainer.get_dataloaders()
    assert len(trainer.loss.weight_factors) == len(next(trainer.dataloader_train)["target"]) == 4
    assert np.isfinite(trainer.train_step(next(trainer.dataloader_train))["loss"])


@pytest.mark.parametrize(
    ("labels", "loss"),
    [
        ({"background": 0, "lesion": 1}, BinaryBceDiceLoss),
        (THREE, CeDiceLoss),
        (REGIONS, RegionBceDiceLoss),
        ({"background": 0, "lesion": 1, "ignore": 2}, BinaryBceDiceLoss),
    ],
    ids=["two classes", "three classes", "regions", "ignore label"],
)
def test_deep_supervision_weighs_the_outputs_as_nnunet_does(labels, loss, small):
    extra = {"regions_class_order": [1, 2]} if labels is REGIONS else {}
    trainer = small(labels=labels, **extra).trainer(nnUNetTrainerVMUNet_SwinUMambaD)
    trainer.initialize()
    assert isinstance(trainer.loss, DeepSupervisionWrapper)
    assert isinstance(trainer.loss.loss, loss)
    assert trainer.loss.weight_factors == pytest.approx((4 / 7, 2 / 7, 1 / 7, 0))
    trainer.dataloader_train, trainer.dataloader_val = trainer.get_dataloaders()
    batch = next(trainer.dataloader_train)
    assert [target.shape[-1] for target in batch["target"]] == [32, 8, 4, 2]
    trainer.network.eval()
    outputs = trainer.network(batch["data"])
    expected = sum(w * trainer.loss.loss(o, t) for w, o, t in zip((4, 2, 1), outputs, batch["target"], strict=False))
    assert trainer.loss(outputs, batch["target"]).item() == pytest.approx(expected.item() / 7)
    trainer.train_step(batch)
    gradients = [layer.weight.grad for layer in trainer.network.decoder.seg_layers]
    assert gradients[0] is None  # of the coarsest, whose weight is 0
    assert all(gradient.any() for gradient in gradients[1:])
    trainer.validation_step(next(trainer.dataloader_val))


def test_other_networks_have_no_deep_supervision(small):
    trainer = small("mamba-unet").trainer(nnUNetTrainerVMUNet_MambaUNet)
    trainer.initialize()
    assert not trainer.enable_deep_supervision
    trainer.set_deep_supervision_enabled(True)  # as nnU-Net does after each validation
    assert isinstance(trainer.network(torch.zeros(1, 1, 32, 32)), torch.Tensor)


def test_a_model_predicts_without_deep_supervision(small):
    trainer = small().trainer(nnUNetTrainerVMUNet_SwinUMambaD)
    trainer.initialize()
    predicting = (
        type(trainer)
        .build_network_architecture(None, trainer.configuration_manager, 1, 2, enable_deep_supervision=False)
        .eval()
    )
    predicting.load_state_dict(trainer.network.state_dict())
    trainer.set_deep_supervision_enabled(False)
    image = torch.randn(1, 1, 40, 33)
    assert torch.equal(predicting(image), trainer.network.eval()(image))


class Short(nnUNetTrainerVMUNet_SwinUMambaD_paper):
    epochs = t_max = 12
    num_iterations_per_epoch = num_val_iterations_per_epoch = 1


def recipe(dataset, weights: bool):
    """A short training by Swin-UMamba†'s recipe, from given weights or without."""
    trainer = dataset.trainer(Short)
    trainer.initialize()
    if weights:
        with torch.no_grad():
            trainer.network.encoder.patch_embed.proj.bias += 1
    trainer.on_train_start()
    return trainer


def test_the_recipe_is_its_authors(small):
    trainer = recipe(small(labels=THREE), weights=True)
    optimizer = trainer.optimizer
    assert type(optimizer) is torch.optim.AdamW
    (group,) = optimizer.param_groups
    assert (group["lr"], group["weight_decay"], group["eps"]) == (1e-4, 0.05, 1e-5)
    trainer.lr_scheduler.step(12)
    assert group["lr"] == pytest.approx(1e-6)
    assert isinstance(trainer.loss.loss, DC_and_CE_loss)
    assert trainer.loss.weight_factors == pytest.approx((4 / 7, 2 / 7, 1 / 7, 0))
    recipe_class = nnUNetTrainerVMUNet_SwinUMambaD_paper
    assert (recipe_class.epochs, recipe_class.num_iterations_per_epoch) == (1000, 250)
    assert trainer.configuration_manager.batch_size == 12  # the plans' own


def test_the_recipe_freezes_a_given_encoder_for_ten_epochs_but_for_its_patch_embedding(small):
    trainer = recipe(small(labels=THREE), weights=True)
    scan = "encoder.stages.0.blocks.0.ss2d.A_logs"
    for epoch in (0, 9, 10):
        trainer.current_epoch = epoch
        trainer.on_train_epoch_start()
        before = {name: values.clone() for name, values in trainer.network.state_dict().items()}
        trainer.train_step(next(trainer.dataloader_train))
        after = trainer.network.state_dict()
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert "encoder.patch_embed.proj.weight" in changed
        assert "decoder.stages.0.merge.weight" in changed
        assert (scan in changed) == (epoch == 10)


def test_the_recipe_trains_an_encoder_without_given_weights_from_the_start(small):
    trainer = recipe(small(labels=THREE), weights=False)
    trainer.on_train_epoch_start()
    assert all(parameter.requires_grad for parameter in trainer.network.parameters())


def test_a_continued_training_stays_frozen(small, tmp_path):
    dataset = small(labels=THREE)
    trainer = recipe(dataset, weights=True)
    trainer.on_train_epoch_start()
    trainer.on_epoch_end = lambda: None
    trainer.current_epoch = 3
    for key in ("train_losses", "val_losses", "mean_fg_dice", "ema_fg_dice", "dice_per_class_or_region"):
        trainer.logger.log(key, 0.0, 0)
    trainer.save_checkpoint(str(tmp_path / "latest.pth"))
    continued = dataset.trainer(Short)
    continued.load_checkpoint(str(tmp_path / "latest.pth"))
    continued.on_train_start()
    continued.on_train_epoch_start()
    frozen = [name for name, parameter in continued.network.named_parameters() if not parameter.requires_grad]
    assert frozen
    assert all(name.startswith("encoder.") and "patch_embed" not in name for name in frozen)


def test_the_recipe_refuses_several_gpus(small, monkeypatch):
    for name, value in (("is_available", True), ("is_initialized", True), ("get_rank", 0), ("get_world_size", 2)):
        monkeypatch.setattr(torch.distributed, name, lambda *_, value=value: value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InputError, match="trains on one GPU, because it freezes: leave out -num_gpus"):
        small().trainer(nnUNetTrainerVMUNet_SwinUMambaD_paper)
