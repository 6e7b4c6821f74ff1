"""The two numberings of the organs, and the published split against TransUNet's own lists."""

import pytest
from synapse_layouts import published_slice_counts

from nnunet_vmunet.dataset_conversion.synapse_benchmark import (
    CASES,
    TEST_CASES,
    TRAINING_SLICES,
    from_btcv,
    organ_labels,
    published_fold,
    unpublished_slice_counts,
)
from nnunet_vmunet.organs import BTCV_ORGANS, SYNAPSE_ORGANS


def test_transunets_table():
    assert from_btcv(8).tolist() == [0, 7, 4, 3, 2, 0, 5, 8, 1, 0, 0, 6, 0, 0]


def test_thirteen_stay_as_they_are():
    assert from_btcv(13).tolist() == list(range(14))


@pytest.mark.parametrize(("count", "organs"), [(8, SYNAPSE_ORGANS), (13, BTCV_ORGANS)])
def test_labels_are_named_in_order_behind_the_background(count, organs):
    assert organ_labels(count) == {"background": 0, **{name: value for value, name in enumerate(organs, 1)}}


def test_split_and_slice_counts_are_those_of_the_lists(shared):
    lists = shared / "data" / "synapse_lists"
    counts = published_slice_counts(lists / "train.txt")
    assert {f"case{number:04d}": count for number, count in counts.items()} == TRAINING_SLICES
    assert sum(counts.values()) == 2211
    assert sorted((lists / "test_vol.txt").read_text().split()) == sorted(TEST_CASES)


def test_every_case_is_on_one_side():
    assert len(CASES) == len(set(CASES)) == 30
    fold = published_fold(CASES)
    assert (len(fold["train"]), len(fold["val"])) == (18, 12)
    assert sorted(fold["train"] + fold["val"]) == list(CASES)


def test_of_a_partial_copy_only_what_is_there():
    assert published_fold(["case0002", "case0005"]) == {"train": ["case0005"], "val": ["case0002"]}


def test_only_training_cases_have_published_counts():
    assert unpublished_slice_counts({"case0001": 3, "case0005": 117, "case0006": 130}) == [
        "case0006 has 130 slices, published are 131"
    ]
