"""What a checkpoint asks for where it is taken to."""

import torch

from nnunet_vmunet.requirement import Requirement
from nnunet_vmunet.trainers import nnUNetTrainerVMUNet


class MyTrainer(nnUNetTrainerVMUNet):
    """A user's own, which `nnunet-vmunet register` would not bring along."""


def init_args_saved_by(trainer, file) -> dict:
    trainer.initialize()
    trainer.save_checkpoint(str(file))
    trainer.load_checkpoint(str(file))
    return torch.load(file, weights_only=False)["init_args"]


def test_our_trainers_ask_for_themselves_and_the_image_reader(tiny_dataset, tmp_path):
    dataset = tiny_dataset()
    dataset.plans["image_reader_writer"] = "WholeImage2DIO"
    saved = init_args_saved_by(dataset.trainer(nnUNetTrainerVMUNet), tmp_path / "checkpoint_latest.pth")
    assert saved["requires"] == Requirement("nnUNetTrainerVMUNet", "Dataset900_Tiny", "WholeImage2DIO")


def test_a_users_own_trainer_asks_for_nothing(tiny_dataset, tmp_path):
    assert "requires" not in init_args_saved_by(tiny_dataset().trainer(MyTrainer), tmp_path / "checkpoint_latest.pth")
