"""Weights of the family: VMamba's in each network, and each network's own as its authors publish them."""

import pytest
import torch
from published_weights import filled, vmamba_shapes

from nnunet_vmunet.errors import InputError
from nnunet_vmunet.models import MambaUNet, SwinUMambaD, VMamba2Encoder, VMamba2UNet, VMUNet
from nnunet_vmunet.plans import NETWORKS, architecture_of, build_network
from nnunet_vmunet.weights import load_original
from nnunet_vmunet.weights.checkpoint import Kind, open_checkpoint
from nnunet_vmunet.weights.filling import fill

CLASSIFIER = {
    "classifier.norm.weight": (768,),
    "classifier.norm.bias": (768,),
    "classifier.head.weight": (1000, 768),
    "classifier.head.bias": (1000,),
}


@pytest.fixture(scope="module")
def vmamba2(golden) -> dict:
    """As published: the backbone's tensors without the norms of its outputs, and a classifier."""
    backbone = golden.state_dict("vmamba_tiny_s1l8_shapes.json")
    return {name: values for name, values in backbone.items() if not name.startswith("outnorm")} | filled(CLASSIFIER)


def test_vmamba_t_fills_the_encoder_of_swin_umamba_and_nothing_else(saved):
    source = filled(vmamba_shapes("T"))
    result = fill(SwinUMambaD(3, 2), open_checkpoint(saved({"model": source})))
    assert len(result.loaded) == 208
    assert all(name.startswith("encoder.") for name in result.loaded)
    assert set(result.left_over) == {"norm.weight", "norm.bias", "head.weight", "head.bias"}
    ours = "encoder.stages.2.blocks.8.ss2d.A_logs"
    assert torch.equal(result.state_dict[ours], source["layers.2.blocks.8.self_attention.A_logs"])
    assert torch.equal(
        result.state_dict["encoder.stages.0.downsample.reduction.weight"],
        source["layers.0.downsample.reduction.weight"],
    )


def test_vmamba_t_fills_mamba_unet_as_its_authors_do(saved):
    source = filled(vmamba_shapes("T"))
    result = fill(MambaUNet(3, 2), open_checkpoint(saved({"model": source})))
    assert len(result.loaded) == 197
    for ours, theirs in {
        "encoder.norm.weight": "norm.weight",
        "encoder.stages.2.blocks.1.norm.weight": "layers.2.blocks.1.ln_1.weight",
        "decoder.stages.0.blocks.1.norm.weight": "layers.2.blocks.1.ln_1.weight",  # its layers_up.1
        "decoder.stages.2.blocks.0.ss2d.Ds": "layers.0.blocks.0.self_attention.Ds",
    }.items():
        assert torch.equal(result.state_dict[ours], source[theirs]), ours
    parts = {name.rpartition(".")[0] for name in result.missing}
    assert parts == {
        *(f"decoder.stages.{k}.{part}" for k in range(3) for part in ("upsample.expand", "upsample.norm", "merge")),
        *("decoder.norm", "decoder.final_up.expand", "decoder.final_up.norm", "decoder.seg_layers.0"),
    }


def test_vmamba2_fills_the_encoder_and_every_tensor_is_accounted_for(vmamba2, saved):
    checkpoint = open_checkpoint(saved({"model": vmamba2}))
    result = fill(VMamba2UNet(3, 2), checkpoint)
    assert len(result.loaded) == 272
    assert {name for name in result.state_dict if name.startswith("encoder.")} == set(result.loaded)
    assert set(result.left_over) == set(CLASSIFIER)
    assert set(result.loaded.values()) | set(result.left_over) == set(vmamba2)
    assert len(fill(VMamba2Encoder(3), checkpoint).loaded) == 272


def test_linear_layers_saved_as_convolutions_are_taken(vmamba2):
    name = "layers.0.blocks.0.mlp.fc1.weight"
    convolutional = vmamba2 | {name: vmamba2[name][:, :, None, None]}
    network = VMamba2Encoder(3)
    load_original(network, convolutional)
    assert torch.equal(network.stages[0].blocks[0].mlp.fc1.weight, vmamba2[name])


