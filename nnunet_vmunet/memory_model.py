"""How much memory a training step of a network needs, from a count of what its backward pass keeps.

The count is of float32: the paper trains so, and bfloat16 autocast needs less. It is made on the CPU with the scan
backend `blocked`, whatever this machine would train with, because plans are made on one machine and used on another.
What the backends keep differs in the scan's states alone, which are a sixth of it here; `blocked` itself needs more
than this while it runs backward.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .losses import CeDiceLoss
from .models.network import PATCH, UShapedNetwork
from .models.ss2d import SS2D
from .ops import backends

FLOAT = 4  # bytes
OPTIMIZER_STATES = 3  # of AdamW, the means of each gradient and of its square; and the average of the weights
COUNTED_SIDE = 256  # pixels; from here on what is kept grows with the pixels and nothing else


@dataclass(frozen=True)
class TrainingMemory:
    """The memory of a training step at its peak, in bytes.

    Args:
        parameters: bytes of the network's parameters.
        per_pixel: bytes for each pixel of a batch, over all input channels and classes.
    """

    parameters: int
    per_pixel: float

    def peak(self, batch_size: int, patch_size: Sequence[int]) -> float:
        """Bytes, for a batch of patches (height, width). Gradients of parameters come while activations go.

        Most parameters lie at the bottom of the U, and have their gradients when half of the activations are freed.
        """
        activations = batch_size * math.prod(patch_size) * self.per_pixel
        return self._always + max(activations, activations / 2 + self.parameters)

    def largest_batch(self, patch_size: Sequence[int], available: float) -> int:
        """The most patches (height, width) whose training step stays within `available` bytes; 0 if none does."""
        free = available - self._always
        activations = min(free, 2 * (free - self.parameters))
        return max(0, math.floor(activations / (math.prod(patch_size) * self.per_pixel)))

    @property
    def _always(self) -> int:
        return (1 + OPTIMIZER_STATES) * self.parameters


def training_memory(network: UShapedNetwork, num_classes: int) -> TrainingMemory:
    """The memory of a training step of this network and CeDice, the costlier of the paper's losses."""
    parameters = sum(parameter.numel() * parameter.element_size() for parameter in network.parameters())
    image = torch.zeros(1, network.input_channels, COUNTED_SIDE, COUNTED_SIDE)
    target = torch.zeros(1, 1, COUNTED_SIDE, COUNTED_SIDE)
    kept = _kept_for_backward(network.train(), CeDiceLoss(), image, target)
    return TrainingMemory(parameters, kept / COUNTED_SIDE**2 + _workspace_per_pixel(network))


def _kept_for_backward(network: nn.Module, loss: nn.Module, image: Tensor, target: Tensor) -> int:
    """Bytes that autograd keeps between forward and backward pass, each storage once and parameters not at all."""
    parameters = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    kept = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage  # held, so that its address is not given to another
        return tensor

    with _scan_everywhere(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss(network(image), target)
    return sum(storage.nbytes() for storage in kept.values())


def _workspace_per_pixel(network: UShapedNetwork) -> float:
    """Bytes that the backward pass needs at its peak, the last block, on top of what was kept: the scan's steps.

    It makes the steps of all directions again and needs as much for their gradients, but by then what came after the
    scan is freed, and that makes up for the gradients.
    """
    first = next(module for module in network.modules() if isinstance(module, SS2D))
    steps = first.dt_projs_bias.numel()  # per token: direction and channel
    return steps * FLOAT / PATCH**2


@contextmanager
def _scan_everywhere() -> Iterator[None]:
    """Let `auto` choose the backend that runs everywhere."""
    before = os.environ.get(backends.VARIABLE)
    os.environ[backends.VARIABLE] = "blocked"
    try:
        yield
    finally:
        del os.environ[backends.VARIABLE]
        if before is not None:
            os.environ[backends.VARIABLE] = before
