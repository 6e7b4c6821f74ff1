"""The networks beside VM-UNet: against the numbers of their originals, and what all of them share."""

import pytest
import torch
from torch import nn

from nnunet_vmunet.models import MambaUNet, SwinUMambaD, VMamba2Encoder, VMamba2UNet
from nnunet_vmunet.models.vmamba2 import VMamba2Block
from nnunet_vmunet.plans import NETWORKS as PLANNED
from nnunet_vmunet.plans import architecture_of, build_network
from nnunet_vmunet.weights import load_original

SMALL = {"depths": (1, 1), "dims": (8, 16), "d_state": 4}
NETWORKS = {
    "Swin-UMamba†": lambda channels, classes: SwinUMambaD(channels, classes, **SMALL, depths_decoder=(1,)),
    "Mamba-UNet": lambda channels, classes: MambaUNet(channels, classes, **SMALL),
    "VM-UNet on VMamba v2": lambda channels, classes: VMamba2UNet(channels, classes, **SMALL, depths_decoder=(1, 1)),
}


@pytest.fixture(params=["naive", "blocked", "auto"])
def backend(request, monkeypatch):
    monkeypatch.setenv("NNUNET_VMUNET_SCAN", request.param)


@pytest.fixture(params=NETWORKS)
def build(request):
    """A small network of each kind, by input channels and classes."""
    return NETWORKS[request.param]


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def loaded(golden, network: nn.Module, shapes: str) -> dict[str, str]:
    """The original's names by ours, after every tensor of the original was put into the network."""
    report = load_original(network.eval(), golden.state_dict(shapes))
    assert not report.missing
    assert not report.adapted
    assert all(name.startswith("outnorm") for name in report.left_over)
    return report.loaded


def assert_gradient_norms(network, names: dict[str, str], numbers: dict, loss: str = "") -> None:
    norms = dict(zip(numbers["grad_norm_names"], numbers[f"grad_norms{loss}"], strict=True))
    found = {names[name]: parameter.grad for name, parameter in network.named_parameters()}
    assert found.keys() <= norms.keys()
    for name, gradient in found.items():
        norm = 0.0 if gradient is None else gradient.double().norm().item()
        assert norm == pytest.approx(norms[name], rel=1e-5), name


def test_swin_umamba_matches_the_original(golden, relative_error, backend):
    network = SwinUMambaD(3, 4, deep_supervision=True)
    names = loaded(golden, network, "swin_umamba_d_in3_out4_shapes.json")
    numbers = golden.numbers("swin_umamba_d_in3_out4_64x96.npz")
    x = torch.from_numpy(numbers["x"]).requires_grad_()
    outputs = network(x)
    assert len(outputs) == 4
    for i, output in enumerate(outputs):
        torch.testing.assert_close(output, torch.from_numpy(numbers[f"out{i}"]), atol=3e-5, rtol=0)
    sum(output.square().mean() for output in outputs).backward()
    assert relative_error(x.grad, numbers["grad_x_all"]) < 1e-5
    assert_gradient_norms(network, names, numbers, "_all")


def test_swin_umamba_without_deep_supervision_gives_the_finest_output(golden, relative_error):
    network = SwinUMambaD(3, 4)
    names = loaded(golden, network, "swin_umamba_d_in3_out4_shapes.json")
    numbers = golden.numbers("swin_umamba_d_in3_out4_64x96.npz")
    x = torch.from_numpy(numbers["x"]).requires_grad_()
    logits = network(x)
    torch.testing.assert_close(logits, torch.from_numpy(numbers["out0"]), atol=3e-5, rtol=0)
    logits.square().mean().backward()
    assert relative_error(x.grad, numbers["grad_x"]) < 1e-5
    assert_gradient_norms(network, names, numbers)


