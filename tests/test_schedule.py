import warnings

import pytest
import torch

from nnunet_vmunet.schedule import CosineSchedule, cosine_lr


def optimizer(lr: float = 1e-3) -> torch.optim.Optimizer:
    return torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=lr)


def test_300_epochs_equal_pytorchs_schedule_stepped_epoch_by_epoch():
    theirs = optimizer()
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(theirs, T_max=50, eta_min=1e-5)
    for epoch in range(300):
        assert cosine_lr(epoch, 1e-3) == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-9), epoch
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the optimizer itself does not step here
            scheduler.step()


def test_a_continued_training_takes_up_the_rate_of_its_epoch():
    ours = optimizer()
    CosineSchedule(ours, 1e-3).step(137)
    assert ours.param_groups[0]["lr"] == cosine_lr(137, 1e-3)


def test_the_rate_starts_highest_and_is_lowest_after_50_epochs():
    rates = [cosine_lr(epoch, 1e-3) for epoch in range(101)]
    assert rates[0] == max(rates) == rates[100] == 1e-3
    assert rates[50] == min(rates) == pytest.approx(1e-5)
