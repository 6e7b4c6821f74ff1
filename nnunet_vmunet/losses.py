"""The paper's losses (section 3.4; `utils.py` of the original), aware of nnU-Net's ignore label and of DDP.

Each sums what it needs over this process's batch, adds the other processes' sums if there are any, and divides at
the end: so N processes compute exactly what one process would on the whole batch. Everything is float32, whatever
autocast says.

Shapes: b batch, c classes, r regions, spatial axes behind.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BCE_DICE_SMOOTH = 1.0
CE_DICE_SMOOTH = 1e-5


class BinaryBceDiceLoss(nn.Module):
    """The paper's BceDice for a dataset with one foreground label.

    nnU-Net gives such a dataset two softmax heads l0 and l1. Softmax of them is the sigmoid of l1 - l0, on which
    this loss is the paper's exactly: mean BCE over pixels + mean over samples of 1 - Dice, smoothed by 1.

    Args:
        ignore_label: label of pixels that do not count, or None.
        ddp: add the sums of all processes of torch.distributed.
    """

    def __init__(self, ignore_label: int | None = None, ddp: bool = False) -> None:
        super().__init__()
        self.ignore_label = ignore_label
        self.ddp = ddp

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """logits (b, 2, ...), target (b, 1, ...) with labels 0, 1 and the ignore label, to a scalar."""
        z = logits[:, 1:].float() - logits[:, :1].float()
        counts = None if self.ignore_label is None else target != self.ignore_label
        return _bce_dice(z, target == 1, counts, self.ddp)


class RegionBceDiceLoss(nn.Module):
    """BceDice of sigmoid heads, one per region: the mean over regions.

    Args:
        has_ignore_label: the target's last channel marks the pixels that do not count.
        ddp: add the sums of all processes of torch.distributed.
    """

    def __init__(self, has_ignore_label: bool = False, ddp: bool = False) -> None:
        super().__init__()
        self.has_ignore_label = has_ignore_label
        self.ddp = ddp

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """logits (b, r, ...), target (b, r or r + 1, ...) of 0 and 1, to a scalar."""
        regions = logits.shape[1]
        counts = target[:, regions:] == 0 if self.has_ignore_label else None
        return _bce_dice(logits.float(), target[:, :regions], counts, self.ddp)


class CeDiceLoss(nn.Module):
    """The paper's CeDice for several classes: Dice over all classes, background included, of the whole batch.

    Mean cross-entropy over pixels + mean over classes of 1 - Dice, with squares in the denominator, smoothed by 1e-5.

    Args:
        ignore_label: label of pixels that do not count, or None.
        ddp: add the sums of all processes of torch.distributed.
    """

    def __init__(self, ignore_label: int | None = None, ddp: bool = False) -> None:
        super().__init__()
        self.ignore_label = ignore_label
        self.ddp = ddp

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """logits (b, c, ...), target (b, 1, ...) of labels, to a scalar."""
        logits, labels = logits.float(), target[:, 0].long()
        counts = torch.ones_like(labels, dtype=torch.bool) if self.ignore_label is None else labels != self.ignore_label
        labels = labels.where(counts, 0)
        ce = F.cross_entropy(logits, labels, reduction="none")[counts].sum()
        p = logits.softmax(1) * counts.unsqueeze(1)
        y = F.one_hot(labels, logits.shape[1]).movedim(-1, 1) * counts.unsqueeze(1)
        ce, pixels, overlap, squares = _over_processes(
            [ce, counts.sum(), _per_class(p * y), _per_class(p * p) + _per_class(y)], self.ddp
        )
        dice = (2 * overlap + CE_DICE_SMOOTH) / (squares + CE_DICE_SMOOTH)
        return ce / pixels.clamp(min=1) + (1 - dice).mean()


def _bce_dice(z: Tensor, y: Tensor, counts: Tensor | None, ddp: bool) -> Tensor:
    """Mean BCE over pixels + mean over samples (and regions) of 1 - Dice.

    Args: z (b, r, ...) logits; y (b, r, ...) of 0 and 1; counts (b, 1, ...), the pixels that count, or None for all.
    """
    y = y.float()
    bce, p = F.binary_cross_entropy_with_logits(z, y, reduction="none"), z.sigmoid()
    if counts is not None:
        bce, p, y = bce.where(counts, 0), p.where(counts, 0), y.where(counts, 0)
    pixels = torch.full_like(y, 1).sum() if counts is None else counts.expand_as(y).sum()
    axes = tuple(range(2, z.ndim))
    dice = (2 * (p * y).sum(axes) + BCE_DICE_SMOOTH) / (p.sum(axes) + y.sum(axes) + BCE_DICE_SMOOTH)
    samples = torch.full_like(dice, 1).sum()
    bce, pixels, missed, samples = _over_processes([bce.sum(), pixels, (1 - dice).sum(), samples], ddp)
    return bce / pixels.clamp(min=1) + missed / samples


def _per_class(values: Tensor) -> Tensor:
    """(b, c, ...) summed to (c,)."""
    return values.sum((0, *range(2, values.ndim)))


def _over_processes(sums: list[Tensor], ddp: bool) -> list[Tensor]:
    """Each sum, scalar or vector, added up over all processes in one exchange; differentiable."""
    if not ddp:
        return sums
    from nnunetv2.utilities.ddp_allgather import AllGatherGrad

    flat = torch.cat([value.float().reshape(-1) for value in sums])
    total = AllGatherGrad.apply(flat).sum(0)
    return [
        part.view_as(value) for part, value in zip(total.split([value.numel() for value in sums]), sums, strict=True)
    ]
