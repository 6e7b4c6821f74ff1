"""Two processes train as one does on the same global batch.

nnU-Net's -num_gpus asks for CUDA and NCCL. Here the trainer's own parts run in two processes under gloo on the CPU,
and in one process that takes the whole batches: two epochs, then the second once more from the other side's
checkpoint. What they do is recorded once; each test looks at one thing in the records.
"""

import json
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as nnunets
from torch.nn.parallel import DistributedDataParallel

from nnunet_vmunet.errors import InputError
from nnunet_vmunet.losses import BinaryBceDiceLoss, CeDiceLoss, RegionBceDiceLoss
from nnunet_vmunet.plans import NETWORK, architecture_of, paper_batch_size
from nnunet_vmunet.schedule import cosine_lr
from nnunet_vmunet.trainers import nnUNetTrainerVMUNet

# nnU-Net gives the device of distributed training, a GPU, before a test can take the CPU.
pytestmark = pytest.mark.filterwarnings("ignore:torch.cuda.amp.GradScaler is enabled, but CUDA is not available")

SMALL = {"depths": [1, 1], "depths_decoder": [1, 1], "dims": [8, 16], "d_state": 4, "drop_path_rate": 0.5}
OUR_ARCHITECTURE = {"network_class_name": NETWORK, "arch_kwargs": SMALL, "_kw_requires_import": []}
FOUR_OUTPUTS = architecture_of("swin-umamba-d")
FOUR_OUTPUTS["arch_kwargs"] |= {"depths": [1] * 4, "dims": [8, 16, 32, 64], "d_state": 2, "drop_path_rate": 0.5}
BINARY = {"background": 0, "lesion": 1}
CLASSES = {"background": 0, "a": 1, "b": 2, "ignore": 3}
REGIONS = {"background": 0, "whole": [1, 2], "core": [2]}
DEEP = "deep supervision, 3 + 2 images"
TRAININGS = {  # labels, more of dataset.json, network, images per global batch, do the ranks compile what they continue
    "binary, 3 + 2 images": (BINARY, {}, OUR_ARCHITECTURE, 5, False),
    "classes with ignored pixels, 2 + 2 images": (CLASSES, {}, OUR_ARCHITECTURE, 4, False),
    "regions, 2 + 1 images, later compiled": (REGIONS, {"regions_class_order": [1, 2]}, OUR_ARCHITECTURE, 3, True),
    DEEP: (BINARY, {}, FOUR_OUTPUTS, 5, False),
}
SHAPES = ((4, 16, 16), *[(1, 16, 16)] * 4, (3, 16, 16))  # 8 slices to train on, 3 to validate
FIRST_EPOCH = "checkpoint_of_the_first_epoch.pth"
ALONE = "one process"

IGNORE = 9
IGNORED = {  # of each image's pixels, the part that does not count
    "no ignore label": None,
    "some pixels ignored": (0.1, 0.5, 0.9, 0.3),
    "the last image ignored": (0.1, 0.5, 0.9, 1.0),  # which may be a whole share
}
FIRST_SHARE = {"2 + 2 images": 2, "3 + 1 images": 3}
LOSSES = list(product(("binary", "regions", "classes"), IGNORED, FIRST_SHARE))

# float32 rounding. Measured: losses 2e-7, gradients 9e-7 of the largest value. AdamW may turn the rounding of a tiny
# gradient into a part of its step, 1e-3: measured 5e-7 in weights of up to 7.
RELATIVE = 5e-6
WEIGHTS = 5e-6
DEEPLY = 2e-5  # of gradients of 1e-10 beside one of 8, which are what is left of larger ones: measured 1.3e-5


@dataclass
class Record:
    """What one process did in one training."""

    iterations: int
    start: dict  # weights
    images: list = field(default_factory=list)  # of each training step
    validation_images: list = field(default_factory=list)
    losses: list = field(default_factory=list)  # of each training step
    gradients: dict | None = None  # of the first step
    end: dict | None = None  # weights
    logged: dict | None = None
    files: set | None = None  # that this process wrote
    logits: list = field(default_factory=list)  # of this process's images, from the trained network


