"""VMamba's ImageNet weights: every tensor traced to its places."""

import pytest
import torch
from published_weights import filled, newer_spelling, our_name, vmamba_shapes, vmunet_shapes

from nnunet_vmunet.errors import InputError
from nnunet_vmunet.models import VMUNet
from nnunet_vmunet.weights.checkpoint import Kind, open_checkpoint
from nnunet_vmunet.weights.filling import fill

SPELLINGS = {"v0's own": lambda name: name, "newer": newer_spelling}


@pytest.fixture(scope="module")
def network():
    return VMUNet(3, 9)


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("size", ["S", "T"])
def test_every_tensor_comes_from_where_the_paper_takes_it(size, spelling, network, saved):
    source = filled(vmamba_shapes(size))
    file = saved({"model": {SPELLINGS[spelling](name): tensor for name, tensor in source.items()}, "epoch": 238})
    checkpoint = open_checkpoint(file)
    assert checkpoint.kind is Kind.VMAMBA
    assert checkpoint.description.startswith(f"VMamba-{size} v0")
    result = fill(network, checkpoint)

    expected = {}
    for name in vmunet_shapes(3, 9):
        if name.startswith("layers_up.") and ".blocks." in name:
            j, rest = name.removeprefix("layers_up.").split(".", 1)
            expected[our_name(name)] = source[f"layers.{3 - int(j)}.{rest}"]
        elif name in source:
            expected[our_name(name)] = source[name]
    assert set(result.loaded) == set(expected)
    assert not result.adapted
    for name, tensor in expected.items():
        assert torch.equal(result.state_dict[name], tensor), name
    assert sum(name.startswith("encoder.") for name in result.loaded) == 117
    assert sum(name.startswith("decoder.") for name in result.loaded) == 91
    assert len(result.missing) == 222 - 117 - 91

    before = network.state_dict()
    assert all(torch.equal(result.state_dict[name], before[name]) for name in result.missing)


def test_block_0_of_stage_2_is_block_0_of_decoder_stage_1(vmamba_s, network, saved):
    weights = fill(network, open_checkpoint(saved({"model": vmamba_s}))).state_dict
    source = vmamba_s["layers.2.blocks.0.self_attention.A_logs"]
    assert torch.equal(weights["encoder.stages.2.blocks.0.ss2d.A_logs"], source)
    assert torch.equal(weights["decoder.stages.1.blocks.0.ss2d.A_logs"], source)
    assert not torch.equal(weights["decoder.stages.1.blocks.1.ss2d.A_logs"], source)


@pytest.mark.parametrize(("ema", "expected"), [(False, 1.0), (True, 2.0)], ids=["model by default", "--ema"])
def test_either_of_two_sets_is_taken(ema, expected, vmamba_s, saved):
    one, two = (vmamba_s | {"patch_embed.proj.bias": torch.full((96,), value)} for value in (1.0, 2.0))
    checkpoint = open_checkpoint(saved({"model_ema": two, "model": one}), ema=ema)
    assert checkpoint.tensors["patch_embed.proj.bias"][0] == expected


def test_a_file_with_the_moving_average_alone_needs_no_option(vmamba_s, saved):
    assert open_checkpoint(saved({"model_ema": vmamba_s})).container == "model_ema"


def test_ema_of_a_file_without_it_is_refused(vmamba_s, saved):
    with pytest.raises(InputError, match="holds no model_ema: leave out --ema"):
        open_checkpoint(saved({"model": vmamba_s}), ema=True)


def test_one_and_four_input_channels(vmamba_s, saved):
    checkpoint = open_checkpoint(saved({"model": vmamba_s}))
    name, rgb = "encoder.patch_embed.proj.weight", vmamba_s["patch_embed.proj.weight"]
    one = fill(VMUNet(1, 2), checkpoint)
    assert torch.equal(one.state_dict[name], rgb.sum(1, keepdim=True))
    assert one.adapted == {name: "3 input channels summed to 1"}
    four = fill(VMUNet(4, 2), checkpoint)
    assert torch.equal(four.state_dict[name], rgb[:, [0, 1, 2, 0]] * 0.75)
    assert set(four.adapted) == {name}
    assert len(one.loaded) == len(four.loaded) == 117 + 91 - 1


def test_vmamba_b_fits_a_network_of_its_width_alone(saved):
    shapes = {name: shape for name, shape in vmamba_shapes("B").items() if not name.startswith("layers.2.blocks.2")}
    checkpoint = open_checkpoint(saved(filled(shapes)))
    with pytest.raises(InputError, match="has width 128 and this VM-UNet 96"):
        fill(VMUNet(3, 2), checkpoint)
    assert len(fill(VMUNet(3, 2, dims=(128, 256, 512, 1024)), checkpoint).loaded) == 117 + 91


def test_missing_tensors_and_nan_are_refused(vmamba_s, network, saved):
    name = "layers.1.blocks.1.self_attention.Ds"
    with pytest.raises(InputError, match="lacks 2 tensors"):
        fill(network, open_checkpoint(saved({key: value for key, value in vmamba_s.items() if key != name})))
    damaged = vmamba_s | {name: torch.full_like(vmamba_s[name], torch.nan)}
    with pytest.raises(InputError, match=f"NaN or infinite values in {name}"):
        fill(network, open_checkpoint(saved(damaged)))
