"""Trainings that are killed at any moment, and continued."""

import itertools
import multiprocessing
import os
import random
import signal
import time
from multiprocessing import Process, synchronize
from multiprocessing.connection import Connection
from multiprocessing.util import Finalize
from pathlib import Path

import pytest
import torch
from nnunetv2.training.logging.nnunet_logger import LocalLogger

from nnunet_vmunet.errors import InputError
from nnunet_vmunet.plans import NETWORK
from nnunet_vmunet.schedule import cosine_lr
from nnunet_vmunet.trainers import nnUNetTrainerVMUNet

SMALL = {"depths": [1, 1], "depths_decoder": [1, 1], "dims": [8, 16], "d_state": 4}
EPOCHS = 4
LATEST, BEST, FINAL = (f"checkpoint_{name}.pth" for name in ("latest", "best", "final"))


class Killed(Exception):
    """Stands in for a signal, in this process."""


class FourEpochs(nnUNetTrainerVMUNet):
    epochs = EPOCHS
    killed_in = None  # the epoch

    def train_step(self, batch):
        if self.current_epoch == self.killed_in:
            raise Killed
        return super().train_step(batch)


@pytest.fixture
def dataset(tiny_dataset, monkeypatch):
    monkeypatch.setattr(LocalLogger, "plot_progress_png", lambda self, folder: None)  # takes longer than an epoch here
    dataset = tiny_dataset()
    network = {"network_class_name": NETWORK, "arch_kwargs": SMALL, "_kw_requires_import": []}
    dataset.plans["configurations"]["2d"].update(architecture=network, batch_size=2)
    return dataset


def trainer_of(dataset):
    trainer = dataset.trainer(FourEpochs)
    trainer.initialize()
    return trainer


def kill_in_epoch_2(dataset) -> Path:
    """The folder that a training leaves when epoch 1, counted from 0, was its last whole one."""
    trainer = trainer_of(dataset)
    trainer.killed_in = 2
    with pytest.raises(Killed):
        trainer.run_training()
    return Path(trainer.output_folder)


def continued(dataset, folder):
    """What `nnUNetv2_train --c` does with the latest checkpoint in `folder`."""
    trainer = dataset.trainer(FourEpochs)
    trainer.load_checkpoint(str(folder / LATEST))
    return trainer


def final(trainer) -> dict:
    return torch.load(Path(trainer.output_folder, FINAL), weights_only=False)


def same_bits(one: dict, other: dict) -> bool:
    """Whether two checkpoints have the same weights, averaged and raw, and the same moments."""
    one, other = ({**c["network_weights"], **tensors_of(c["optimizer_state"]["state"])} for c in (one, other))
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def tensors_of(state: dict) -> dict:
    return {(number, name): value for number, entry in state.items() for name, value in entry.items()}


def test_a_continued_training_equals_an_uninterrupted_one(dataset, monkeypatch, tmp_path):
    whole = trainer_of(dataset)
    whole.run_training()
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "killed"))
    trainer = continued(dataset, kill_in_epoch_2(dataset))
    assert trainer.current_epoch == 2
    trainer.run_training()

    ours, theirs = trainer.logger.get_checkpoint(), whole.logger.get_checkpoint()
    assert ours["lrs"] == theirs["lrs"] == [cosine_lr(epoch, 1e-3) for epoch in range(EPOCHS)]
    for curve in ("train_losses", "val_losses", "mean_fg_dice", "ema_fg_dice"):
        assert len(ours[curve]) == EPOCHS  # no gap, and no epoch twice
        assert ours[curve] == pytest.approx(theirs[curve], rel=0, abs=0, nan_ok=True), curve
    assert trainer._best_ema == whole._best_ema
    assert same_bits(final(trainer), final(whole))


def test_the_optimizer_continues_with_its_moments(dataset):
    folder = kill_in_epoch_2(dataset)
    before = torch.load(folder / LATEST, weights_only=False)["optimizer_state"]["state"]
    after = continued(dataset, folder).optimizer.state_dict()["state"]
    assert len(before) == len(after) > 0
    for number, state in before.items():
        assert state["step"] == 6  # two epochs of 5 images, 2 at a time
        assert all(torch.equal(after[number][name], value) for name, value in state.items())


