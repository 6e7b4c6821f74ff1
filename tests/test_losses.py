"""The losses in one process; tests/trainers/test_distributed.py has them in two."""

import pytest
import torch

from nnunet_vmunet.losses import BinaryBceDiceLoss, CeDiceLoss, RegionBceDiceLoss

IGNORE = 9


def gradient(loss: torch.nn.Module, logits: torch.Tensor, target: torch.Tensor):
    logits = logits.clone().requires_grad_()
    value = loss(logits, target)
    value.backward()
    return value.detach(), logits.grad


def test_binary_loss_on_two_heads_is_the_papers_bce_dice(golden, relative_error):
    numbers = golden.numbers("losses.npz")
    z, target = torch.from_numpy(numbers["bce_logits"]), torch.from_numpy(numbers["bce_target"])
    background = torch.randn_like(z)
    value, grad = gradient(BinaryBceDiceLoss(), torch.cat([background, background + z], 1), target)
    assert relative_error(value, numbers["bce_dice"]) < 1e-5
    assert relative_error(grad[:, 1:], numbers["bce_grad"]) < 1e-4
    assert relative_error(-grad[:, :1], numbers["bce_grad"]) < 1e-4


def test_one_region_is_the_papers_bce_dice(golden, relative_error):
    numbers = golden.numbers("losses.npz")
    value, grad = gradient(
        RegionBceDiceLoss(), torch.from_numpy(numbers["bce_logits"]), torch.from_numpy(numbers["bce_target"]).bool()
    )
    assert relative_error(value, numbers["bce_dice"]) < 1e-5
    assert relative_error(grad, numbers["bce_grad"]) < 1e-4


def test_several_regions_are_averaged():
    logits, target = torch.randn(3, 2, 4, 5), torch.rand(3, 2, 4, 5) > 0.5
    loss = RegionBceDiceLoss()
    separate = [loss(logits[:, i : i + 1], target[:, i : i + 1]) for i in range(2)]
    assert loss(logits, target).item() == pytest.approx(torch.stack(separate).mean().item(), rel=1e-5)


def test_cross_entropy_loss_is_the_papers_ce_dice(golden, relative_error):
    numbers = golden.numbers("losses.npz")
    value, grad = gradient(
        CeDiceLoss(), torch.from_numpy(numbers["ce_logits"]), torch.from_numpy(numbers["ce_target"])[:, None]
    )
    assert relative_error(value, numbers["ce_dice"]) < 1e-5
    assert relative_error(grad, numbers["ce_grad"]) < 1e-4


def logits_and_target(kind: str, samples: int = 3, rows: int = 6, seed: int = 0):
    """Random logits and labels of one batch, without an ignore label."""
    generator = torch.Generator().manual_seed(seed)
    channels = {"binary": 2, "regions": 3, "classes": 5}[kind]
    logits = 3 * torch.randn(samples, channels, rows, 4, generator=generator)
    if kind == "regions":
        return logits, torch.rand(samples, channels, rows, 4, generator=generator) > 0.6
    return logits, torch.randint(channels, (samples, 1, rows, 4), generator=generator)


def with_ignored(kind: str, target: torch.Tensor, ignored: torch.Tensor) -> torch.Tensor:
    """The target as nnU-Net gives it with an ignore label; ignored (b, 1, h, w)."""
    return torch.cat([target, ignored], 1) if kind == "regions" else target.masked_fill(ignored, IGNORE)


def loss_for(kind: str, ignore: bool) -> torch.nn.Module:
    if kind == "regions":
        return RegionBceDiceLoss(ignore)
    return {"binary": BinaryBceDiceLoss, "classes": CeDiceLoss}[kind](IGNORE if ignore else None)


KINDS = pytest.mark.parametrize("kind", ["binary", "regions", "classes"])


@KINDS
def test_ignored_pixels_might_as_well_not_be_there(kind):
    logits, target = logits_and_target(kind, rows=6)
    ignored = torch.zeros(3, 1, 6, 4, dtype=torch.bool)
    ignored[:, :, 4:] = True
    value, grad = gradient(loss_for(kind, ignore=True), logits, with_ignored(kind, target, ignored))
    cropped, cropped_grad = gradient(loss_for(kind, ignore=False), logits[:, :, :4], target[:, :, :4])
    assert value.item() == pytest.approx(cropped.item(), rel=1e-5)
    assert torch.allclose(grad[:, :, :4], cropped_grad, atol=1e-6)
    assert not grad[:, :, 4:].any()


@KINDS
def test_a_batch_without_annotated_pixels_teaches_nothing(kind):
    logits, target = logits_and_target(kind)
    everything = torch.ones(3, 1, 6, 4, dtype=torch.bool)
    value, grad = gradient(loss_for(kind, ignore=True), logits, with_ignored(kind, target, everything))
    assert value.isfinite()
    assert not grad.any()


@KINDS
def test_half_precision_logits_are_computed_in_float32(kind):
    logits, target = logits_and_target(kind)
    value, _ = gradient(loss_for(kind, ignore=False), (300 * logits).half(), target)
    assert value.dtype == torch.float32
    assert value.isfinite()
