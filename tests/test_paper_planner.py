"""VMUNetPlannerPaper, on made-up fingerprints and, with its preprocessor and trainer, on pictures of several sizes."""

import json

import numpy as np
import pytest
import torch
from nnunetv2.experiment_planning.plan_and_preprocess_api import (
    extract_fingerprint_dataset,
    plan_experiment_dataset,
    preprocess_dataset,
)
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities import find_class_by_name
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from PIL import Image

from nnunet_vmunet.errors import InputError
from nnunet_vmunet.memory_model import TrainingMemory
from nnunet_vmunet.paper_planner import VMUNetPlannerPaper
from nnunet_vmunet.planner import VMUNetPlanner
from nnunet_vmunet.plans import are_of_volumes
from nnunet_vmunet.trainers import nnUNetTrainerVMUNet_paper

DATASET = "Dataset908_Paper"
PHOTOGRAPHS = [((1, 767, 1022), (999, 1, 1)), ((1, 540, 722), (999, 1, 1))]
CT = [((110, 512, 512), (3, 0.7, 0.7)), ((147, 400, 512), (3, 0.98, 0.98))]
CORONAL = [((180, 24, 160), (1, 4, 1.2)), ((200, 20, 170), (1, 4, 1.1))]


@pytest.fixture
def folders(tmp_path, monkeypatch, registered):
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        (tmp_path / name / DATASET).mkdir(parents=True)
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setattr(VMUNetPlanner, "memory", TrainingMemory(parameters=10**8, per_pixel=4000))
    return tmp_path


@pytest.fixture
def planner(folders):
    """Call it with images, (shape in voxels, spacing in mm) each, as nnU-Net finds them."""

    def make(images, channels=("R", "G", "B"), **arguments):
        dataset_json = {
            "channel_names": {str(i): name for i, name in enumerate(channels)},
            "labels": {"background": 0, "lesion": 1},
            "numTraining": len(images),
            "file_ending": ".nii.gz",
            "overwrite_image_reader_writer": "SimpleITKIO",
            "dataset": {"a": {"images": ["a_0000"], "label": "a"}},
        }
        shapes, spacings = zip(*images, strict=True)
        fingerprint = {
            "spacings": spacings,
            "shapes_after_crop": shapes,
            "median_relative_size_after_cropping": 0.5,  # for which nnU-Net would normalise what is not 0 alone
            "foreground_intensity_properties_per_channel": {},
        }
        (folders / "nnUNet_raw" / DATASET / "dataset.json").write_text(json.dumps(dataset_json))
        (folders / "nnUNet_preprocessed" / DATASET / "dataset_fingerprint.json").write_text(json.dumps(fingerprint))
        return VMUNetPlannerPaper(DATASET, **arguments)

    return make


@pytest.mark.parametrize(
    ("images", "side", "slices"), [(PHOTOGRAPHS, 256, 1), (CT, 224, 128.5), (CORONAL, 224, 22)], ids=["2D", "CT", "MR"]
)
def test_pictures_are_256_and_slices_of_volumes_224(planner, images, side, slices):
    plans = planner(images).plan_experiment()
    assert plans["plans_name"] == "nnUNetVMUNetPlansPaper"
    assert are_of_volumes(plans) == (slices > 1)
    configuration = plans["configurations"]["2d"]
    assert configuration["preprocessor_name"] == "PaperPreprocessor"
    assert (configuration["patch_size"], configuration["batch_size"]) == ([side, side], 32)
    assert configuration["spacing"] == [1, 1]
    assert configuration["median_image_size_in_voxels"] == [side, side]
    assert configuration["use_mask_for_norm"] == [False] * 3


def test_nnunet_finds_the_preprocessor_that_the_plans_name(planner):
    plans = PlansManager(planner(CT, ["CT"]).plan_experiment())
    assert plans.get_configuration("2d").preprocessor_class.__module__ == "nnunet_vmunet.preprocessing"


