"""Where a training's random numbers come from: a seed, and the place in the training that they are for.

Nothing depends on how many numbers were drawn before. So worker processes, the processes of a distributed training and
a training that goes on after an accident draw the same numbers for the same image in the same pass.
"""

from __future__ import annotations

import os
import random
from enum import IntEnum

import numpy as np
import torch

from ..errors import InputError

VARIABLE = "NNUNET_VMUNET_SEED"
DEFAULT = 0


class Purpose(IntEnum):
    """What the numbers are for; each has its own."""

    INITIALISATION = 0
    TRAINING_ORDER = 1
    TRAINING_SAMPLE = 2
    VALIDATION_ORDER = 3
    VALIDATION_SAMPLE = 4
    STEP = 5


def chosen_seed() -> int:
    """What the user chose by the environment variable.

    Raises:
        InputError: it is no whole number from 0.
    """
    value = os.environ.get(VARIABLE, "").strip()
    if not value:
        return DEFAULT
    if not (value.isascii() and value.isdigit()):
        raise InputError(f"{VARIABLE}={value}: give a whole number from 0, or unset it for {DEFAULT}")
    return int(value)


def generator(seed: int, purpose: Purpose, *place: int) -> np.random.Generator:
    """A generator for one place, of its own."""
    return np.random.default_rng([seed, purpose, *place])


def seed_everything(seed: int, purpose: Purpose, *place: int) -> None:
    """Let Python, NumPy and torch, on the CPU and on GPUs, draw what belongs to this place from here on."""
    state = int(generator(seed, purpose, *place).integers(2**32))
    random.seed(state)  # nnU-Net's augmentation draws from the global generators of all three
    np.random.seed(state)
    torch.default_generator.manual_seed(state)  # torch.manual_seed does more, and takes long where no GPU is in use
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(state)