def test_the_best_checkpoint_gives_way_to_a_better_one_alone(dataset):
    folder = kill_in_epoch_2(dataset)
    # nnU-Net saves the latest checkpoint of an epoch before it knows that the epoch is the best.
    for name, best_so_far in ((LATEST, -1.0), (BEST, 0.99)):
        torch.save({**torch.load(folder / name, weights_only=False), "_best_ema": best_so_far}, folder / name)
    before = (folder / BEST).read_bytes()
    continued(dataset, folder).run_training()
    assert (folder / BEST).read_bytes() == before
    assert (folder / FINAL).exists()


@pytest.mark.parametrize("state", ["absent", "damaged"])
def test_without_a_best_checkpoint_the_next_epoch_makes_one(dataset, state):
    folder = kill_in_epoch_2(dataset)
    (folder / BEST).unlink()
    if state == "damaged":
        (folder / BEST).write_bytes(b"PK and nothing more")
    continued(dataset, folder).run_training()
    assert torch.load(folder / BEST, weights_only=False)["current_epoch"] >= 3


def test_a_finished_training_continues_to_the_same_end(dataset):
    """As `--c` does when the validation after the training was killed."""
    finished = trainer_of(dataset)
    finished.run_training()
    file = Path(finished.output_folder, FINAL)
    before = torch.load(file, weights_only=False)
    again = dataset.trainer(FourEpochs)
    again.load_checkpoint(str(file))
    again.run_training()
    after = torch.load(file, weights_only=False)
    assert before["current_epoch"] == after["current_epoch"] == EPOCHS
    assert before["logging"] == after["logging"]
    assert all(torch.equal(after["network_weights"][name], w) for name, w in before["network_weights"].items())


def test_what_was_half_saved_is_cleared_away(dataset):
    folder = kill_in_epoch_2(dataset)
    (folder / f"{BEST}.partial").write_bytes(b"half a checkpoint")
    continued(dataset, folder).run_training()
    assert not list(folder.glob("*.partial"))


@pytest.mark.parametrize("kept", [0, 0.3, 0.999])
def test_a_damaged_checkpoint_is_refused_with_the_way_out(dataset, kept):
    folder = kill_in_epoch_2(dataset)
    whole = (folder / LATEST).read_bytes()
    (folder / LATEST).write_bytes(whole[: int(kept * len(whole))])
    epochs = torch.load(folder / BEST, weights_only=False)["current_epoch"]
    expected = rf"delete it, and --c goes on from checkpoint_best\.pth, which has {epochs} epochs$"
    with pytest.raises(InputError, match=expected) as refusal:
        continued(dataset, folder)
    assert str(refusal.value).startswith(f"{folder / LATEST} is cut off or damaged ({int(kept * len(whole)):,} bytes)")
    (folder / BEST).unlink()
    with pytest.raises(InputError, match="start again without --c"):
        continued(dataset, folder)


def test_weights_alone_are_no_training_to_continue(dataset, tmp_path):
    trainer = trainer_of(dataset)
    file = tmp_path / FINAL
    torch.save({"network_weights": trainer.network.state_dict(), "init_args": {}}, file)
    with pytest.raises(InputError, match="no training that could be continued: start one with -pretrained_weights"):
        trainer.load_checkpoint(str(file))


def test_a_checkpoint_of_another_network_fails_as_in_nnunet(dataset, tmp_path):
    trainer = trainer_of(dataset)
    trainer.save_checkpoint(str(tmp_path / FINAL))
    dataset.plans["configurations"]["2d"]["architecture"]["arch_kwargs"] = {**SMALL, "dims": [16, 32]}
    with pytest.raises(RuntimeError, match="size mismatch"):
        trainer_of(dataset).load_checkpoint(str(tmp_path / FINAL))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("kills", [4, pytest.param(25, marks=pytest.mark.slow)])
