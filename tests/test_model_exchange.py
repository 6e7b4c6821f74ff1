"""A model taken to another nnU-Net by nnU-Net's own commands, and what is said where the plugin is not registered."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from squares import write_squares

from nnunet_vmunet import register
from nnunet_vmunet.models import VMUNet
from nnunet_vmunet.plans import NETWORK
from nnunet_vmunet.requirement import requirement

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]

DATASET, TRAINER = "Dataset906_Squares", "nnUNetTrainerVMUNet_5epochs"
SMALL = {"depths": [1, 1], "depths_decoder": [1, 1], "dims": [8, 16], "d_state": 4}
OPEN = """
import sys
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
for folder in sys.argv[1:]:
    try:
        nnUNetPredictor(device=torch.device("cpu")).initialize_from_trained_model_folder(folder, (0,))
        print("opened")
    except Exception as error:
        print(error)
"""


def plan_a_small_network(plans: Path) -> None:
    content = json.loads(plans.read_text())
    architecture = {"network_class_name": NETWORK, "arch_kwargs": SMALL, "_kw_requires_import": []}
    content["configurations"]["2d"].update(architecture=architecture, batch_size=2)
    plans.write_text(json.dumps(content))


def test_a_trained_model_predicts_the_same_elsewhere(nnunet):
    write_squares(nnunet.raw / DATASET, cases=5, overwrite_image_reader_writer="WholeImage2DIO")
    nnunet.run("nnUNetv2_plan_and_preprocess", "-d", "906", "-c", "2d", "-npfp", "1", "-np", "1")
    plan_a_small_network(nnunet.preprocessed / DATASET / "nnUNetPlans.json")
    nnunet.run("nnUNetv2_train", "906", "2d", "0", "-tr", TRAINER, *nnunet.device)
    archive, photographs = nnunet.folder / "model.zip", nnunet.folder / "photographs"
    (nnunet.raw / DATASET / "imagesTr").rename(photographs)
    predict = [
        "nnUNetv2_predict",
        "-i",
        photographs,
        "-d",
        "906",
        "-c",
        "2d",
        "-f",
        "0",
        "-tr",
        TRAINER,
        "--save_probabilities",
        "-npp",
        "1",
        "-nps",
        "1",
        *nnunet.device,
    ]
    nnunet.run("nnUNetv2_export_model_to_zip", "-d", "906", "-c", "2d", "-f", "0", "-tr", TRAINER, "-o", archive)
    nnunet.run(*predict, "-o", nnunet.folder / "here")

    # Elsewhere there is the archive and no dataset.
    for folder in (nnunet.raw, nnunet.preprocessed, nnunet.results):
        shutil.rmtree(folder)
    nnunet.results.mkdir()
    nnunet.run("nnUNetv2_install_pretrained_model_from_zip", archive)
    nnunet.run(*predict, "-o", nnunet.folder / "elsewhere")

    for i in range(5):
        here, elsewhere = (nnunet.folder / place / f"case{i}" for place in ("here", "elsewhere"))
        assert here.with_suffix(".png").read_bytes() == elsewhere.with_suffix(".png").read_bytes()
        probabilities, again = (np.load(case.with_suffix(".npz"))["probabilities"] for case in (here, elsewhere))
        assert np.ptp(probabilities) > 0.01
        assert np.array_equal(probabilities, again)


@pytest.fixture
def unregistered(tmp_path):
    """Run a command where the plugin is installed, in an nnU-Net that does not find it."""
    copy, source = tmp_path / "site" / "nnunetv2", Path(find_spec("nnunetv2").origin).parent
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("vmunet"))

    def run(name, *arguments, **variables) -> subprocess.CompletedProcess:
        environment = {**os.environ, "PYTHONPATH": str(copy.parent), "nnUNet_results": str(tmp_path / "nnUNet_results")}
        environment.pop(register.TRAINER_VARIABLE, None)
        program = [str(Path(sys.executable).with_name(name)), *map(str, arguments)]
        return subprocess.run(program, env=environment | variables, capture_output=True, text=True, check=False)

    return run


@pytest.fixture
def model(tmp_path):
    """Write a model folder such as a training leaves, as far as nnUNetv2_predict opens it."""

    def write(dataset: str, reader: str) -> Path:
        architecture = {"network_class_name": NETWORK, "arch_kwargs": SMALL, "_kw_requires_import": []}
        plans = {
            "dataset_name": dataset,
            "image_reader_writer": reader,
            "label_manager": "LabelManager",
            "configurations": {"2d": {"architecture": architecture}},
        }
        checkpoint = {
            "network_weights": VMUNet(1, 2, **SMALL).state_dict(),
            "trainer_name": TRAINER,
            "init_args": {"configuration": "2d", "requires": requirement(TRAINER, plans)},
        }
        folder = tmp_path / "nnUNet_results" / dataset / f"{TRAINER}__nnUNetPlans__2d"
        (folder / "fold_0").mkdir(parents=True)
        torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")
        (folder / "plans.json").write_text(json.dumps(plans))
        description = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "a": 1}, "file_ending": ".nii.gz"}
        (folder / "dataset.json").write_text(json.dumps(description))
        return folder

    return write


def test_the_readme_answers_what_prediction_says_where_the_plugin_is_not_registered(model, unregistered, tmp_path):
    model("Dataset907_Volumes", "SimpleITKIO")
    predicted = unregistered(
        "nnUNetv2_predict",
        "-i",
        tmp_path,
        "-o",
        tmp_path / "masks",
        "-d",
        "907",
        "-c",
        "2d",
        "-f",
        "0",
        "-tr",
        TRAINER,
        "-device",
        "cpu",
    )
    assert predicted.returncode == 1
    last_line = predicted.stderr.splitlines()[-1]
    said = f"Could not find requested nnunet trainer {TRAINER}"
    assert said in last_line
    readme = Path(__file__).parents[1].joinpath("README.md").read_text()
    [answer] = [line for line in readme.splitlines() if line.startswith("| `Could not find requested nnunet trainer")]
    assert said.startswith(answer.split("`")[1]) and "`nnunet-vmunet register`" in answer


def test_the_variable_for_trainers_brings_no_image_reader(model, unregistered):
    photographs, volumes = model("Dataset906_Squares", "WholeImage2DIO"), model("Dataset907_Volumes", "SimpleITKIO")
    found = {register.TRAINER_VARIABLE: str(register.SHIMS_FOLDER / "trainers")}
    opened = unregistered("python", "-c", OPEN, photographs, volumes, photographs, **found)
    assert opened.returncode == 0, opened.stderr
    first, second, third = (line for line in opened.stdout.splitlines() if line == "opened" or "does not find" in line)
    assert second == "opened"
    for refused in (first, third):
        assert "does not find WholeImage2DIO, which the model of Dataset906_Squares needs" in refused
        assert "run nnunet-vmunet register" in refused


def test_weights_are_shown_where_the_plugin_is_not_registered(model, unregistered):
    checkpoint = model("Dataset906_Squares", "WholeImage2DIO") / "fold_0" / "checkpoint_final.pth"
    shown = unregistered("nnunet-vmunet", "weights", "show", checkpoint)
    assert "a network of this plugin" in shown.stdout, shown.stderr
    assert "In VM-UNet it fills" in shown.stdout