def test_without_the_preprocessor_nothing_is_planned(planner, folders, monkeypatch):
    made = planner(PHOTOGRAPHS)
    monkeypatch.setattr(find_class_by_name, "recursive_find_python_class", lambda *_: None)
    with pytest.raises(InputError, match=rf"does not find PaperPreprocessor.*{DATASET}.*run nnunet-vmunet register"):
        made.plan_experiment()
    assert not list((folders / "nnUNet_preprocessed" / DATASET).glob("*Plans*"))


def test_another_preprocessor_is_refused(planner):
    with pytest.raises(InputError, match="leave out -preprocessor_name"):
        planner(PHOTOGRAPHS, preprocessor_name="MyPreprocessor")
    planner(PHOTOGRAPHS, preprocessor_name="PaperPreprocessor").plan_experiment()


@pytest.mark.slow
def test_from_pictures_of_several_sizes_to_their_masks(folders, monkeypatch):
    """nnU-Net's own steps, in this process; its reader of pictures, at whose spacing nothing would be resized."""
    sizes = [(70, 50), (90, 120), (40, 80)]
    raw = folders / "nnUNet_raw" / DATASET
    for i, size in enumerate(sizes):
        write_picture(raw, f"case{i}", *size)
    splits = [{"train": ["case0", "case1"], "val": ["case2"]}]
    dataset_json = {
        "channel_names": {"0": "R", "1": "G", "2": "B"},
        "labels": {"background": 0, "square": 1},
        "numTraining": len(sizes),
        "file_ending": ".png",
    }
    (raw / "dataset.json").write_text(json.dumps(dataset_json))
    (raw / "splits_final.json").write_text(json.dumps(splits))
    extract_fingerprint_dataset(908, num_processes=1, verbose=False, show_progress_bar=False)
    plans, name = plan_experiment_dataset(908, VMUNetPlannerPaper)
    sizes_of_network = {"depths": [1, 1], "depths_decoder": [1, 1], "dims": [8, 16], "d_state": 2}
    plans["configurations"]["2d"]["architecture"]["arch_kwargs"].update(sizes_of_network)
    plans["configurations"]["2d"]["batch_size"] = 2
    (folders / "nnUNet_preprocessed" / DATASET / f"{name}.json").write_text(json.dumps(plans))
    preprocess_dataset(908, name, ["2d"], [1], show_progress_bar=False)

    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    cpu = torch.device("cpu")
    trainer = nnUNetTrainerVMUNet_paper({**plans, "continue_training": False}, "2d", 0, dataset_json, device=cpu)
    trainer.initialize()
    trainer.num_epochs = 1
    trainer.run_training()
    predictor = nnUNetPredictor(device=cpu, verbose=False, allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(trainer.output_folder_base, (0,))
    assert predictor.allowed_mirroring_axes is None
    images = [[str(raw / "imagesTr" / f"case{i}_0000.png")] for i in range(len(sizes))]
    outputs = [str(folders / f"case{i}") for i in range(len(sizes))]
    predictor.predict_from_files_sequential(images, outputs)
    for output, (height, width) in zip(outputs, sizes, strict=True):
        assert Image.open(f"{output}.png").size == (width, height)


def write_picture(raw, name: str, height: int, width: int) -> None:
    """A bright square, below a black border that nnU-Net would cut off."""
    label = np.zeros((height, width), np.uint8)
    label[height // 2 : -10, width // 4 : width // 2] = 1
    image = np.random.default_rng(0).integers(0, 100, (height, width, 3)) + 100 * label[..., None]
    image[:10] = 0
    for folder, content in (("imagesTr", image.astype(np.uint8)), ("labelsTr", label)):
        (raw / folder).mkdir(exist_ok=True)
        Image.fromarray(content).save(raw / folder / f"{name}{'_0000' * (folder == 'imagesTr')}.png")