class Recorded(nnUNetTrainerVMUNet):
    epochs = 2

    def on_train_start(self):
        super().on_train_start()
        self.record = Record(self.num_iterations_per_epoch, self.weights())
        # nnU-Net's plot of the progress takes more than a second
        self.logger.plot_progress_png = lambda folder: (Path(folder) / "progress.png").touch()

    def _weights_of_outputs(self, outputs):
        """Several processes give the coarsest output a millionth, one gives it nothing: here it does as they do."""
        if self.is_ddp:
            return super()._weights_of_outputs(outputs)
        weights = [*(1 / 2**i for i in range(outputs - 1)), 1e-6]
        return [weight / sum(weights) for weight in weights]

    def train_step(self, batch):
        output = super().train_step(batch)
        self.record.images.append(batch["keys"])
        self.record.losses.append(float(output["loss"]))
        if self.record.gradients is None:
            self.record.gradients = {name: p.grad.clone() for name, p in self._bare_network().named_parameters()}
        return output

    def validation_step(self, batch):
        self.record.validation_images.append(batch["keys"])
        return super().validation_step(batch)

    def on_epoch_end(self):
        super().on_epoch_end()
        latest = Path(self.output_folder) / "checkpoint_latest.pth"
        if self.current_epoch == 1 and latest.exists():  # the training's end deletes it
            shutil.copy(latest, latest.with_name(FIRST_EPOCH))

    def on_train_end(self):
        super().on_train_end()
        self.record.end = self.weights()
        self.record.logged = self.logger.get_checkpoint()
        self.record.files = {file.name for file in Path(self.output_folder).iterdir()}

    def weights(self):
        return {name: values.clone() for name, values in self._bare_network().state_dict().items()}

    def predict(self, images):
        """As nnU-Net's validation at the end of a training."""
        self.set_deep_supervision_enabled(False)
        predictor = nnUNetPredictor(perform_everything_on_device=False, device=self.device, allow_tqdm=False)
        predictor.manual_initialization(
            self.network,
            self.plans_manager,
            self.configuration_manager,
            None,
            self.dataset_json,
            type(self).__name__,
            self.inference_allowed_mirroring_axes,
        )
        self.network.eval()
        return [predictor.predict_sliding_window_return_logits(image) for image in images]


@dataclass
class Training:
    """One of TRAININGS. Each process writes to a results folder of its own, so that one sees which wrote what."""

    folder: Path
    plans: dict
    dataset_json: dict
    compiled: bool

    def trainer(self, process: str) -> Recorded:
        os.environ["nnUNet_preprocessed"] = str(self.folder / "preprocessed")
        os.environ["nnUNet_results"] = str(self.folder / process)
        plans = {**json.loads(json.dumps(self.plans)), "continue_training": False}
        trainer = Recorded(plans, "2d", 0, self.dataset_json, device=torch.device("cpu"))
        trainer.device = torch.device("cpu")  # nnU-Net takes GPU number `rank` when there are several processes
        trainer.grad_scaler = None  # and scales for it
        return trainer

    def train(self, process: str) -> Record:
        trainer = self.trainer(process)
        trainer.run_training()
        images = torch.randn(3, 1, 1, 24, 24, generator=torch.Generator().manual_seed(0))
        trainer.record.logits = trainer.predict(images[trainer.local_rank :: 2] if trainer.is_ddp else images)
        return trainer.record

    def continue_from(self, other: str, process: str) -> Record:
        trainer = self.trainer(process)
        if self.compiled and trainer.is_ddp:
            trainer._do_i_compile = lambda: True  # on the CPU nnU-Net does not
        trainer.load_checkpoint(str(self.file(other, FIRST_EPOCH)))
        trainer.run_training()
        return trainer.record

    def file(self, process: str, name: str) -> Path:
        return next((self.folder / process).glob(f"*/*/fold_0/{name}"))


@contextmanager
def process_group(rank: int, folder: Path):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    yield
    dist.destroy_process_group()


def lose_in_rank(rank: int, folder: Path) -> None:
    with process_group(rank, folder):
        losses = {case: gradient(*share_of(case, rank)) for case in LOSSES}
    torch.save(losses, folder / f"rank {rank}.pt")


