import pytest
import torch
from published_weights import filled, vmamba_shapes

from nnunet_vmunet import cli
from nnunet_vmunet.models import VMUNet
from nnunet_vmunet.weights.checkpoint import fingerprint


def test_vmamba_and_what_it_would_fill(vmamba_s, saved, capsys):
    assert cli.main(["weights", "show", str(saved({"model": vmamba_s}))]) == 0
    printed = capsys.readouterr().out
    assert "VMamba-S v0 (blocks 2, 2, 27, 2; 96 channels)" in printed
    assert "tensors in 'model'" in printed
    assert "117 (" in printed and "91 (" in printed


def test_vmamba_b_is_named_and_its_width_refused(saved, capsys):
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
def test_a_refusal_is_one_line_and_exit_code_2(trust, tmp_path, capsys):
    file = tmp_path / "weights.pth"
    file.write_text("<html>404</html>")
    assert cli.main(["weights", "show", str(file), *trust]) == 2
    assert capsys.readouterr().err.count("\n") == 1
