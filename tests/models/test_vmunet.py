import math
import shutil

import pytest
import torch
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from torch._dynamo.testing import CompileCounterWithBackend

from nnunet_vmunet.losses import CeDiceLoss
from nnunet_vmunet.models import VMUNet
from nnunet_vmunet.models.vmunet import Decoder
from nnunet_vmunet.weights import load_original, rename

SMALL = {"depths": (1, 1), "depths_decoder": (1, 1), "dims": (8, 16), "d_state": 4}


@pytest.fixture(params=["naive", "blocked", "auto"])
def backend(request, monkeypatch):
    monkeypatch.setenv("NNUNET_VMUNET_SCAN", request.param)


def test_logits_and_all_gradients_match_the_original(golden, relative_error, backend):
    network = VMUNet(3, 1).eval()
    load_original(network, golden.state_dict("vmunet_in3_out1_shapes.json"))
    numbers = golden.numbers("vmunet_in3_out1_64x64.npz")
    x = torch.from_numpy(numbers["x"]).requires_grad_()
    logits = network(x)
    loss = logits.square().mean()
    loss.backward()
    assert relative_error(logits, numbers["logits"]) < 1e-4
    assert relative_error(loss, numbers["loss"]) < 1e-4
    assert relative_error(x.grad, numbers["grad_x"]) < 1e-4
    parameters = dict(network.named_parameters())
    norms = dict(zip(numbers["grad_norm_names"], numbers["grad_norms"], strict=True))
    assert len(norms) == len(parameters) == 222
    for name, norm in norms.items():
        assert relative_error(parameters[rename(name)].grad.norm(), norm) < 1e-4, name


def test_paper_network_has_the_papers_parameters():
    assert sum(parameter.numel() for parameter in VMUNet(3, 1).parameters()) == 27_427_561


@pytest.mark.parametrize("size", [(64, 64), (1, 1), (33, 70), (56, 40), (5, 100)], ids=str)
def test_any_image_size_gives_logits_of_that_size(size):
    assert VMUNet(2, 3, **SMALL).eval()(torch.randn(2, 2, *size)).shape == (2, 3, *size)


def test_padding_does_not_touch_images_that_need_none():
    network = VMUNet(1, 2, **SMALL).eval()
    image = torch.randn(1, 1, 8, 16)
    padded = torch.nn.functional.pad(image[:, :, :7, :13], (0, 3, 0, 1))
    assert torch.equal(network(image[:, :, :7, :13]), network(padded)[:, :, :7, :13])


def test_drop_path_rises_over_the_encoder_and_falls_over_the_decoder():
    network = VMUNet(1, 2)

    def rates(part):
        return [block.drop_path.rate for stage in part.stages for block in stage.blocks]

    assert rates(network.encoder) == pytest.approx([0.2 * i / 7 for i in range(8)])
    assert rates(network.decoder) == pytest.approx([0.2 * i / 6 for i in reversed(range(7))])


class Unskipped(Decoder):
    """Without skips, and with a layer that `Decoder` does not have."""

    def __init__(self, num_classes, depths, dims, d_state, drop_path_rate):
        super().__init__(num_classes, depths, dims, d_state, drop_path_rate)
        self.bottleneck = torch.nn.Linear(dims[0], dims[0], bias=False)

    def forward(self, x, skips):
        return super().forward(self.bottleneck(x), [torch.zeros_like(skip) for skip in skips])


class UnskippedVMUNet(VMUNet):
    decoder_class = Unskipped


def test_a_variant_names_its_decoder():
    torch.manual_seed(0)
    network = UnskippedVMUNet(3, 2, **SMALL).eval()
    assert network(torch.randn(1, 3, 20, 27)).shape == (1, 2, 20, 27)
    assert network.decoder.bottleneck.weight.std().item() == pytest.approx(0.02, rel=0.2)  # as all linear layers
    assert set(VMUNet(3, 2, **SMALL).state_dict()) == set(network.state_dict()) - {"decoder.bottleneck.weight"}


@pytest.mark.parametrize("name", ["nnunet_vmunet.models.VMUNet", "nnunet_vmunet.models.vmunet.VMUNet"])
def test_plans_can_name_the_network(name):
    network = get_network_from_plans(name, SMALL, [], 4, 3, deep_supervision=False)
    assert network(torch.randn(1, 4, 8, 8)).shape == (1, 3, 8, 8)