def train_in_rank(rank: int, folder: Path, trainings: dict[str, Training]) -> None:
    """Do what nnU-Net's run_ddp does in each process, on the CPU."""
    process = f"rank {rank}"
    nnunets.DDP = lambda network, device_ids: DistributedDataParallel(network)  # CPU tensors are on no numbered device
    torch.compile = partial(torch.compile, backend="eager")  # all of torch.compile but a minute of inductor
    trained, continued = {}, {}
    with process_group(rank, folder):
        for name, training in trainings.items():
            trained[name] = training.train(process)
            continued[name] = training.continue_from(ALONE, process)
    torch.save((trained, continued), folder / f"{process}.pt")


def whole_batch(case, ddp: bool = False):
    """A loss, and logits and target of four images; `case` is one of LOSSES."""
    kind, ignored, _ = case
    generator = torch.Generator().manual_seed(0)
    channels = {"binary": 2, "regions": 3, "classes": 5}[kind]
    logits = 3 * torch.randn(4, channels, 6, 4, generator=generator)
    parts, ignore = IGNORED[ignored], None if IGNORED[ignored] is None else IGNORE
    mask = torch.rand(4, 1, 6, 4, generator=generator) < torch.tensor(parts or [0.0] * 4).view(4, 1, 1, 1)
    if kind == "regions":
        target = torch.rand(4, channels, 6, 4, generator=generator) > 0.6
        return RegionBceDiceLoss(ignore is not None, ddp), logits, torch.cat([target, mask], 1) if parts else target
    loss = {"binary": BinaryBceDiceLoss, "classes": CeDiceLoss}[kind](ignore, ddp)
    return loss, logits, torch.randint(channels, (4, 1, 6, 4), generator=generator).masked_fill(mask, IGNORE)


def share_of(case, rank: int):
    loss, *batch = whole_batch(case, ddp=True)
    first = FIRST_SHARE[case[2]]
    return loss, *[tensor[:first] if rank == 0 else tensor[first:] for tensor in batch]


def gradient(loss, logits, target):
    logits = logits.clone().requires_grad_()
    value = loss(logits, target)
    value.backward()
    return value.detach(), logits.grad


@pytest.fixture(scope="module")
def trainings(tiny_dataset_class, tmp_path_factory) -> dict[str, Training]:
    made = {}
    for name, (labels, extra, architecture, batch_size, compiled) in TRAININGS.items():
        folder = tmp_path_factory.mktemp("training")
        dataset = tiny_dataset_class(folder / "preprocessed", dict(labels), SHAPES, (16, 16), 1, extra)
        dataset.plans["configurations"]["2d"].update(architecture=architecture, batch_size=batch_size)
        made[name] = Training(folder, dataset.plans, dataset.dataset_json, compiled)
    return made


@pytest.fixture(scope="module")
def losses_of_ranks(tmp_path_factory) -> list[dict]:
    folder = tmp_path_factory.mktemp("ranks")
    mp.spawn(lose_in_rank, (folder,), nprocs=2)
    return [torch.load(folder / f"rank {rank}.pt") for rank in (0, 1)]


@pytest.fixture(scope="module")
def recorded(trainings, tmp_path_factory):
    """trained and continued: {training: (one process's record, rank 0's, rank 1's)}."""
    folder = tmp_path_factory.mktemp("ranks")
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("nnUNet_preprocessed", "nnUNet_results"):
            patch.setenv(variable, "set for each training")
        patch.setenv("nnUNet_n_proc_DA", "0")
        trained, continued = {}, {}
        for name, training in trainings.items():
            trained[name] = training.train(ALONE)
        mp.spawn(train_in_rank, (folder, trainings), nprocs=2)
        for name, training in trainings.items():
            continued[name] = training.continue_from("rank 0", ALONE)
    ranks = [torch.load(folder / f"rank {rank}.pt", weights_only=False) for rank in (0, 1)]
    return SimpleNamespace(
        trained={name: (trained[name], *(rank[0][name] for rank in ranks)) for name in trainings},
        continued={name: (continued[name], *(rank[1][name] for rank in ranks)) for name in trainings},
    )


