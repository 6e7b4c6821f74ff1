"""`weights import` and `weights show` as users type them, and what nnU-Net makes of the file."""

import hashlib
import json

import pytest
import torch
from full_disk import room_per_file
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights
from published_weights import filled, our_name, vmamba_shapes

from nnunet_vmunet import cli
from nnunet_vmunet.models import VMUNet
from nnunet_vmunet.weights.checkpoint import fingerprint, open_checkpoint
from nnunet_vmunet.weights.filling import fill

LESION = {"background": 0, "lesion": 1}


def weights_import(*arguments) -> int:
    return cli.main(["weights", "import", *map(str, arguments)])


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    """Write a dataset.json into $nnUNet_raw, as before any planning."""
    for folder in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(folder, str(tmp_path / folder))

    def write(name, channels, labels):
        folder = tmp_path / "nnUNet_raw" / name
        folder.mkdir(parents=True)
        content = {"channel_names": {str(c): f"c{c}" for c in range(channels)}, "labels": labels}
        (folder / "dataset.json").write_text(json.dumps(content))

    return write


def test_the_file_is_what_nnunets_pretrained_weights_take(vmamba_s, saved, tmp_path, capsys):
    output = tmp_path / "made" / "vmunet_s.pth"
    source = saved({"model": vmamba_s})
    assert weights_import(source, "-o", output, "--input-channels", 1, "--num-classes", 9) == 0
    content = torch.load(output, weights_only=True)
    network = VMUNet(1, 9)
    load_pretrained_weights(network, output)
    for name, tensor in network.state_dict().items():
        if ".seg_layers." not in name:
            assert torch.equal(tensor, content["network_weights"][name]), name
    printed = capsys.readouterr().out
    assert "VMamba-S v0" in printed
    assert "3 input channels summed to 1" in printed
    provenance = content["provenance"]
    assert provenance["source"] == source.name
    assert provenance["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert provenance["mapping_version"] == 1
    assert len(provenance["loaded"]) == 207
    assert list(provenance["adapted"]) == ["encoder.patch_embed.proj.weight"]
    assert len(provenance["initialised"]) == 14
    assert [file.name for file in output.parent.iterdir()] == [output.name]


def test_the_table_counts_tensors_and_parameters_per_stage(vmamba_s, saved):
    lines = fill(VMUNet(3, 1), open_checkpoint(saved(vmamba_s))).table().splitlines()
    rows = {line[:20].strip(): line[20:].split() for line in lines[1:]}
    assert rows["encoder in all"][:1] == ["117"]
    assert rows["decoder in all"][0] == "91"
    assert rows["decoder in all"][3] == "14"
    assert rows["decoder stage 3"][0] == "13"
    assert rows["output layer"] == ["-", "-", "2", "(25)"]
    counted = sum(
        int(word.strip("(),").replace(",", ""))
        for row in ("encoder in all", "decoder in all")
        for word in rows[row]
        if word.startswith("(")
    )
    assert counted == 27_427_561


@pytest.mark.parametrize(
    ("name", "channels", "labels", "heads"),
    [("Dataset118_Lesions", 3, LESION, 2), ("Dataset027_Hearts", 1, {"background": 0, "a": 1, "b": 2, "c": 3}, 4)],
    ids=["lesions", "organs"],
)
def test_channels_and_classes_of_a_dataset(name, channels, labels, heads, dataset, vmamba_s, saved, tmp_path):
    dataset(name, channels, labels)
    output = tmp_path / "weights.pth"
    assert weights_import(saved(vmamba_s), "-o", output, "--dataset", str(int(name[7:10]))) == 0
    weights = torch.load(output, weights_only=True)["network_weights"]
    assert weights["encoder.patch_embed.proj.weight"].shape[1] == channels
    assert len(weights["decoder.seg_layers.0.weight"]) == heads


def test_the_seed_decides_what_is_initialised(vmamba_s, saved, tmp_path):
    source = saved(vmamba_s)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    weights = []
    for i, seed in enumerate((1, 1, 2)):
        output = tmp_path / f"{i}.pth"
        weights_import(source, "-o", output, "--input-channels", 3, "--num-classes", 2, "--seed", seed)
        weights.append(torch.load(output, weights_only=True)["network_weights"]["decoder.final_up.expand.weight"])
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(torch.rand(3), expected)  # the caller's random numbers are not disturbed


def test_two_heads_have_the_probability_of_one(published, saved, tmp_path):
    output = tmp_path / "weights.pth"
    assert weights_import(saved(published), "-o", output, "--input-channels", 3, "--num-classes", 2) == 0
    content = torch.load(output, weights_only=True)
    assert set(content["provenance"]["adapted"]) == {"decoder.seg_layers.0.weight", "decoder.seg_layers.0.bias"}
    one, two = VMUNet(3, 1).eval(), VMUNet(3, 2).eval()
    one.load_state_dict({our_name(name.removeprefix("vmunet.")): tensor for name, tensor in published.items()})
    two.load_state_dict(content["network_weights"])
    features = two.decoder.final_up.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    outputs: list[torch.Tensor] = []
    with torch.no_grad():
        image = torch.rand(2, 3, 64, 64)
        z, heads = one(image), two(image)
        head = two.decoder.seg_layers[0]
        alone = torch.nn.functional.conv2d(outputs[0].permute(0, 3, 1, 2), head.weight[1:], head.bias[1:])
    features.remove()
    assert z.std() > 0.1
    # To the last bit where both are summed in the same order: torch chooses the order by the number of outputs.
    assert torch.equal((alone - heads[:, :1]).sigmoid(), z.sigmoid())
    assert torch.equal(heads[:, 0], torch.zeros_like(heads[:, 0]))
    assert torch.allclose(heads.softmax(1)[:, 1:], z.sigmoid(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("low, high", [(-80, -5), (-5, 5), (5, 80)], ids=["background", "boundary", "lesion"])
def test_softmax_of_zero_and_z_rounds_as_sigmoid_does_within_eps(low, high):
    z = torch.linspace(low, high, 100_000)
    softmax = torch.stack([torch.zeros_like(z), z]).softmax(0)[1]
    assert (softmax - z.sigmoid()).abs().max() <= torch.finfo(torch.float32).eps


def test_another_number_of_classes_is_initialised(published, saved, tmp_path):
    output = tmp_path / "weights.pth"
    assert weights_import(saved(published), "-o", output, "--input-channels", 3, "--num-classes", 9) == 0
    provenance = torch.load(output, weights_only=True)["provenance"]
    assert provenance["initialised"] == ["decoder.seg_layers.0.weight", "decoder.seg_layers.0.bias"]
    assert len(provenance["loaded"]) == 220


def test_an_import_can_be_imported_again(published, saved, tmp_path):
    first, second = tmp_path / "first.pth", tmp_path / "second.pth"
    network = ("--input-channels", 3, "--num-classes", 1)
    assert weights_import(saved(published), "-o", first, *network) == 0
    assert weights_import(first, "-o", second, *network) == 0
    ours, again = (torch.load(file, weights_only=True) for file in (first, second))
    assert all(
        torch.equal(ours["network_weights"][name], again["network_weights"][name]) for name in ours["network_weights"]
    )
    assert again["provenance"]["earlier"]["sha256"] == ours["provenance"]["sha256"]


def test_an_existing_file_is_kept_unless_told(vmamba_s, saved, tmp_path, capsys):
    output = tmp_path / "weights.pth"
    output.write_text("mine")
    arguments = (saved(vmamba_s), "-o", output, "--input-channels", 3, "--num-classes", 2)
    assert weights_import(*arguments) == 2
    assert "give --overwrite" in capsys.readouterr().err
    assert output.read_text() == "mine"
    assert weights_import(*arguments, "--overwrite") == 0
    assert torch.load(output, weights_only=True)["network_weights"]


def test_a_full_disk_is_one_line_and_leaves_what_was_there(vmamba_s, saved, tmp_path, capsys):
    output = tmp_path / "weights.pth"
    output.write_text("mine")
    source = saved(vmamba_s)
    with room_per_file(2**20):
        code = weights_import(source, "-o", output, "--input-channels", 3, "--num-classes", 2, "--overwrite")
    error = capsys.readouterr().err
    assert code == 2
    assert error.startswith(f"nnunet-vmunet: error: {output} cannot be written, make room or choose another place (")
    assert "File too large" in error
    assert error.count("\n") == 1
    assert output.read_text() == "mine"
    assert sorted(tmp_path.iterdir()) == sorted([source, output])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--dataset 118", "give -o FILE"),
        ("-o w.pth --as-model --dataset 118", "give -o FILE"),
        ("-o w.pth", "give --dataset, or both"),
        ("-o w.pth --input-channels 3", "give --dataset, or both"),
        ("-o w.pth --dataset 118 --num-classes 2", "give --dataset, or both"),
        ("-o w.pth --input-channels 3 --num-classes 0", "give numbers from 1"),
        ("-o w.pth --dataset 118", "--dataset 118: no such dataset in"),
    ],
)
def test_wrong_options_are_explained(arguments, message, dataset, capsys):
    assert weights_import("absent.pth", *arguments.split()) == 2
    assert message in capsys.readouterr().err


def test_show_says_what_vmamba_would_fill(vmamba_s, saved, capsys):
    assert cli.main(["weights", "show", str(saved({"model": vmamba_s}))]) == 0
    printed = capsys.readouterr().out
    assert "VMamba-S v0 (blocks 2, 2, 27, 2; 96 channels)" in printed
    assert "tensors in 'model'" in printed
    assert "117 (" in printed and "91 (" in printed


def test_show_names_vmamba_b_and_its_width_refused(saved, capsys):
    assert cli.main(["weights", "show", str(saved(filled(vmamba_shapes("B"))))]) == 2
    shown = capsys.readouterr()
    assert "VMamba-B v0" in shown.out
    assert "has width 128 and this VM-UNet 96" in shown.err


def test_an_import_names_its_source_and_the_fingerprint_of_the_log(published, saved, tmp_path, capsys):
    source, output = saved(published), tmp_path / "weights.pth"
    cli.main(["weights", "import", str(source), "-o", str(output), "--input-channels", "1", "--num-classes", "2"])
    capsys.readouterr()
    assert cli.main(["weights", "show", str(output)]) == 0
    printed = capsys.readouterr().out
    assert f"Imported from {source.name}" in printed
    assert fingerprint(torch.load(output, weights_only=True)["network_weights"]) in printed


def test_the_fingerprint_leaves_out_the_output_layer_alone():
    weights = VMUNet(1, 2).state_dict()
    known = fingerprint(weights)
    weights["decoder.seg_layers.0.bias"] += 1
    assert fingerprint(weights) == known
    weights["encoder.patch_embed.proj.bias"] += 1
    assert fingerprint(weights) != known


@pytest.mark.parametrize("trust", [[], ["--trust"]], ids=["tensors only", "--trust"])
def test_a_refusal_to_show_is_one_line_and_exit_code_2(trust, tmp_path, capsys):
    file = tmp_path / "weights.pth"
    file.write_text("<html>404</html>")
    assert cli.main(["weights", "show", str(file), *trust]) == 2
    assert capsys.readouterr().err.count("\n") == 1