def test_mamba_unet_matches_the_original(golden, relative_error, backend):
    network = MambaUNet(3, 4)
    names = loaded(golden, network, "mamba_unet_in3_out4_shapes.json")
    numbers = golden.numbers("mamba_unet_in3_out4_64x96.npz")
    x = torch.from_numpy(numbers["x"]).requires_grad_()
    logits = network(x)
    torch.testing.assert_close(logits, torch.from_numpy(numbers["logits"]), atol=3e-5, rtol=0)
    logits.square().mean().backward()
    assert relative_error(x.grad, numbers["grad_x"]) < 1e-5
    assert_gradient_norms(network, names, numbers)


def test_vmamba2_encoder_matches_the_original(golden, relative_error, backend):
    encoder = VMamba2Encoder(3)
    names = loaded(golden, encoder, "vmamba_tiny_s1l8_shapes.json")
    numbers, plain = (golden.numbers(f"vmamba_tiny_s1l8_64x96{part}.npz") for part in ("", "_plain"))
    x = torch.from_numpy(numbers["x"]).requires_grad_()
    outputs = encoder(x)
    assert len(outputs) == 4
    for i, output in enumerate(outputs):
        torch.testing.assert_close(output, torch.from_numpy(plain[f"plain{i}"]), atol=3e-5, rtol=0)
    outputs[3].square().mean().backward()
    assert relative_error(x.grad, plain["grad_x"]) < 1e-5
    assert_gradient_norms(encoder, names, numbers)


@pytest.mark.parametrize(("name", "ratio"), [("d16", 1), ("d16_ratio2", 2)])
def test_a_vmamba2_block_matches_the_original_in_every_gradient(name, ratio, golden, relative_error, backend):
    block = VMamba2Block(16, 1, 0.0, ratio).eval()
    state = golden.state_dict(f"vmamba_block_{name}_shapes.json")
    block.load_state_dict({key.replace("op.", "ss2d."): values for key, values in state.items()})
    numbers = golden.numbers(f"vmamba_block_{name}_6x10.npz")
    x = torch.from_numpy(numbers["x"]).permute(0, 2, 3, 1).requires_grad_()
    y = block(x)
    assert relative_error(y.permute(0, 3, 1, 2), numbers["y"]) < 1e-5
    y.square().mean().backward()
    assert relative_error(x.grad.permute(0, 3, 1, 2), numbers["grad_x"]) < 1e-5
    gradients = {key.replace("ss2d.", "op."): value.grad for key, value in block.named_parameters()}
    assert len(gradients) == len(state)
    for key, gradient in gradients.items():
        assert relative_error(gradient, numbers[f"grad.{key}"]) < 1e-4, key


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        *((lambda n=n: SwinUMambaD(3, n), 27_489_984 + 772 * n) for n in (1, 2, 4, 9)),
        (lambda: SwinUMambaD(1, 4), 27_490_000),
        *((lambda n=n: MambaUNet(3, n), 19_121_280 + 96 * n) for n in (1, 2, 4, 9)),
        (lambda: MambaUNet(3, 4, depths=(2, 2, 9, 2)), 35_862_144 + 4 * 96),
        (lambda: VMamba2Encoder(3), 29_478_528),
        (lambda: VMamba2Encoder(1), 29_478_528 - 2 * 432),
        (lambda: VMamba2Block(16, 1, 0.0), 3_328),
        (lambda: VMamba2Block(16, 1, 0.0, ratio=2), 4_464),
    ],
)
def test_parameters_are_as_many_as_the_originals(network, expected):
    assert parameters(network()) == expected


@pytest.mark.parametrize("size", [(32, 48), (1, 1), (33, 70), (5, 100)], ids=str)
def test_any_image_size_gives_logits_of_that_size(size, build):
    assert build(2, 3).eval()(torch.randn(2, 2, *size)).shape == (2, 3, *size)


def test_odd_sizes_of_the_encoder_are_rounded_up():
    outputs = VMamba2Encoder(1, depths=(1, 1, 1), dims=(8, 16, 32))(torch.randn(1, 1, 37, 50))
    assert [output.shape[1:] for output in outputs] == [(8, 10, 13), (16, 5, 7), (32, 3, 4)]


