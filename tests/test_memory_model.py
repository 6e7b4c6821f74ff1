"""The memory model against the operating system: what a training step really took, in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nnunet_vmunet import memory_model
from nnunet_vmunet.memory_model import TrainingMemory, training_memory
from nnunet_vmunet.models import VMUNet
from nnunet_vmunet.ops import backends

CLASSES = 3
SMALL = {"depths": (1, 1), "depths_decoder": (1, 1), "dims": (8, 16), "d_state": 4}
STEPS = [(2, (64, 64)), (3, (160, 224)), (1, (256, 256)), (4, (128, 128)), (8, (128, 128))]  # (batch, patch)

# Resident memory, because it holds what compiled kernels take beside torch's allocator, and because it is what runs
# out. With these settings freed memory goes back to the system at once, so that the peak repeats within 1 percent.
RETURN_FREED_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}

MEASURE = """
import json, sys
import torch
from nnunet_vmunet.losses import CeDiceLoss
from nnunet_vmunet.models import VMUNet
from nnunet_vmunet.trainers.averaging import AveragingAdamW

def status(name):  # bytes
    with open("/proc/self/status") as status:
        return next(1024 * int(line.split()[1]) for line in status if line.startswith(name))

def step(network, optimizer, batch, patch):
    optimizer.zero_grad(set_to_none=True)
    target = torch.randint(0, classes, (batch, 1, *patch))
    CeDiceLoss()(network(torch.randn(batch, 1, *patch)), target).backward()
    optimizer.step()

def training(**sizes):
    network = VMUNet(1, classes, **sizes).train()
    optimizer = AveragingAdamW(network.parameters())
    step(network, optimizer, 1, (32, 32))
    return network, optimizer

classes, steps = json.loads(sys.argv[1])
training(dims=(8, 16, 32, 64))  # imports, compiles, starts threads
before = status("VmRSS")
network, optimizer = training()
peaks = []
for batch, patch in steps:
    optimizer.zero_grad(set_to_none=True)
    with open("/proc/self/clear_refs", "w") as clear:
        clear.write("5")  # the peak starts again at what is resident now
    step(network, optimizer, batch, patch)
    peaks.append(status("VmHWM") - before)
print(json.dumps(peaks))
"""


@pytest.fixture(scope="module")
def memory() -> TrainingMemory:
    return training_memory(VMUNet(1, CLASSES), CLASSES)


@pytest.fixture(scope="module")
def measured() -> dict:
    """Bytes at the peak of each step."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("peaks are measured through Linux's /proc")
    command = [sys.executable, "-c", MEASURE, json.dumps([CLASSES, STEPS])]
    done = subprocess.run(command, env=os.environ | RETURN_FREED_MEMORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(zip(STEPS, json.loads(done.stdout), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"{step[0]} patches of {step[1][0]}x{step[1][1]}")
def test_predicts_the_peak_of_a_training_step(step, memory, measured):
    assert memory.peak(*step) == pytest.approx(measured[step], rel=0.15)


@pytest.mark.slow
def test_predicts_what_further_images_cost(memory, measured):
    """Without the parameters, which are most of a small step: what decides how many images fit onto a large GPU."""
    four, eight = (4, (128, 128)), (8, (128, 128))
    assert memory.peak(*eight) - memory.peak(*four) == pytest.approx(measured[eight] - measured[four], rel=0.15)


def test_a_parameter_needs_a_gradient_two_means_and_an_average():
    """With hardly any pixels: five float32 for each of the paper's 27,427,561 parameters."""
    memory = training_memory(VMUNet(3, 1), 1)
    assert memory.parameters == 4 * 27_427_561
    assert memory.peak(1, (1, 1)) == pytest.approx(5 * memory.parameters, rel=1e-4)


def test_the_largest_batch_fits_and_one_more_does_not(memory):
    for gigabytes in (0.45, 0.5, 1, 2, 8, 24, 80):
        for patch_size in ((32, 32), (64, 160), (224, 224), (512, 512)):
            batch = memory.largest_batch(patch_size, gigabytes * 1e9)
            assert batch == 0 or memory.peak(batch, patch_size) <= gigabytes * 1e9
            assert memory.peak(batch + 1, patch_size) > gigabytes * 1e9


def test_counts_classes_and_channels():
    """Nine more classes keep their logits, probabilities and labels at every pixel; three more channels the image."""
    memory = training_memory(VMUNet(1, CLASSES, **SMALL), CLASSES)
    more_classes = training_memory(VMUNet(1, CLASSES + 9, **SMALL), CLASSES + 9)
    assert more_classes.per_pixel >= memory.per_pixel + 9 * 3 * 4
    more_channels = training_memory(VMUNet(4, CLASSES, **SMALL), CLASSES)
    assert more_channels.per_pixel == pytest.approx(memory.per_pixel + 3 * 4, abs=0.1)


class Squared(VMUNet):
    """The product y·y saves y twice."""

    def forward(self, image):
        y = super().forward(image)
        return y * y


class Weighted(VMUNet):
    """The product y·w saves y for w's gradient, and w for y's."""

    def __init__(self, *arguments, **sizes):
        super().__init__(*arguments, **sizes)
        self.w = torch.nn.Parameter(torch.ones(1, CLASSES, memory_model.COUNTED_SIDE, memory_model.COUNTED_SIDE))

    def forward(self, image):
        return super().forward(image) * self.w


@pytest.mark.parametrize("network", [Squared, Weighted])
def test_what_is_saved_counts_once_and_parameters_not_at_all(network):
    """Both variants keep their logits y, float32, beside what the network keeps."""
    plain, variant = (training_memory(cls(1, CLASSES, **SMALL), CLASSES) for cls in (VMUNet, network))
    assert variant.per_pixel == plain.per_pixel + 4 * CLASSES


@pytest.mark.parametrize("backend", [None, "naive", "triton"])
def test_the_machine_and_its_scan_do_not_matter(backend, monkeypatch):
    memory = training_memory(VMUNet(1, CLASSES, **SMALL), CLASSES)
    monkeypatch.delenv(backends.VARIABLE, raising=False)
    if backend:
        monkeypatch.setenv(backends.VARIABLE, backend)
    assert training_memory(VMUNet(1, CLASSES, **SMALL), CLASSES) == memory
    assert os.environ.get(backends.VARIABLE) == backend
