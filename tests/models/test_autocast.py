"""A network's own dtype under the autocast that nnU-Net puts around its calls."""

import pytest
import torch

from nnunet_vmunet.models import VMUNet

SMALL = {"depths": (1, 1), "depths_decoder": (1, 1), "dims": (8, 16), "d_state": 4}
IMAGE = torch.zeros(1, 1, 8, 8)


@pytest.fixture
def network():
    """Call it with the dtype that the network is to have; `dtypes` are those that its output layer then gave."""

    def make(dtype):
        network = VMUNet(1, 2, **SMALL).eval()
        network.autocast_dtype = dtype
        network.dtypes = []
        network.decoder.seg_layers[0].register_forward_hook(lambda _, __, y: network.dtypes.append(y.dtype))
        return network

    return make


@pytest.mark.parametrize(
    ("own", "inside"),
    [(torch.float16, torch.float16), (torch.float32, torch.float32), (None, torch.bfloat16)],
    ids=["float16", "float32", "the caller's"],
)
def test_the_networks_own_dtype_holds_for_its_calls_alone(network, own, inside):
    network, before = network(own), torch.get_autocast_dtype("cpu")
    with torch.autocast("cpu", torch.bfloat16):
        network(IMAGE)
        assert torch.get_autocast_dtype("cpu") == torch.bfloat16  # another network, called after it
        assert torch.is_autocast_enabled("cpu")
    assert network.dtypes == [inside]
    assert torch.get_autocast_dtype("cpu") == before


@pytest.mark.parametrize("own", [torch.bfloat16, torch.float32, None], ids=str)
def test_without_autocast_nothing_is_cast(network, own):
    network = network(own)
    assert network(IMAGE).dtype == torch.float32


def test_it_is_no_part_of_the_weights(network):
    assert set(network(torch.bfloat16).state_dict()) == set(VMUNet(1, 2, **SMALL).state_dict())


@pytest.fixture
def compiling_afresh():
    """What was compiled for one size before makes torch compile the next for any, in other tests too."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("own", [torch.float16, torch.float32], ids=str)
def test_it_holds_when_compiled(own, compiling_afresh):
    network = VMUNet(1, 2, **SMALL).eval()
    network.autocast_dtype = own
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    with torch.inference_mode():
        assert compiled(IMAGE).dtype == torch.float32  # as without autocast, for which it is compiled anew
        with torch.autocast("cpu", torch.bfloat16):
            assert compiled(IMAGE).dtype == own
            assert torch.get_autocast_dtype("cpu") == torch.bfloat16
        assert compiled(IMAGE).dtype == torch.float32
