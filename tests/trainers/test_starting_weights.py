"""The line in the training log that says which weights a training starts from."""

import sys

import pytest
import torch
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights

from nnunet_vmunet.models import VMUNet
from nnunet_vmunet.trainers import nnUNetTrainerVMUNet
from nnunet_vmunet.trainers.starting_weights import advice, describe_start
from nnunet_vmunet.weights.checkpoint import fingerprint

SIZES = {"depths": (1, 1), "depths_decoder": (1, 1), "dims": (8, 16)}
PROVENANCE = {"source": "vssmsmall_dp03_ckpt_epoch_238.pth", "kind": "VMamba-S v0", "sha256": "0123456789abcdef"}


@pytest.fixture
def weights():
    return VMUNet(1, 2, **SIZES).state_dict()


@pytest.fixture
def typed(monkeypatch, tmp_path):
    """Save `content` and let it be the -pretrained_weights of this process's command line."""

    def type_(content):
        file = tmp_path / "weights.pth"
        torch.save(content, file)
        monkeypatch.setattr(sys, "argv", ["nnUNetv2_train", "118", "2d", "0", "-pretrained_weights", str(file)])
        return file

    return type_


def test_without_any_it_says_how_to_get_them(weights):
    line = describe_start("vmunet", fingerprint(weights), weights)
    assert line == advice("vmunet")
    assert "\n" not in line
    assert "nnunet-vmunet weights import" in line


def test_an_imported_file_is_named_with_its_source(weights, typed):
    file = typed({"network_weights": weights, "provenance": PROVENANCE})
    assert describe_start("vmunet", "another", weights) == (
        f"Starting from given weights, fingerprint {fingerprint(weights)}, from {file}, imported from "
        "vssmsmall_dp03_ckpt_epoch_238.pth (SHA-256 0123456789abcdef)"
    )


def test_a_file_with_other_weights_is_not_named(weights, typed):
    typed({"network_weights": VMUNet(1, 2, **SIZES).state_dict()})
    assert (
        describe_start("vmunet", "another", weights)
        == f"Starting from given weights, fingerprint {fingerprint(weights)}"
    )


def test_a_file_that_would_need_trust_is_named_unopened(weights, typed):
    file = typed({"network_weights": weights, "code": VMUNet})
    assert describe_start("vmunet", "another", weights).endswith(f"as -pretrained_weights {file} gave them")


def test_the_trainer_logs_it_at_the_first_epoch_alone(tiny_dataset, typed, tmp_path):
    trainer = tiny_dataset().trainer(nnUNetTrainerVMUNet)
    logged = []
    trainer.print_to_log_file = lambda *words, **options: logged.append(" ".join(map(str, words)))
    trainer.initialize()
    trainer.on_train_start()
    assert advice("vmunet") in logged

    file = typed({"network_weights": VMUNet(1, 2).state_dict(), "provenance": PROVENANCE})
    load_pretrained_weights(trainer.network, file)
    trainer.on_train_start()
    assert any(line.startswith("Starting from given weights") and str(file) in line for line in logged)

    logged.clear()
    trainer.current_epoch = 1  # as after --c
    trainer.on_train_start()
    assert not any(line.startswith("Starting from") for line in logged)


@pytest.mark.parametrize(
    ("network", "download", "option"),
    [
        ("vmunet", "vmamba-s", ""),
        ("vmunet-t", "vmamba-t", " --network vmunet-t"),
        ("vmamba2-unet", "vmamba2-t", " --network vmamba2-unet"),
    ],
)
def test_the_advice_names_each_networks_own_weights(network, download, option):
    line = advice(network)
    assert f"weights download {download}`" in line
    assert f"--dataset ID{option}`," in line
