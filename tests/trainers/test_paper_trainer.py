"""nnUNetTrainerVMUNet_paper: a step against the paper's formulas, its augmentation, the weights that it ends with."""

import math
import shutil

import numpy as np
import pytest
import torch
from nnunetv2.training.logging.nnunet_logger import LocalLogger
from scipy import ndimage

from nnunet_vmunet.errors import InputError
from nnunet_vmunet.models import VMUNet
from nnunet_vmunet.plans import NETWORK, paper_architecture
from nnunet_vmunet.trainers import nnUNetTrainerVMUNet_paper
from nnunet_vmunet.trainers.paper_augmentation import PhotographAugmentation, SliceAugmentation
from nnunet_vmunet.weights import load_original

pytestmark = pytest.mark.usefixtures("registered")  # nnU-Net finds the preprocessor that the plans name

SMALL = {"depths": [1, 1], "depths_decoder": [1, 1], "dims": [8, 16], "d_state": 4}
ORGANS = {"background": 0, "liver": 1, "spleen": 2}


@pytest.fixture(autouse=True)
def no_pictures_of_progress(monkeypatch):
    """Each takes longer than an epoch of these."""
    monkeypatch.setattr(LocalLogger, "plot_progress_png", lambda *_: None)


@pytest.fixture
def planned(tiny_dataset):
    """Call it for a dataset with plans as VMUNetPlannerPaper makes them, but for a small network."""

    def make(architecture=None, batch_size=2, **kwargs):
        dataset = tiny_dataset(**kwargs)
        architecture = architecture or {
            "network_class_name": NETWORK,
            "arch_kwargs": dict(SMALL),
            "_kw_requires_import": [],
        }
        dataset.plans["configurations"]["2d"].update(
            architecture=architecture, batch_size=batch_size, preprocessor_name="PaperPreprocessor"
        )
        slices = kwargs.get("shapes", [(1, 16, 16)])[0][0]
        dataset.plans.update(
            experiment_planner_used="VMUNetPlannerPaper",
            plans_name="nnUNetVMUNetPlansPaper",
            original_median_shape_after_transp=[slices, 300, 400],
        )
        return dataset

    return make


# One step, by the formulas


def paper_rate(epoch: int, t_max: int) -> float:
    """CosineAnnealingLR from 1e-3 to 1e-5."""
    return 1e-5 + (1e-3 - 1e-5) * (1 + math.cos(math.pi * epoch / t_max)) / 2


