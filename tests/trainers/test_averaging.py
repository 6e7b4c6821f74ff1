import copy

import pytest
import torch

from nnunet_vmunet.trainers.averaging import SHARE, AveragingAdamW


def quadratic(optimizer_class=AveragingAdamW):
    """A parameter whose loss is lowest at 1, and its optimizer."""
    parameter = torch.nn.Parameter(torch.zeros(3))
    return parameter, optimizer_class([parameter], lr=0.1)


def descend(parameter, optimizer, steps: int) -> list[torch.Tensor]:
    """The values after each step, with noise that a rate of 0.1 does not average out."""
    noise = torch.Generator().manual_seed(0)
    values = []
    for _ in range(steps):
        optimizer.zero_grad()
        (parameter - 1 + torch.randn(3, generator=noise)).square().sum().backward()
        optimizer.step()
        values.append(parameter.detach().clone())
    return values


def test_the_steps_are_adamws():
    ours = descend(*quadratic(), steps=30)
    assert all(map(torch.equal, ours, descend(*quadratic(torch.optim.AdamW), steps=30)))


def test_the_average_forgets_all_but_the_last_steps():
    parameter, optimizer = quadratic()
    values = descend(parameter, optimizer, steps=200)
    expected = torch.zeros(3, dtype=torch.float64)
    for step, value in enumerate(values, start=1):
        expected += (value.double() - expected) / max(1, SHARE * step)
    optimizer.use_average()
    assert torch.allclose(parameter.double(), expected, atol=1e-6)
    assert not torch.allclose(parameter, values[-1], atol=1e-2)


def test_raw_values_come_back_to_the_last_bit():
    parameter, optimizer = quadratic()
    raw = descend(parameter, optimizer, steps=50)[-1]
    optimizer.use_average()
    average = parameter.detach().clone()
    optimizer.use_average()  # twice is once
    assert torch.equal(parameter, average)
    optimizer.use_raw()
    assert torch.equal(parameter, raw)


def test_before_the_first_step_there_is_nothing_to_exchange():
    parameter, optimizer = quadratic()
    optimizer.use_average()
    optimizer.use_raw()
    assert torch.equal(parameter, torch.zeros(3))


@pytest.mark.parametrize("saved_as", ["average", "raw"])
def test_a_saved_optimizer_goes_on_as_if_nothing_had_happened(saved_as):
    whole, optimizer = quadratic()
    descend(whole, optimizer, steps=20)
    getattr(optimizer, f"use_{saved_as}")()
    continued, other = quadratic()
    with torch.no_grad():
        continued.copy_(whole)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for parameter, steps in ((whole, optimizer), (continued, other)):
        steps.use_raw()
        descend(parameter, steps, steps=5)
        steps.use_average()
    assert torch.equal(whole, continued)


def test_a_checkpoint_of_plain_adamw_starts_its_average_where_it_stands():
    parameter, adamw = quadratic(torch.optim.AdamW)
    descend(parameter, adamw, steps=20)
    optimizer = AveragingAdamW([parameter], lr=0.1)
    optimizer.load_state_dict(adamw.state_dict())
    before = parameter.detach().clone()
    optimizer.use_average()
    assert torch.equal(parameter, before)
    descend(parameter, optimizer, steps=1)
    optimizer.use_average()
    assert not torch.equal(parameter, before)
