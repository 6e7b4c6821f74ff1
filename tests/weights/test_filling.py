import pytest
import torch

from nnunet_vmunet.models import VMUNet
from nnunet_vmunet.weights import load_original


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


@pytest.mark.parametrize("content", [{}, {"conv1.weight": torch.zeros(3)}], ids=["empty", "another network"])
def test_a_file_of_something_else_is_refused(content):
    with pytest.raises(ValueError, match="no tensor of the state dict fits"):
        load_original(VMUNet(1, 2, depths=(1, 1), depths_decoder=(1, 1), dims=(8, 16)), content)


def test_a_file_that_holds_code_is_not_executed(tmp_path):
    torch.save({"model": VMUNet}, tmp_path / "code.pth")
    with pytest.raises(Exception, match=r"weights_only|Weights only"):
        load_original(VMUNet(3, 1), tmp_path / "code.pth")