def bce_dice(z: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """The loss of one image and its gradient: mean BCE, and 1 - Dice smoothed by 1, of p = sigmoid(z)."""
    p = 1 / (1 + np.exp(-z))
    overlap, area = 2 * (p * y).sum() + 1, p.sum() + y.sum() + 1
    loss = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean() + 1 - overlap / area
    return loss, (p - y) / z.size + (overlap - 2 * y * area) / area**2 * p * (1 - p)


class AdamW:
    """One parameter's: Loshchilov and Hutter, arXiv 1711.05101, algorithm 2, in float64."""

    def __init__(self, value: torch.Tensor) -> None:
        self.value = value.detach().numpy().astype(np.float64)
        self.m = self.v = np.zeros_like(self.value)

    def step(self, t: int, grad: torch.Tensor, lr: float) -> None:
        g = grad.numpy().astype(np.float64)
        self.m, self.v = 0.9 * self.m + 0.1 * g, 0.999 * self.v + 0.001 * g**2
        m, v = self.m / (1 - 0.9**t), self.v / (1 - 0.999**t)
        self.value = self.value - lr * 0.01 * self.value - lr * m / (np.sqrt(v) + 1e-8)


@pytest.mark.slow
def test_a_step_is_the_papers(planned, golden, relative_error):
    trainer = planned(architecture=paper_architecture(), channels=3, patch_size=(64, 64)).trainer(
        nnUNetTrainerVMUNet_paper
    )
    trainer.initialize()
    network, weights = trainer.network, golden.state_dict("vmunet_in3_out1_shapes.json")
    load_original(network, weights)
    numbers = golden.numbers("vmunet_in3_out1_64x64.npz")
    x = torch.from_numpy(numbers["x"])
    y = (numbers["logits"] + np.random.default_rng(0).normal(size=(1, 1, 64, 64)) > 0).astype(np.float64)
    batch = {"data": x, "target": torch.from_numpy(y)}
    parameters = {name: AdamW(value) for name, value in network.named_parameters()}

    # The original's loss and gradients, of its one logit; stochastic depth is off in both.
    loss, grad_of_logits = bce_dice(numbers["logits"].astype(np.float64), y)
    original = VMUNet(3, 1).eval()
    load_original(original, weights)
    original(x).backward(torch.from_numpy(grad_of_logits).float())

    network.eval()
    trainer.lr_scheduler.step(7)
    assert trainer.train_step(batch)["loss"] == pytest.approx(loss, rel=1e-5)
    for name, parameter in original.named_parameters():
        ours = network.get_parameter(name).grad
        assert relative_error(ours[-1:] if "seg_layers" in name else ours, parameter.grad) < 1e-4, name
    expect(network, parameters, 1, lr=paper_rate(7, 50))

    trainer.lr_scheduler.step(8)
    trainer.train_step(batch)
    expect(network, parameters, 2, lr=paper_rate(8, 50))


def expect(network, parameters, t, lr):
    for name, value in network.named_parameters():
        parameters[name].step(t, value.grad, lr)
        np.testing.assert_allclose(value.detach().numpy(), parameters[name].value, rtol=1e-5, atol=1e-7, err_msg=name)


def test_gradients_are_not_clipped(planned):
    trainer = planned().trainer(nnUNetTrainerVMUNet_paper)
    trainer.initialize()
    loss = trainer.loss
    trainer.loss = lambda logits, target: 1e4 * loss(logits, target)
    trainer.train_step({"data": torch.randn(2, 1, 16, 16), "target": torch.ones(2, 1, 16, 16)})
    assert torch.cat([p.grad.flatten() for p in trainer.network.parameters()]).norm() > 12  # where nnU-Net cuts


@pytest.mark.parametrize(
    ("shapes", "labels", "t_max"),
    [([(1, 16, 16)] * 6, {"background": 0, "lesion": 1}, 50), ([(3, 16, 16)] * 6, ORGANS, 100)],
    ids=["pictures", "volumes"],
)
def test_the_schedule_is_that_of_the_kind_of_data(planned, shapes, labels, t_max):
    trainer = planned(shapes=shapes, labels=labels).trainer(nnUNetTrainerVMUNet_paper)
    trainer.initialize()
    assert type(trainer.optimizer) is torch.optim.AdamW
    for epoch in (0, 20, 50, 120, 299):
        trainer.lr_scheduler.step(epoch)
        assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(paper_rate(epoch, t_max), rel=1e-12)


# Augmentation

NUMBERED = torch.arange(1.0, 3 * 16 * 16 + 1).reshape(3, 16, 16)


def draws(augmentation, n=2000):
    torch.manual_seed(0)
    return [augmentation(image=NUMBERED.clone(), segmentation=NUMBERED[:1].short()) for _ in range(n)]


@pytest.mark.parametrize(
    "augmentation", [PhotographAugmentation(), SliceAugmentation()], ids=lambda a: type(a).__name__
)
def test_image_and_labels_move_together(augmentation):
    for moved in draws(augmentation, 50):
        assert torch.equal(moved["image"][:1].short(), moved["segmentation"])
        assert set(moved["image"].unique().tolist()) <= {0, *NUMBERED.unique().tolist()}  # nothing between pixels


def mirrorings(*axes):
    """Each combination of them."""
    for mirrored in ((), *((axis,) for axis in axes), axes):
        yield NUMBERED.flip(mirrored)


def test_photographs_are_mirrored_by_halves_and_every_other_one_is_rotated_by_any_angle():
    moved = [draw["image"] for draw in draws(PhotographAugmentation())]
    for mirrored in mirrorings(1, 2):
        share = np.mean([torch.equal(image, mirrored) for image in moved])
        assert share == pytest.approx(1 / 8, abs=0.03)  # ½ not rotated, of these ¼ each
    dark = [(image == 0).float().mean().item() for image in moved if (image == 0).any()]
    assert len(dark) > 700
    assert max(dark) > 0.15  # corners, at 45°


def test_slices_are_turned_and_mirrored_or_rotated_a_little_or_left():
    moved = [draw["image"] for draw in draws(SliceAugmentation())]
    quarter_turns = [NUMBERED.rot90(k, (1, 2)).flip(axis) for k in range(4) for axis in (1, 2)]
    share = np.mean([any(torch.equal(image, turned) for turned in quarter_turns) for image in moved])
    assert share == pytest.approx(1 / 2, abs=0.04)
    assert np.mean([torch.equal(image, NUMBERED) for image in moved]) == pytest.approx(1 / 4, abs=0.04)
    slightly = [ndimage.rotate(NUMBERED[0], degrees, order=0, reshape=False) for degrees in range(-20, 20)]
    others = [image[0].numpy() for image in moved if not any(torch.equal(image, turned) for turned in quarter_turns)]
    assert all(any((image == turned).all() for turned in slightly) for image in others)


@pytest.mark.parametrize(
    ("shape", "augmentation"), [((1, 16, 16), PhotographAugmentation), ((3, 16, 16), SliceAugmentation)], ids=str
)
def test_batches_are_augmented_as_their_kind_of_data(planned, shape, augmentation):
    trainer = planned(shapes=[shape] * 6).trainer(nnUNetTrainerVMUNet_paper)
    trainer.initialize()
    training, _ = trainer.get_dataloaders()
    assert isinstance(training.data_loader.transforms.transforms[0], augmentation)
    batch = next(training)
    assert batch["data"].shape == (2, 1, 16, 16)
    assert set(batch["target"].unique().tolist()) <= {0, 1}
    assert trainer.inference_allowed_mirroring_axes is None


# The validation part, and the weights that a training ends with


@pytest.mark.parametrize(("images", "batch", "iterations"), [(6, 3, 2), (7, 1, 7), (8, 4, 2)])
def test_every_epoch_sees_each_validation_image_once(planned, images, batch, iterations):
    trainer = planned(shapes=[(1, 16, 16)] * 3 + [(images, 16, 16)], batch_size=4).trainer(nnUNetTrainerVMUNet_paper)
    trainer.initialize()
    _, validation = trainer.get_dataloaders()
    assert trainer.num_val_iterations_per_epoch == iterations
    for _ in range(3):
        batches = [next(validation) for _ in range(iterations)]
        assert {len(batch["data"]) for batch in batches} == {batch}
        slices = torch.cat([b["data"] for b in batches])
        assert len({tuple(s.flatten().tolist()) for s in slices}) == images


class GivenLosses(nnUNetTrainerVMUNet_paper):
    """Trains in earnest, but its losses are made up, per epoch."""

    epochs = 3
    losses = (3.0, 1.0, 2.0)

    def on_train_epoch_end(self, outputs):
        super().on_train_epoch_end([{"loss": np.float64(self.losses[self.current_epoch])}])

    def on_validation_epoch_end(self, outputs):
        outputs = [{**output, "loss": np.float64(self.losses[self.current_epoch])} for output in outputs]
        super().on_validation_epoch_end(outputs)

    def on_epoch_end(self):
        super().on_epoch_end()
        self.after = [*getattr(self, "after", []), weights_of(self)]


def weights_of(trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.network.parameters()])


