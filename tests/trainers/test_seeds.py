import random

import numpy as np
import pytest
import torch

from nnunet_vmunet.errors import InputError
from nnunet_vmunet.trainers.seeds import DEFAULT, VARIABLE, Purpose, chosen_seed, seed_everything


@pytest.mark.parametrize(("value", "expected"), [("", DEFAULT), ("42", 42), (" 7 ", 7), (str(2**70), 2**70)])
def test_the_variable_chooses(monkeypatch, value, expected):
    monkeypatch.setenv(VARIABLE, value)
    assert chosen_seed() == expected


@pytest.mark.parametrize("value", ["-1", "1.5", "today", "²"])
def test_what_is_no_seed_is_refused(monkeypatch, value):
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(InputError, match=f"^{VARIABLE}={value}: give a whole number from 0"):
        chosen_seed()


def draw() -> tuple[float, float, float]:
    return random.random(), np.random.rand(), torch.rand(1).item()


def test_a_place_has_numbers_of_its_own():
    places = [(0, Purpose.STEP, 0), (0, Purpose.STEP, 1), (0, Purpose.TRAINING_SAMPLE, 0), (1, Purpose.STEP, 0)]
    drawn = []
    for place in (*places, *places):
        seed_everything(*place)
        drawn.append(draw())
    assert drawn[:4] == drawn[4:]
    for generator in range(3):
        assert len({numbers[generator] for numbers in drawn}) == 4
