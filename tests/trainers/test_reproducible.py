"""Trainings that repeat bit for bit on a CPU: crops, rotations, flips and stochastic depth are all on."""

from pathlib import Path

import pytest
import torch
from nnunetv2.training.logging.nnunet_logger import LocalLogger

from nnunet_vmunet.plans import NETWORK
from nnunet_vmunet.trainers import averaging, nnUNetTrainerVMUNet, nnUNetTrainerVMUNet_DA, nnUNetTrainerVMUNet_raw
from nnunet_vmunet.trainers.seeds import VARIABLE

SMALL = {"depths": [2, 2], "depths_decoder": [2, 1], "dims": [16, 32], "d_state": 16, "drop_path_rate": 0.5}


class TwoEpochs(nnUNetTrainerVMUNet):
    epochs = 2


class TwoEpochsDA(nnUNetTrainerVMUNet_DA):
    epochs = 2


class TwoEpochsRaw(nnUNetTrainerVMUNet_raw):
    epochs = 2


@pytest.fixture
def train(tiny_dataset, monkeypatch, tmp_path):
    """train(trainer, workers, seed, threads): the tensors of the final checkpoint of a new training."""
    monkeypatch.setattr(LocalLogger, "plot_progress_png", lambda self, folder: None)  # takes longer than an epoch here
    dataset = tiny_dataset(shapes=((1, 48, 40),) * 9, patch_size=(32, 32))
    architecture = {"network_class_name": NETWORK, "arch_kwargs": SMALL, "_kw_requires_import": []}
    dataset.plans["configurations"]["2d"].update(architecture=architecture, batch_size=4)
    before = torch.get_num_threads()

    def train(trainer_class=TwoEpochs, workers=0, seed="", threads=2) -> dict[str, torch.Tensor]:
        monkeypatch.setenv("nnUNet_n_proc_DA", str(workers))
        monkeypatch.setenv(VARIABLE, seed)
        torch.set_num_threads(threads)
        trainer = dataset.trainer(trainer_class)
        trainer.run_training()
        checkpoint = torch.load(Path(trainer.output_folder, "checkpoint_final.pth"), weights_only=False)
        state = checkpoint["optimizer_state"]["state"]
        moments = {f"{number} {name}": value for number, entry in state.items() for name, value in entry.items()}
        return {**checkpoint["network_weights"], **moments}

    yield train
    torch.set_num_threads(before)


def same_bits(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("trainer", [TwoEpochs, TwoEpochsDA], ids=lambda trainer: trainer.__name__)
def test_zero_one_and_three_workers_train_the_same_weights(train, trainer):
    alone = train(trainer)
    torch.rand(7)  # what a process drew before the training does not matter
    assert same_bits(train(trainer, workers=1), alone)
    assert same_bits(train(trainer, workers=3), alone)


def test_the_seed_is_what_makes_a_difference(train):
    first = train(seed="1")
    assert same_bits(train(seed="1"), first)
    assert not same_bits(train(seed="2"), first)


def test_the_average_changes_nothing_about_the_steps(train, monkeypatch):
    """The raw weights stand in the optimizer's state of the one, and are the weights of the other."""
    monkeypatch.setattr(averaging, "SHARE", 0.5)  # else four steps are too few for an average
    averaged, raw = train(), train(TwoEpochsRaw)
    names = [name for name in raw if not name[0].isdigit()]
    for number, name in enumerate(names):
        assert torch.equal(averaged[f"{number} other"], raw[name]), name
    assert not torch.equal(averaged[names[0]], raw[names[0]])
