"""The paper's organs are those that the converter writes: each package states them for itself, as both are leaves."""

from nnunet_vmunet.dataset_conversion import synapse_benchmark
from nnunet_vmunet.evaluation import paper


def test_converter_and_evaluation_mean_the_same_organs():
    assert paper.BTCV_ORGANS == synapse_benchmark.BTCV_ORGANS
    assert tuple(paper.SYNAPSE_DICE) == synapse_benchmark.SYNAPSE_ORGANS
