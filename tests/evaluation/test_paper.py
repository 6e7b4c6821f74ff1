from nnunet_vmunet.evaluation import paper
from nnunet_vmunet.organs import SYNAPSE_ORGANS


def test_the_papers_columns_are_the_organs_that_the_converter_writes():
    assert tuple(paper.SYNAPSE_DICE) == SYNAPSE_ORGANS
