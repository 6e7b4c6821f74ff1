"""The two numberings of the organs."""

import pytest

from nnunet_vmunet.dataset_conversion.synapse_organs import BTCV_ORGANS, SYNAPSE_ORGANS, from_btcv, organ_labels


def test_transunets_table():
    assert from_btcv(8).tolist() == [0, 7, 4, 3, 2, 0, 5, 8, 1, 0, 0, 6, 0, 0]


def test_thirteen_stay_as_they_are():
    assert from_btcv(13).tolist() == list(range(14))


@pytest.mark.parametrize(("count", "organs"), [(8, SYNAPSE_ORGANS), (13, BTCV_ORGANS)])
def test_labels_are_named_in_order_behind_the_background(count, organs):
    assert organ_labels(count) == {"background": 0, **{name: value for value, name in enumerate(organs, 1)}}