def test_whenever_it_is_killed_the_checkpoint_is_one_of_those_saved(kills, dataset, tmp_path):
    trainer = trainer_of(dataset)
    file = tmp_path / LATEST

    def save_for_ever(first: int):
        for epoch in itertools.count(first):
            trainer.current_epoch = epoch
            with torch.no_grad():
                for parameter in trainer.network.parameters():
                    parameter.fill_(epoch)
            trainer.save_checkpoint(str(file))

    moments = random.Random(0)
    reached, interrupted = 0, 0
    for _ in range(kills):
        last = file.stat().st_mtime_ns if file.exists() else None
        process = multiprocessing.get_context("fork").Process(target=save_for_ever, args=(reached,))
        process.start()
        for _ in range(2):  # saves, however busy the machine is
            wait_for(lambda last=last: file.exists() and file.stat().st_mtime_ns != last)
            last = file.stat().st_mtime_ns
        time.sleep(moments.uniform(0, 0.05))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        checkpoint = torch.load(file, weights_only=False)
        epoch = checkpoint["current_epoch"] - 1
        assert epoch >= reached - 1  # nothing complete was lost
        assert all((tensor == epoch).all() for tensor in checkpoint["network_weights"].values())
        reached = epoch + 1
        interrupted += Path(f"{file}.partial").exists()
    assert reached > kills
    assert interrupted or kills < 25  # some of many kills hit the writing


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda how: how.name)
def test_loading_workers_end_with_the_training(dataset, monkeypatch, how):
    monkeypatch.setenv("nnUNet_n_proc_DA", "3")
    training, workers, _ = loading(dataset)
    time.sleep(0.2)  # their queues are full by now: they draw no further batch
    os.kill(training.pid, how)
    assert_all_end(training, workers)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_no_loading_worker_of_an_interrupted_training_is_killed(dataset, monkeypatch):
    """It may hold the lock of the event that tells the others to end, and who sets the event would wait for ever."""
    monkeypatch.setenv("nnUNet_n_proc_DA", "3")

    def is_set_after_a_while(event):
        with event._cond:
            time.sleep(0.05 * multiprocessing.current_process().daemon)  # in a worker
            return event._flag.get_value() > 0

    monkeypatch.setattr(synchronize.Event, "is_set", is_set_after_a_while)
    training, workers, exit_codes = loading(dataset)
    os.kill(training.pid, signal.SIGINT)
    assert_all_end(training, workers)
    assert exit_codes.recv() == [0] * len(workers)


def loading(dataset) -> tuple[Process, list[int], Connection]:
    """A training that waits after a batch, its loading workers, and what their exit codes come from at the end."""
    receiver, sender = multiprocessing.Pipe(duplex=False)

    def train():
        torch.set_num_threads(1)  # OpenMP's other threads are the parent's: this process would wait for them in vain
        signal.signal(signal.SIGINT, signal.default_int_handler)
        trainer = trainer_of(dataset)
        loaders = trainer.get_dataloaders()
        next(loaders[0])
        workers = [process for loader in loaders for process in loader._processes]
        Finalize(None, lambda: sender.send([worker.exitcode for worker in workers]), exitpriority=-1)
        sender.send([worker.pid for worker in workers])
        time.sleep(60)

    training = multiprocessing.get_context("fork").Process(target=train)
    training.start()
    assert receiver.poll(60)
    workers = receiver.recv()
    assert len(workers) >= 2  # as many as there are cores, and some for validation
    assert all(running(worker) for worker in workers)
    return training, workers, receiver


def assert_all_end(training: Process, workers: list[int]) -> None:
    try:
        training.join(10)
        assert training.exitcode
        wait_for(lambda: not any(running(worker) for worker in workers))
    finally:
        for process in filter(running, [training.pid, *workers]):
            os.kill(process, signal.SIGKILL)


def test_a_process_without_a_parent_of_its_own_is_left_alone(dataset):
    trainer = trainer_of(dataset)
    training, _ = trainer.get_dataloaders()
    training.data_loader.set_thread_id(0)
    assert next(training)["data"].shape == (2, 1, 16, 16)


def running(pid: int) -> bool:
    """From Linux's /proc: a process whose parent was killed may stay a zombie for a while."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
