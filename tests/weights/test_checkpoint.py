"""What files are, and the refusals: one line each that says why."""

import numpy as np
import pytest
import torch

from nnunet_vmunet.errors import InputError
from nnunet_vmunet.models import VMUNet
from nnunet_vmunet.weights.checkpoint import Kind, open_checkpoint
from nnunet_vmunet.weights.filling import fill

EXECUTED = []


def record_execution() -> dict:
    EXECUTED.append(True)
    return {}


class RunsCode:
    def __reduce__(self):
        return record_execution, ()


def reason(file, **options) -> str:
    with pytest.raises(InputError) as refusal:
        open_checkpoint(file, **options)
    message = str(refusal.value)
    assert message.startswith(str(file))
    assert "\n" not in message
    return message


@pytest.mark.parametrize("prefix", ["", "vmunet.", "module.", "module.vmunet.", "_orig_mod."])
@pytest.mark.parametrize("container", [None, "model_state_dict", "state_dict", "network_weights"])
def test_published_checkpoints_in_every_wrapping(prefix, container, published, saved):
    tensors = {prefix + name.removeprefix("vmunet."): tensor for name, tensor in published.items()}
    tensors[f"{prefix}layers.0.total_ops"] = torch.zeros(1)  # thop's counters, found in published files
    checkpoint = open_checkpoint(saved({container: tensors, "epoch": 7} if container else tensors))
    assert checkpoint.kind is Kind.ORIGINAL
    assert checkpoint.container == container
    assert set(checkpoint.tensors) == {name.removeprefix("vmunet.") for name in published}


def test_our_own_weights(saved):
    assert open_checkpoint(saved({"network_weights": VMUNet(1, 2).state_dict()})).kind is Kind.OURS


def test_files_that_hold_more_than_tensors_need_trust(saved):
    file = saved({"network_weights": VMUNet(1, 2).state_dict(), "curve": np.zeros(3)})
    assert "give --trust only if you trust whoever made it" in reason(file)
    assert open_checkpoint(file, trust=True).kind is Kind.OURS


def test_code_is_not_run(saved, published):
    file = saved({"model": published, "hook": RunsCode()})
    assert "record_execution" in reason(file)
    assert not EXECUTED


def test_vmamba_of_version_2_has_no_place_in_vmunet(saved, golden):
    checkpoint = open_checkpoint(saved({"model": golden.state_dict("vmamba_tiny_s1l8_shapes.json")}))
    assert checkpoint.kind is Kind.VMAMBA2
    assert checkpoint.description == "VMamba-T v2 (blocks 2, 2, 8, 2; 96 channels)"
    with pytest.raises(InputError, match="which has no place in VM-UNet: choose its network with --network"):
        fill(VMUNet(3, 2), checkpoint)


def test_swin_is_refused(saved):
    swin = {"layers.0.blocks.0.attn.relative_position_bias_table": torch.zeros(169, 3)}
    assert "Swin Transformer" in reason(saved({"model": swin}))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"conv1.weight": torch.zeros(3)}, "is of another network, neither VMamba nor one of this plugin's"),
        ({"epoch": 3}, "holds no named tensors"),
        ({}, "holds no named tensors"),
        ([torch.zeros(2)], "it holds a list instead of named tensors"),
        (torch.zeros(2), "it holds a Tensor instead of named tensors"),
    ],
    ids=["another network", "no tensors", "empty dictionary", "list", "tensor"],
)
def test_what_is_no_checkpoint_of_ours_is_refused(content, expected, saved):
    assert expected in reason(saved(content))


@pytest.mark.parametrize("trust", [False, True], ids=["tensors only", "--trust"])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.999])
def test_truncated_files_are_called_so(kept, zipped, trust, saved):
    file = saved({f"layer{i}": torch.rand(1000) for i in range(20)}, _use_new_zipfile_serialization=zipped)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * kept)])
    assert "cut off or damaged: download or copy it again" in reason(file, trust=trust)


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"", "is empty"), (b"<!DOCTYPE html>", "is no PyTorch checkpoint"), (b"\x80 and noise", "cut off or damaged")],
    ids=["empty", "web page", "noise"],
)
def test_other_files_are_refused(content, expected, tmp_path):
    file = tmp_path / "weights.pth"
    file.write_bytes(content)
    assert expected in reason(file)


def test_absent_files_and_folders_are_named(tmp_path):
    assert "check the path" in reason(tmp_path / "absent.pth")
    assert "check the path" in reason(tmp_path)
