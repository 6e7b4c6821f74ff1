"""The seeded 7:3 split."""

import pytest

from nnunet_vmunet.dataset_conversion.splits import seeded_split
from nnunet_vmunet.errors import InputError


def names(count):
    return [f"ISIC_{i:07d}" for i in range(count)]


@pytest.mark.parametrize(
    ("cases", "training"), [(2150, 1500), (2694, 1886), (100, 70), (10, 7), (3, 2), (2, 1)], ids=str
)
def test_counts_are_the_papers_or_seven_tenths(cases, training):
    split = seeded_split(names(cases))
    assert (len(split["train"]), len(split["val"])) == (training, cases - training)


def test_every_case_is_on_one_side():
    split = seeded_split(names(50))
    assert sorted(split["train"] + split["val"]) == names(50)


def test_the_same_names_in_any_order_give_the_same_split():
    assert seeded_split(names(20)) == seeded_split(names(20)[::-1])


def test_the_split_is_pinned():
    """Published results rest on it: it may never change."""
    assert seeded_split(names(10))["val"] == ["ISIC_0000000", "ISIC_0000003", "ISIC_0000005"]


def test_one_case_cannot_be_split():
    with pytest.raises(InputError, match="ISIC_0000000 alone"):
        seeded_split(names(1))
