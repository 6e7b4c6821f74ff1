"""The original's augmentation: of photographs (`utils.py`), and of slices of volumes (`datasets/dataset.py`).

Both turn and mirror whole images (c, h, w) and their labels alike. What a turn brings in from outside is 0, in images
and in labels, and pixels take the value of the nearest one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from scipy import ndimage
from torch import Tensor

Move = Callable[[Tensor], Tensor]  # (c, h, w) to the same
ROWS, COLUMNS = -2, -1


class ImageAndLabels(BasicTransform):
    """One move for both, which a subclass draws from torch's global generator."""

    def draw(self) -> Move:
        raise NotImplementedError

    def get_parameters(self, **data) -> dict:
        return {"move": self.draw()}

    def _apply_to_image(self, img: Tensor, move: Move) -> Tensor:
        return move(img)

    def _apply_to_segmentation(self, segmentation: Tensor, move: Move) -> Tensor:
        return move(segmentation)


class PhotographAugmentation(ImageAndLabels):
    """Each mirroring with probability ½, and with ½ a rotation by any angle.

    As the paper says. The published code draws one angle for the whole run, before it sets its seed.
    """

    def draw(self) -> Move:
        mirrored = [axis for axis in (COLUMNS, ROWS) if _chance()]
        degrees = 360 * torch.rand(()).item() if _chance() else 0
        return lambda x: rotated(x.flip(mirrored), degrees)


class SliceAugmentation(ImageAndLabels):
    """A half: quarter turns, then one mirroring. Of the others a half: a rotation by whole degrees from -20 to 19."""

    def draw(self) -> Move:
        if _chance():
            quarters, mirrored = _whole(0, 4), (ROWS, COLUMNS)[_whole(0, 2)]
            return lambda x: x.rot90(quarters, (ROWS, COLUMNS)).flip(mirrored)
        degrees = _whole(-20, 20) if _chance() else 0
        return lambda x: rotated(x, degrees)


def rotated(x: Tensor, degrees: float) -> Tensor:
    """(c, h, w) about its centre."""
    if degrees == 0:
        return x
    turned = ndimage.rotate(x.numpy(), degrees, axes=(COLUMNS, ROWS), order=0, reshape=False, mode="constant", cval=0)
    return torch.from_numpy(turned)


def _chance() -> bool:
    return torch.rand(()).item() < 0.5


def _whole(low: int, high: int) -> int:
    """A whole number, below `high`."""
    return int(torch.randint(low, high, ()))