def checkpoint(trainer, name):
    return torch.load(f"{trainer.output_folder}/checkpoint_{name}.pth", weights_only=True)


@pytest.mark.parametrize("shape", [(1, 16, 16), (2, 16, 16)], ids=["pictures", "volumes"])
def test_it_ends_with_the_weights_of_the_lowest_loss(planned, shape, capsys):
    trainer = planned(shapes=[shape] * 6).trainer(GivenLosses)
    trainer.run_training()
    assert torch.equal(weights_of(trainer), trainer.after[1])
    assert not torch.equal(weights_of(trainer), trainer.after[2])
    best, final = checkpoint(trainer, "best"), checkpoint(trainer, "final")
    assert (best["current_epoch"], final["current_epoch"]) == (2, 3)
    for name, value in best["network_weights"].items():
        assert torch.equal(value, final["network_weights"][name])
    said = capsys.readouterr().out
    assert ("It selects on what it reports" in said) == (shape[0] == 1)
    assert "The final weights are those of epoch 1, with a loss of 1.0000" in said


def continued_after_the_kill(dataset, trainer) -> GivenLosses:
    """Another trainer, which goes on from what the killed one saved last."""
    with pytest.raises(KeyboardInterrupt):
        trainer.run_training()
    continued = dataset.trainer(GivenLosses)
    continued.load_checkpoint(f"{continued.output_folder}/checkpoint_latest.pth")
    return continued


