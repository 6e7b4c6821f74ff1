"""What a training saves: plain data that opens anywhere, and earlier versions' checkpoints beside it."""

import json
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

import nnunet_vmunet.requirement
from nnunet_vmunet import __version__
from nnunet_vmunet.models import VMUNet
from nnunet_vmunet.trainers import nnUNetTrainerVMUNet
from nnunet_vmunet.weights import load_original
from nnunet_vmunet.weights.checkpoint import Kind, open_checkpoint
from nnunet_vmunet.weights.filling import fill

OPEN_WITHOUT_THIS_PACKAGE = """
import json, sys
sys.modules["nnunet_vmunet"] = None  # importing it fails
import torch
checkpoint = torch.load(sys.argv[1], map_location="cpu", weights_only=True)
print(json.dumps([checkpoint["init_args"]["requires"], checkpoint["_best_ema"], checkpoint["logging"]["train_losses"]]))
"""


class MyTrainer(nnUNetTrainerVMUNet):
    """A user's own, which `nnunet-vmunet register` would not bring along."""


@pytest.fixture
def trainer(tiny_dataset):
    """One that has trained for two epochs, as far as nnU-Net's log and checkpoints know."""

    dataset = tiny_dataset()
    dataset.plans["image_reader_writer"] = "SimpleITKIO"

    def make(cls=nnUNetTrainerVMUNet):
        trainer = dataset.trainer(cls)
        trainer.initialize()
        for epoch, score in enumerate((np.float64(0.1), np.float64(0.3))):
            trainer.logger.log("train_losses", np.float32(0.1) * score, epoch)
            trainer.logger.log("dice_per_class_or_region", [score], epoch)
            trainer.logger.log("mean_fg_dice", score, epoch)
        trainer._best_ema = trainer.logger.get_value("ema_fg_dice", step=-1)
        return trainer

    return make


def save_as_earlier_versions(trainer, file, monkeypatch) -> None:
    """A checkpoint of nnU-Net's own making with the object that this package once put into it."""

    @dataclass(frozen=True)
    class Requirement:
        trainer: str
        dataset: str
        reader: str | None
        version: str

    Requirement.__module__, Requirement.__qualname__ = "nnunet_vmunet.requirement", "Requirement"
    trainer.my_init_kwargs["requires"] = Requirement(type(trainer).__name__, "Dataset900_Tiny", None, "0.1.0")
    with monkeypatch.context() as patch:
        patch.setattr(nnunet_vmunet.requirement, "Requirement", Requirement)
        nnUNetTrainer.save_checkpoint(trainer, str(file))


def test_a_checkpoint_opens_where_this_package_is_not_installed(trainer, tmp_path):
    saving, file = trainer(), tmp_path / "checkpoint_final.pth"
    saving.save_checkpoint(str(file))
    opened = subprocess.run(
        [sys.executable, "-c", OPEN_WITHOUT_THIS_PACKAGE, str(file)], capture_output=True, text=True, check=False
    )
    assert opened.returncode == 0, opened.stderr
    requires, best_ema, losses = json.loads(opened.stdout)
    assert requires == {
        "package": "nnunet-vmunet",
        "version": __version__,
        "trainer": "nnUNetTrainerVMUNet",
        "reader": "SimpleITKIO",
        "preprocessor": None,
        "resampling": None,
    }
    assert (best_ema, losses) == (saving._best_ema, saving.logger.get_value("train_losses", step=None))


def test_a_training_goes_on_from_it_with_the_same_numbers(trainer, tmp_path):
    saving, going_on = trainer(), trainer()
    before = {key: list(values) for key, values in saving.logger.get_checkpoint().items()}
    saving.save_checkpoint(str(tmp_path / "checkpoint_latest.pth"))
    going_on.load_checkpoint(str(tmp_path / "checkpoint_latest.pth"))
    assert going_on.logger.get_checkpoint() == before


def test_a_users_own_trainer_requires_nothing(trainer, tmp_path):
    file = tmp_path / "checkpoint_latest.pth"
    trainer(MyTrainer).save_checkpoint(str(file))
    assert "requires" not in torch.load(file, weights_only=True)["init_args"]


@pytest.mark.parametrize("earlier", [False, True], ids=["plain", "of an earlier version"])
def test_its_weights_are_read(earlier, trainer, tmp_path, monkeypatch):
    saving, file = trainer(), tmp_path / "checkpoint_final.pth"
    if earlier:
        save_as_earlier_versions(saving, file, monkeypatch)
        assert b"numpy" in file.read_bytes()
    else:
        saving.save_checkpoint(str(file))
    trained = saving.network.state_dict()
    network = VMUNet(1, 2)
    assert not load_original(network, file).missing
    assert all(torch.equal(tensor, trained[name]) for name, tensor in network.state_dict().items())

    checkpoint = open_checkpoint(file)
    assert checkpoint.kind is Kind.OURS
    assert checkpoint.requirement["trainer"] == "nnUNetTrainerVMUNet"
    filled = fill(VMUNet(3, 9), checkpoint)
    assert set(filled.adapted) == {"encoder.patch_embed.proj.weight"}
    assert filled.missing == ["decoder.seg_layers.0.weight", "decoder.seg_layers.0.bias"]


def test_a_training_of_an_earlier_version_goes_on_and_saves_plain_data(trainer, tmp_path, monkeypatch):
    file, going_on = tmp_path / "checkpoint_latest.pth", trainer()
    save_as_earlier_versions(trainer(), file, monkeypatch)
    going_on.load_checkpoint(str(file))
    going_on.save_checkpoint(str(file))
    assert torch.load(file, weights_only=True)["init_args"]["requires"]["version"] == __version__
