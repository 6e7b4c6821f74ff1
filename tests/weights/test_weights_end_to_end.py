"""Imported weights in nnU-Net's own commands, on generated photographs."""

import numpy as np
import pytest
import torch
from PIL import Image
from published_weights import our_name
from squares import write_squares

from nnunet_vmunet.models import VMUNet
from nnunet_vmunet.weights.checkpoint import fingerprint

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]

DATASET, TRAINER = "Dataset905_Squares", "nnUNetTrainerVMUNet_5epochs"


@pytest.fixture
def planned(nnunet):
    """Eight photographs, preprocessed, and the folder of the images."""
    raw = nnunet.raw / DATASET
    write_squares(raw, cases=8)
    nnunet.run("nnUNetv2_plan_and_preprocess", "-d", "905", "-c", "2d", "-npfp", "1", "-np", "1")
    return raw / "imagesTr"


def test_a_training_starts_from_the_imported_tensors_exactly(nnunet, planned, vmamba_s, saved):
    source, output = saved({"model": vmamba_s}), nnunet.folder / "vmunet_s.pth"
    nnunet.run("nnunet-vmunet", "weights", "import", source, "-o", output, "--dataset", "905")
    weights = torch.load(output, weights_only=True)["network_weights"]
    log = nnunet.run("nnUNetv2_train", "905", "2d", "0", "-tr", TRAINER, "-pretrained_weights", output, *nnunet.device)
    # The fingerprint is of what the network held when its first epoch began.
    assert f"Starting from given weights, fingerprint {fingerprint(weights)}, from {output}" in log
    assert f"imported from {source.name}" in log
    assert (nnunet.results / DATASET / f"{TRAINER}__nnUNetPlans__2d" / "fold_0" / "checkpoint_final.pth").exists()


def test_a_published_checkpoint_predicts_without_training(nnunet, planned, published, saved):
    network = VMUNet(3, 1).eval()
    network.load_state_dict({our_name(name.removeprefix("vmunet.")): tensor for name, tensor in published.items()})
    names = [f"case{i}" for i in range(8)]
    images = torch.stack([torch.from_numpy(np.array(Image.open(planned / f"{name}_0000.png"))) for name in names])
    with torch.no_grad():
        z = network(images.permute(0, 3, 1, 2).float())[:, 0]
    middle = z.median()  # made the threshold, so that both labels are predicted
    source = saved(published | {"vmunet.final_conv.bias": published["vmunet.final_conv.bias"] - middle})

    nnunet.run("nnunet-vmunet", "weights", "import", source, "--dataset", "905", "--as-model")
    output = nnunet.folder / "predictions"
    nnunet.run(
        "nnUNetv2_predict",
        "-i",
        planned,
        "-o",
        output,
        "-d",
        "905",
        "-c",
        "2d",
        "-f",
        "0",
        "-tr",
        "nnUNetTrainerVMUNet_fp32",
        "-p",
        "nnUNetPlans",
        "-npp",
        "1",
        "-nps",
        "1",
        *nnunet.device,
    )
    predicted = torch.stack([torch.from_numpy(np.array(Image.open(output / f"{name}.png"))) for name in names])
    decided = (z - middle).abs() > 0.01  # where rounding cannot matter
    assert decided.float().mean() > 0.9
    assert torch.equal((predicted == 1)[decided], (z > middle)[decided])