def test_a_continued_training_ends_with_the_same_weights(planned, monkeypatch):
    dataset = planned()
    trainer = dataset.trainer(GivenLosses)
    trainer.save_every = 1
    train_epoch = trainer.on_train_epoch_start

    def killed_in_the_last():
        if trainer.current_epoch == 2:
            raise KeyboardInterrupt
        train_epoch()

    monkeypatch.setattr(trainer, "on_train_epoch_start", killed_in_the_last)
    continued = continued_after_the_kill(dataset, trainer)
    assert (continued.current_epoch, continued.best_loss) == (2, 1.0)
    continued.run_training()
    assert torch.equal(weights_of(continued), trainer.after[1])


def test_killed_between_the_latest_and_the_best_checkpoint(planned, monkeypatch):
    dataset = planned()
    trainer = dataset.trainer(GivenLosses)
    trainer.save_every = 1
    keep = trainer._keep_if_best

    def killed_at_the_best():
        if trainer.current_epoch == 2:
            raise KeyboardInterrupt
        keep()

    monkeypatch.setattr(trainer, "_keep_if_best", killed_at_the_best)
    continued = continued_after_the_kill(dataset, trainer)
    assert continued.best_loss == 1.0
    assert checkpoint(continued, "best")["current_epoch"] == 2
    continued.run_training()
    assert checkpoint(continued, "final")["current_epoch"] == 3
    assert checkpoint(continued, "best")["current_epoch"] == 2


def test_a_finished_training_stays_as_it_is_when_continued(planned):
    dataset = planned()
    first = dataset.trainer(GivenLosses)
    first.run_training()
    before = checkpoint(first, "final")
    again = dataset.trainer(GivenLosses)
    again.load_checkpoint(f"{again.output_folder}/checkpoint_final.pth")
    again.run_training()
    after = checkpoint(again, "final")
    assert after["current_epoch"] == before["current_epoch"] == 3
    for name, value in before["network_weights"].items():
        assert torch.equal(value, after["network_weights"][name])


def test_without_checkpoints_the_last_weights_stay(planned, capsys):
    dataset = planned()
    dataset.trainer(GivenLosses).run_training()  # leaves a best checkpoint of another training
    trainer = dataset.trainer(GivenLosses)
    trainer.disable_checkpointing = True
    trainer.run_training()
    assert torch.equal(weights_of(trainer), trainer.after[2])
    assert "No checkpoints are kept" in capsys.readouterr().out


def test_a_checkpoint_of_the_best_epoch_continues_on_the_curve(planned):
    dataset = planned()
    trainer = dataset.trainer(GivenLosses)
    trainer.run_training()
    best = f"{trainer.output_folder}/checkpoint_best.pth"
    shutil.copy(best, f"{trainer.output_folder}/checkpoint_latest.pth")
    continued = dataset.trainer(GivenLosses)
    continued.load_checkpoint(best)
    assert continued.current_epoch == 2
    assert {len(values) for values in continued.logger.get_checkpoint().values()} == {2}


# What it refuses


@pytest.mark.parametrize("planner", ["VMUNetPlanner256", "ExperimentPlanner"])
def test_other_plans_are_refused_with_the_command(planned, planner):
    dataset = planned()
    dataset.plans.update(experiment_planner_used=planner, plans_name="nnUNetPlans")
    command = r"-d 900 -c 2d -pl VMUNetPlannerPaper, then train with -p nnUNetVMUNetPlansPaper"
    with pytest.raises(InputError, match=rf"nnUNetPlans are of {planner}: run nnUNetv2_plan_and_preprocess {command}"):
        dataset.trainer(nnUNetTrainerVMUNet_paper)


def test_several_gpus_are_refused(planned, monkeypatch):
    for name, value in (("is_available", True), ("is_initialized", True), ("get_rank", 0), ("get_world_size", 2)):
        monkeypatch.setattr(torch.distributed, name, lambda *_, value=value: value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InputError, match="leave out -num_gpus"):
        planned().trainer(nnUNetTrainerVMUNet_paper)