def test_one_channel_sums_the_three_of_the_stem(vmamba2):
    network = VMamba2UNet(1, 2)
    report = load_original(network, vmamba2)
    assert report.adapted == {"encoder.patch_embed.proj1.weight": "3 input channels summed to 1"}
    summed = vmamba2["patch_embed.0.weight"].sum(1, keepdim=True)
    assert torch.equal(network.encoder.patch_embed.proj1.weight, summed)


@pytest.mark.parametrize(
    ("kind", "shapes", "prefix", "build"),
    [
        (Kind.SWIN_UMAMBA, "swin_umamba_d_in3_out4_shapes.json", "", SwinUMambaD),
        (Kind.MAMBA_UNET, "mamba_unet_in3_out4_shapes.json", "mamba_unet.", MambaUNet),
    ],
)
def test_published_checkpoints_are_recognised_and_fill_everything(kind, shapes, prefix, build, golden, saved):
    source = golden.state_dict(shapes)
    checkpoint = open_checkpoint(saved({"network_weights": {f"{prefix}{k}": v for k, v in source.items()}}))
    assert checkpoint.kind is kind
    result = fill(build(3, 4), checkpoint)
    assert not result.missing
    assert not result.left_over
    assert len(result.loaded) == len(source)


def test_a_networks_weights_have_no_place_in_another(golden, saved):
    checkpoint = open_checkpoint(saved(golden.state_dict("mamba_unet_in3_out4_shapes.json")))
    with pytest.raises(InputError, match=r"is Mamba-UNet, trained .* which has no place in Swin-UMamba†: choose its"):
        fill(SwinUMambaD(3, 4), checkpoint)
    with pytest.raises(InputError, match="has no place in VM-UNet"):
        load_original(VMUNet(3, 4), golden.state_dict("mamba_unet_in3_out4_shapes.json"))


@pytest.mark.parametrize(("size", "name"), [("T", "vmunet-t"), ("S", "vmunet-s")])
def test_all_blocks_of_a_file_are_used_at_its_depths(size, name, saved, run):
    file = saved({"model": filled(vmamba_shapes(size))})
    numbers = ("--input-channels", 3, "--num-classes", 2)
    shallow = run("weights", "import", file, "-o", file.with_name("shallow.pth"), *numbers).out
    held = {"T": "2, 2, 9, 2", "S": "2, 2, 27, 2"}[size]
    assert f"Blocks of the file's stages: {held}; used: 2, 2, 2, 2. All are used with --network {name}" in shallow
    deep = run("weights", "import", file, "-o", file.with_name("deep.pth"), *numbers, "--network", name).out
    assert f"Blocks of the file's stages: {held}; used: {held}\n" in deep
    assert f"-tr nnUNetTrainerVMUNet_{size} " in deep
    network = build_network(architecture_of(name), 3, 2)
    network.load_state_dict(torch.load(file.with_name("deep.pth"), weights_only=True)["network_weights"])


@pytest.mark.parametrize("name", NETWORKS)
def test_show_recognises_what_import_wrote(name, vmamba2, saved, run):
    vmamba = vmamba2 if name == "vmamba2-unet" else filled(vmamba_shapes("S" if name == "vmunet-s" else "T"))
    file, output = saved({"model": vmamba}), saved({}).with_name("imported.pth")
    numbers = ("--input-channels", 3, "--num-classes", 2)
    assert run("weights", "import", file, "-o", output, *numbers, "--network", name).code == 0
    shown = run("weights", "show", output)
    assert shown.code == 0
    assert f"In {NETWORKS[name].network_class.title} it fills" in shown.out
    assert "Fingerprint in the log of a training" in shown.out  # nothing was missing, so depths and widths were found


def test_an_unknown_network_is_refused(refused, saved):
    file = saved({"model": filled(vmamba_shapes("T"))})
    numbers = ("--input-channels", 3, "--num-classes", 2)
    message = refused("weights", "import", file, "-o", "x.pth", *numbers, "--network", "unet")
    assert "--network unet: choose from vmunet, vmunet-t, vmunet-s, vmamba2-unet, swin-umamba-d, mamba-unet" in message
