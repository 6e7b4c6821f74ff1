"""The paper's learning rate: CosineAnnealingLR with T_max 50, as a function of the epoch alone.

nnU-Net does not store its scheduler in checkpoints and tells it the epoch instead, so `--c` continues exactly.
"""

import math

from torch.optim import Optimizer

T_MAX = 50  # epochs from the highest to the lowest rate; then it rises again, with a period of 100
MINIMUM = 1e-5


def cosine_lr(epoch: int, initial_lr: float, t_max: int = T_MAX, minimum: float = MINIMUM) -> float:
    """The learning rate in `epoch`, counted from 0 (section 4.2 of the paper): from initial_lr to minimum and back."""
    return minimum + (initial_lr - minimum) * (1 + math.cos(math.pi * epoch / t_max)) / 2


class CosineSchedule:
    """What nnU-Net's trainer asks of a scheduler: `step(epoch)`."""

    def __init__(self, optimizer: Optimizer, initial_lr: float, t_max: int = T_MAX, minimum: float = MINIMUM) -> None:
        self.optimizer = optimizer
        self.initial_lr = initial_lr
        self.t_max = t_max
        self.minimum = minimum
        self.step(0)

    def step(self, epoch: int) -> None:
        """Give every parameter group the rate of `epoch`."""
        for group in self.optimizer.param_groups:
            group["lr"] = cosine_lr(epoch, self.initial_lr, self.t_max, self.minimum)