def test_nnunets_pretrained_weights_skip_the_output_layer(tmp_path):
    source, target = VMUNet(1, 5, **SMALL), VMUNet(1, 2, **SMALL)
    untouched = target.decoder.seg_layers[0].weight.clone()
    torch.save({"network_weights": source.state_dict()}, tmp_path / "weights.pth")
    load_pretrained_weights(target, tmp_path / "weights.pth")
    assert torch.equal(target.encoder.patch_embed.proj.weight, source.encoder.patch_embed.proj.weight)
    assert torch.equal(target.decoder.final_up.expand.weight, source.decoder.final_up.expand.weight)
    assert torch.equal(target.decoder.seg_layers[0].weight, untouched)


def test_autocast_trains_without_nan():
    network = VMUNet(1, 2, **SMALL)
    with torch.autocast("cpu", torch.bfloat16):
        loss = network(1000 * torch.randn(2, 1, 16, 16)).float().square().mean()
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depths": (2, 2)}, r"one entry per stage each, got \(2, 2\)"),
        ({"dims": (90, 180, 360, 720)}, r"dims\[0\] must be divisible by 4, got 90"),
        ({"deep_supervision": True}, "deep_supervision must be False"),
    ],
    ids=["depths", "dims", "deep supervision"],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        VMUNet(1, 2, **arguments)


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (1, 8, 8)], ids=str)
def test_wrong_image_is_named_with_what_was_expected(shape):
    with pytest.raises(ValueError, match=r"expected an image \(batch, 1, height, width\)"):
        VMUNet(1, 2, **SMALL)(torch.zeros(shape))


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("c++"), reason="torch.compile needs a C++ compiler for its CPU code")
def test_compiled_by_inductor_trains_and_infers_as_it_does_eagerly():
    torch.manual_seed(0)
    network = VMUNet(1, 2, depths=(1, 1), depths_decoder=(1, 1), dims=(16, 32), drop_path_rate=0)
    image = torch.randn(2, 1, 20, 24)
    compiled = torch.compile(network, fullgraph=True)
    eager, ours = ([*output_and_gradients(run, network, image)] for run in (network, compiled))
    torch.testing.assert_close(ours, eager, rtol=1e-4, atol=1e-6)
    with torch.inference_mode():
        torch.testing.assert_close(compiled(image), eager[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("backend", ["blocked", pytest.param("numba", marks=pytest.mark.slow)])
def test_compiles_without_graph_breaks_and_once_for_training(backend, monkeypatch):
    if backend == "numba":
        pytest.importorskip("numba")
    monkeypatch.setenv("NNUNET_VMUNET_SCAN", backend)
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    network = VMUNet(1, 2, depths=(1, 1), depths_decoder=(1, 1), dims=(16, 32))
    compiled = torch.compile(network, fullgraph=True, backend=counter)
    for _ in range(3):
        compiled(torch.randn(2, 1, 32, 32)).square().mean().backward()
    assert counter.frame_count == 1
    network.eval()
    with torch.inference_mode():
        for batch in (2, 2, 1, 1):  # sliding-window inference: one window and its mirrored copies, of the same size
            compiled(torch.randn(batch, 1, 32, 32))
    assert counter.frame_count <= 3  # once more without gradients, once more for the other batch size


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_trains_under_autocast_on_inputs_scaled_up_a_thousand_times(dtype):
    torch.manual_seed(0)
    network = VMUNet(1, 2, **SMALL).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    image, target = 1000 * torch.randn(2, 1, 32, 32), torch.randint(0, 2, (2, 1, 32, 32))
    losses = []
    for _ in range(10):
        with torch.autocast("cpu", dtype):
            loss = CeDiceLoss()(network(image), target)
        optimizer.zero_grad()
        loss.backward()
        assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert all(map(math.isfinite, losses))
    assert losses[-1] < losses[0]


def output_and_gradients(run, network, image):
    network.zero_grad()
    output = run(image)
    output.square().mean().backward()
    return output.detach().clone(), *(parameter.grad.clone() for parameter in network.parameters())