@pytest.mark.parametrize("size", [(64, 64), (72, 100), (33, 47)], ids=str)
def test_deep_supervision_has_the_sizes_of_nnunets_targets(size):
    network = SwinUMambaD(1, 2, depths=(1, 1, 1, 1), dims=(8, 16, 32, 64), d_state=2, deep_supervision=True)
    sizes = [tuple(output.shape[2:]) for output in network(torch.randn(1, 1, *size))]
    assert sizes == [tuple(round(n * scale) for n in size) for scale in network.output_scales]
    assert network.output_scales == (1, 1 / 4, 1 / 8, 1 / 16)


def rates(part) -> list[float]:
    return [block.drop_path.rate for stage in part.stages for block in stage.blocks]


def test_drop_path_rates_are_the_originals():
    swin, mamba, vmamba = SwinUMambaD(3, 2), MambaUNet(3, 2), VMamba2Encoder(3)
    assert rates(swin.encoder) == pytest.approx([0.2 * i / 14 for i in range(15)])
    assert rates(swin.decoder) == pytest.approx([0.2, 0.16, 0.12, 0.08, 0.04, 0])
    assert rates(mamba.encoder) == pytest.approx([0.2 * i / 7 for i in range(8)])
    assert rates(mamba.decoder) == pytest.approx([0.2 * i / 7 for i in (4, 5, 2, 3, 0, 1)])
    assert rates(vmamba) == pytest.approx([0.2 * i / 13 for i in range(14)])


def test_swin_umamba_begins_as_the_original():
    network = SwinUMambaD(3, 2)
    depthwise = network.encoder.stages[3].blocks[0].ss2d.conv2d
    assert depthwise.weight.std().item() == pytest.approx((2 / 1.0001 / 9) ** 0.5, rel=0.05)
    assert not depthwise.bias.any()
    assert network.encoder.stages[0].blocks[0].ss2d.in_proj.weight.std().item() == pytest.approx(0.02, rel=0.05)
    merge = network.decoder.stages[0].merge
    assert merge.weight.abs().max().item() == pytest.approx(768**-0.5, rel=0.01)  # nn.Linear's own
    assert merge.bias.any()


@pytest.mark.parametrize("name", PLANNED)
def test_zeros_around_an_image_leave_gradients_small(name):
    """A token of zeros makes them 30 times as large at every block: 1e20, and their norm no number any more."""
    torch.manual_seed(0)
    network = build_network(architecture_of(name), 1, 3)
    image = torch.zeros(1, 1, 64, 64)
    image[..., 8:32, 8:40] = torch.randn(24, 32)
    network(image).square().mean().backward()
    largest = max(p.grad.abs().max().item() for p in network.parameters() if p.grad is not None)
    assert 0 < largest < 100


def test_mamba_unet_and_vmamba2_begin_as_the_original():
    for linear in (MambaUNet(3, 2).decoder.stages[0].merge, VMamba2UNet(3, 2).encoder.stages[3].blocks[0].mlp.fc1):
        assert linear.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert not linear.bias.any()
    scan = VMamba2Encoder(3).stages[0].blocks[0].ss2d
    assert not scan.A_logs.any()  # one state: A = -1
    assert scan.conv2d.bias is None


def test_one_output_refuses_deep_supervision():
    with pytest.raises(ValueError, match="MambaUNet has one output: deep_supervision must be False"):
        MambaUNet(3, 2, deep_supervision=True)


def test_dims_that_do_not_double_are_refused():
    with pytest.raises(ValueError, match=r"dims must double from stage to stage, got \(8, 24\)"):
        MambaUNet(3, 2, depths=(1, 1), dims=(8, 24))


def test_the_output_layer_of_full_resolution_has_a_gradient(build):
    network = build(1, 2)
    network(torch.randn(1, 1, 16, 16)).square().mean().backward()
    assert network.decoder.seg_layers[-1].weight.grad.any()
