"""load_original: what it reads, and where the tensors go."""

import numpy as np
import pytest
import torch

from nnunet_vmunet.errors import InputError
from nnunet_vmunet.models import VMUNet
from nnunet_vmunet.weights import load_original
from nnunet_vmunet.weights.checkpoint_file import read
from nnunet_vmunet.weights.importing import import_weights
from nnunet_vmunet.weights.target import Target

SMALL = {"depths": (1, 1), "depths_decoder": (1, 1), "dims": (8, 16)}


@pytest.fixture(scope="module")
def original(golden) -> dict[str, torch.Tensor]:
    """A state dict as the original names and shapes it: three input channels, one output."""
    return golden.state_dict("vmunet_in3_out1_shapes.json")


@pytest.mark.parametrize("prefix", ["", "vmunet.", "module.vmunet."], ids=["bare", "vmunet.", "module.vmunet."])
def test_names_with_and_without_prefix(original, prefix):
    network = VMUNet(3, 1)
    report = load_original(network, {prefix + name: tensor for name, tensor in original.items()})
    assert len(report.loaded) == 222
    assert not report.adapted and not report.left_over and not report.missing
    assert torch.equal(
        network.encoder.stages[2].blocks[1].ss2d.A_logs, original["layers.2.blocks.1.self_attention.A_logs"]
    )
    assert torch.equal(network.decoder.stages[1].upsample.expand.weight, original["layers_up.1.upsample.expand.weight"])


@pytest.mark.parametrize("container", [None, "model", "model_state_dict", "state_dict"])
def test_files_bare_and_wrapped_in_a_checkpoint(original, container, tmp_path):
    file = tmp_path / "best.pth"
    torch.save({container: original, "epoch": 7} if container else original, file)
    assert len(load_original(VMUNet(3, 1), file).loaded) == 222


def test_one_channel_equals_the_image_repeated_three_times(original):
    three, one = VMUNet(3, 1).eval(), VMUNet(1, 1).eval()
    load_original(three, original)
    report = load_original(one, original)
    assert report.adapted == {"encoder.patch_embed.proj.weight": "3 input channels summed to 1"}
    image = torch.randn(1, 1, 32, 32)
    assert torch.allclose(one(image), three(image.expand(-1, 3, -1, -1)), atol=1e-4)


def test_two_heads_give_the_probability_of_one(original):
    one, two = VMUNet(3, 1).eval(), VMUNet(3, 2).eval()
    load_original(one, original)
    report = load_original(two, original)
    assert set(report.adapted) == {"decoder.seg_layers.0.weight", "decoder.seg_layers.0.bias"}
    image = torch.randn(1, 3, 32, 32)
    heads, logit = two(image), one(image)
    assert torch.equal(heads[:, 0], torch.zeros_like(heads[:, 0]))
    assert torch.equal(two.decoder.seg_layers[0].weight[1:], one.decoder.seg_layers[0].weight)
    # Not to the last bit: torch sums a convolution in another order for another number of outputs.
    assert torch.allclose(heads[:, 1:], logit, rtol=0, atol=1e-5)
    assert torch.allclose(heads.softmax(1)[:, 1:], logit.sigmoid(), atol=1e-6)


def test_report_names_what_was_left_over_and_missing(original):
    damaged = {name: tensor for name, tensor in original.items() if name != "final_up.norm.weight"}
    damaged["classifier.head.weight"] = torch.zeros(1000, 768)
    damaged["final_conv.weight"] = torch.zeros(9, 24, 1, 1)
    network = VMUNet(3, 2)
    kept = network.decoder.seg_layers[0].weight.clone()
    report = load_original(network, damaged)
    assert report.left_over == {
        "classifier.head.weight": "no such tensor in VM-UNet",
        "final_conv.weight": "has shape (9, 24, 1, 1), this model (2, 24, 1, 1)",
    }
    assert set(report.missing) == {"decoder.final_up.norm.weight", "decoder.seg_layers.0.weight"}
    assert torch.equal(network.decoder.seg_layers[0].weight, kept)
    assert "2 left over, 2 not in the file" in str(report)


@pytest.mark.parametrize(
    ("content", "message"),
    [({}, "holds no named tensors"), ({"conv1.weight": torch.zeros(3)}, "is of another network")],
    ids=["empty", "another network"],
)
def test_a_state_dict_of_something_else_is_refused(content, message):
    with pytest.raises(InputError, match=f"the state dict {message}"):
        load_original(VMUNet(1, 2, **SMALL), content)


def test_a_network_of_other_sizes_is_refused(original):
    with pytest.raises(InputError, match=r"no tensor of the state dict fits this VM-UNet.*has shape"):
        load_original(VMUNet(3, 3, depths=(1,), depths_decoder=(1,), dims=(8,)), original)


def same_weights(network: VMUNet, weights) -> bool:
    return all(torch.equal(tensor, weights[name]) for name, tensor in network.state_dict().items())


def test_a_file_of_weights_import(original, tmp_path):
    source, imported, network = tmp_path / "best.pth", tmp_path / "imported.pth", VMUNet(3, 1)
    torch.save(original, source)
    import_weights(source, imported, Target(3, 1))
    assert not load_original(network, imported).missing
    assert same_weights(network, torch.load(imported, weights_only=True)["network_weights"])


@pytest.mark.parametrize("core", ["core", "_core"], ids=["NumPy 1", "NumPy 2"])
def test_what_the_originals_training_saves(core, original, tmp_path):
    """Its latest.pth holds NumPy's numbers, under the names that its NumPy has."""
    file, network = tmp_path / "latest.pth", VMUNet(3, 1)
    numbers = {"min_loss": np.float64(0.25), "loss": np.float32(0.5), "best_epoch": np.int64(7)}
    # Of a file from before torch 1.6 the pickle is not compressed, and has no checksum.
    torch.save({"epoch": 7, **numbers, "model_state_dict": original}, file, _use_new_zipfile_serialization=False)
    name = np.float64(0).__reduce__()[0].__module__
    content = file.read_bytes()
    assert f"c{name}\n".encode() in content
    file.write_bytes(content.replace(f"c{name}\n".encode(), f"cnumpy.{core}.multiarray\n".encode()))
    assert len(load_original(network, file).loaded) == 222
    read_numbers = {key: value for key, value in read(file).items() if key in numbers}
    assert read_numbers == {"min_loss": 0.25, "loss": 0.5, "best_epoch": 7}


@pytest.mark.parametrize(
    "beyond",
    [VMUNet, np.zeros(3), np.datetime64("2024-02-04"), np.str_("best"), np.void(b"bytes"), np.dtype("V1000000000")],
    ids=["class", "array", "date", "text", "bytes", "type without end"],
)
def test_a_file_that_holds_anything_else_is_refused(beyond, original, tmp_path):
    torch.save({"model": original, "min_loss": np.float64(0.25), "beyond": beyond}, tmp_path / "code.pth")
    with pytest.raises(InputError, match=r"code\.pth holds more than tensors"):
        load_original(VMUNet(3, 1), tmp_path / "code.pth")


def test_vmamba_fills_encoder_and_decoder_as_weights_import_does(vmamba_s):
    report = load_original(VMUNet(3, 9), {"model": vmamba_s})
    assert len(report.loaded) == 117 + 91
