"""How many images a training sees, whatever its batch. It reaches nnU-Net's commands as environment variables."""

from __future__ import annotations

import os
from dataclasses import dataclass

EPOCHS = 10  # in which a training is cut, for the learning rate: not passes over the data
IMAGES, SMALL = "OUTCOME_IMAGES", "OUTCOME_SMALL"


@dataclass(frozen=True)
class ImageBudget:
    """What every trainer of a comparison is given."""

    images: int
    small: bool = False  # a tiny network and one epoch: good for nothing but trying this benchmark out

    @property
    def epochs(self) -> int:
        return 1 if self.small else EPOCHS

    def steps_per_epoch(self, batch_size: int) -> int:
        """As many as bring the whole training nearest to `images`; at least one."""
        return max(1, round(self.images / (batch_size * self.epochs)))

    def steps(self, batch_size: int) -> int:
        """Of the whole training."""
        return self.epochs * self.steps_per_epoch(batch_size)

    def images_seen(self, batch_size: int) -> int:
        """By the whole training: `images`, but for rounding to whole batches in each epoch."""
        return batch_size * self.steps(batch_size)

    def environment(self) -> dict[str, str]:
        return {IMAGES: str(self.images), SMALL: "1" if self.small else ""}

    @classmethod
    def from_environment(cls) -> ImageBudget:
        return cls(int(os.environ[IMAGES]), bool(os.environ.get(SMALL)))