def of_each_training(test, names=tuple(TRAININGS)):
    """The test of each training: slow, because four trainings of three processes come before the first."""
    return pytest.mark.slow(pytest.mark.parametrize("name", names)(test))


@pytest.mark.parametrize("case", LOSSES, ids=", ".join)
def test_loss_of_two_shares_is_that_of_the_batch(case, losses_of_ranks, relative_error):
    value, grad = gradient(*whole_batch(case))
    shares = [losses[case] for losses in losses_of_ranks]
    assert [share[0].item() for share in shares] == pytest.approx([value.item()] * 2, rel=RELATIVE)
    # DistributedDataParallel takes the mean of the processes' gradients
    assert relative_error(torch.cat([share[1] for share in shares]) / 2, grad) < RELATIVE


@of_each_training
def test_an_epoch_has_as_many_iterations(name, recorded):
    one, *ranks = recorded.trained[name]
    assert one.iterations == -(-8 // TRAININGS[name][3])
    assert [rank.iterations for rank in ranks] == [one.iterations] * 2
    assert [len(rank.losses) for rank in ranks] == [2 * one.iterations] * 2


@of_each_training
def test_every_batch_is_dealt_out_to_the_ranks(name, recorded):
    one, *ranks = recorded.trained[name]
    assert [first + second for first, second in zip(*(rank.images for rank in ranks), strict=True)] == one.images
    batch_size = TRAININGS[name][3]
    assert [len(rank.images[0]) for rank in ranks] == [-(-batch_size // 2), batch_size // 2]


@of_each_training
def test_every_validation_batch_is_dealt_out_to_the_ranks(name, recorded):
    one, *ranks = recorded.trained[name]
    shares = zip(*(rank.validation_images for rank in ranks), strict=True)
    assert [first + second for first, second in shares] == one.validation_images


@of_each_training
def test_a_continued_training_goes_on_with_the_second_epoch(name, recorded):
    whole, *_ = recorded.trained[name]
    one, *ranks = recorded.continued[name]
    second_epoch = whole.images[whole.iterations :]
    assert one.images == second_epoch
    assert [first + second for first, second in zip(*(rank.images for rank in ranks), strict=True)] == second_epoch


@of_each_training
def test_ranks_start_from_the_weights_of_the_first(name, recorded):
    one, *ranks = recorded.trained[name]
    for rank in ranks:
        assert all(torch.equal(rank.start[parameter], values) for parameter, values in one.start.items())


@of_each_training
def test_first_gradients_are_equal(name, recorded, relative_error):
    one, *ranks = recorded.trained[name]
    bound = DEEPLY if name == DEEP else RELATIVE
    for rank in ranks:
        for parameter, values in one.gradients.items():
            both_are_zero = not (values.any() or rank.gradients[parameter].any())  # A, where an image is one pixel
            assert both_are_zero or relative_error(rank.gradients[parameter], values) < bound, parameter


@pytest.mark.parametrize("start", ["trained", "continued"])
@of_each_training
def test_the_loss_of_every_step_is_equal(name, start, recorded):
    one, *ranks = getattr(recorded, start)[name]
    for rank in ranks:
        assert rank.losses == pytest.approx(one.losses, rel=RELATIVE)


@pytest.mark.parametrize("start", ["trained", "continued"])
@partial(of_each_training, names=[name for name in TRAININGS if name != DEEP])  # where AdamW steps by rounding
def test_trained_weights_are_equal(name, start, recorded):
    one, *ranks = getattr(recorded, start)[name]
    for rank in ranks:
        assert rank.end.keys() == one.end.keys()
        for parameter, values in one.end.items():
            assert torch.allclose(rank.end[parameter], values, rtol=0, atol=WEIGHTS), parameter


@of_each_training
def test_what_is_logged_is_equal(name, recorded):
    one, *ranks = recorded.trained[name]
    for rank in ranks:
        for quantity in ("train_losses", "val_losses"):
            assert rank.logged[quantity] == pytest.approx(one.logged[quantity], rel=RELATIVE)
        for quantity in ("mean_fg_dice", "ema_fg_dice", "dice_per_class_or_region"):  # of counted pixels
            assert np.array_equal(rank.logged[quantity], one.logged[quantity])
        assert rank.logged["lrs"] == one.logged["lrs"] == [cosine_lr(epoch, 1e-3) for epoch in range(2)]


@of_each_training
def test_the_first_rank_alone_writes(name, recorded):
    one, first, second = recorded.trained[name]
    assert {f"checkpoint_{which}.pth" for which in ("best", "final")} < first.files
    assert {without_time(file) for file in first.files} == {without_time(file) for file in one.files}
    assert second.files == set()


def without_time(file: str) -> str:
    return "training_log" if file.startswith("training_log") else file


@of_each_training
def test_checkpoints_name_the_weights_alike(name, recorded, trainings):
    alone, ranks = (
        torch.load(trainings[name].file(process, "checkpoint_final.pth"), weights_only=False)
        for process in (ALONE, "rank 0")
    )
    assert ranks["network_weights"].keys() == alone["network_weights"].keys()  # neither module. nor _orig_mod.
    assert ranks["current_epoch"] == alone["current_epoch"] == 2


@of_each_training
def test_ranks_validate_unequal_numbers_of_images(name, recorded, relative_error):
    one, *ranks = recorded.trained[name]
    assert [len(rank.logits) for rank in ranks] == [2, 1]
    for ours, theirs in zip(one.logits, (ranks[0].logits[0], ranks[1].logits[0], ranks[0].logits[1]), strict=True):
        # nnU-Net rounds to float16 twice, when it weights a window and when it divides by the weights: what is nearly
        # equal before can be one step apart after each.
        assert relative_error(theirs, ours) < 2 * torch.finfo(theirs.dtype).eps


@pytest.fixture
def as_one_of(monkeypatch):
    """Let this process think that it is one of several."""

    def become(rank: int, size: int) -> None:
        monkeypatch.setattr(dist, "is_initialized", lambda: True)
        monkeypatch.setattr(dist, "get_rank", lambda: rank)
        monkeypatch.setattr(dist, "get_world_size", lambda: size)
        monkeypatch.setattr(nnunets, "DDP", lambda network, device_ids: SimpleNamespace(module=network))

    return become


def initialized(dataset) -> nnUNetTrainerVMUNet:
    trainer = dataset.trainer(nnUNetTrainerVMUNet)
    trainer.device = torch.device("cpu")
    trainer.initialize()
    return trainer


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("training_slices", [1, 7], ids=["fewer images than processes", "7 images"])
def test_the_papers_batch_has_an_image_for_every_process(tiny_dataset, as_one_of, monkeypatch, training_slices, size):
    monkeypatch.setattr("nnunet_vmunet.trainers.trainer.architecture_of", lambda _: OUR_ARCHITECTURE)
    dataset = tiny_dataset(shapes=((training_slices, 16, 16), (1, 16, 16)))
    images = []
    for rank in range(size):
        as_one_of(rank, size)
        trainer = initialized(dataset)
        training, _ = trainer.get_dataloaders()
        images += next(training)["keys"]
    assert len(images) == max(training_slices, size) == trainer.plans_manager.get_configuration("2d").batch_size
    assert set(images) == {("case00", z) for z in range(training_slices)}
    assert trainer.num_iterations_per_epoch == 1


def test_large_patches_still_make_an_image_for_every_process():
    assert paper_batch_size((4096, 4096), training_images=1000, processes=4) == 4
    assert paper_batch_size((256, 256), training_images=1000, processes=4) == 32


def test_plans_with_fewer_images_than_processes_are_refused_with_the_remedy(tiny_dataset, as_one_of):
    dataset = tiny_dataset()
    dataset.plans["configurations"]["2d"].update(architecture=OUR_ARCHITECTURE, batch_size=1)
    as_one_of(0, 2)
    with pytest.raises(InputError, match=r"nnUNetPlans.json: a batch_size of 1 .* 2 GPUs: train with -num_gpus 1, or"):
        initialized(dataset)
