"""VMUNetPlannerPaper, on made-up fingerprints and, with its preprocessor and trainer, on pictures of several sizes."""

import json

import numpy as np
import pytest
from nnunetv2.utilities import find_class_by_name
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from PIL import Image

from nnunet_vmunet.errors import InputError
from nnunet_vmunet.memory_model import TrainingMemory
from nnunet_vmunet.paper_planner import VMUNetPlannerPaper
from nnunet_vmunet.planner import VMUNetPlanner
from nnunet_vmunet.plans import are_of_volumes

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
@pytest.mark.end_to_end
def test_from_pictures_of_several_sizes_to_their_masks(nnunet, tmp_path, monkeypatch):
    sizes = [(70, 50), (64, 64), (90, 120), (40, 80), (64, 48), (100, 64)]
    rng = np.random.default_rng(0)
    raw = nnunet.raw / DATASET
    for folder in ("imagesTr", "labelsTr", "imagesTs"):
        (raw / folder).mkdir(parents=True)
    for i, (height, width) in enumerate(sizes):
        label = np.zeros((height, width), np.uint8)
        label[height // 4 : height // 2, width // 4 : width // 2] = 1
        image = (rng.integers(0, 100, (height, width, 3)) + 100 * label[..., None]).astype(np.uint8)
        image[:10] = 0  # a black border, which nnU-Net would cut off
        Image.fromarray(image).save(raw / "imagesTr" / f"case{i}_0000.png")
        Image.fromarray(label).save(raw / "labelsTr" / f"case{i}.png")
        Image.fromarray(image).save(raw / "imagesTs" / f"case{i}_0000.png")
    description = {
        "channel_names": {"0": "R", "1": "G", "2": "B"},
        "labels": {"background": 0, "square": 1},
        "numTraining": len(sizes),
        "file_ending": ".png",
    }
    (raw / "dataset.json").write_text(json.dumps(description))
    nnunet.run(
        *("nnUNetv2_plan_and_preprocess", "-d", "908", "-c", "2d", "-pl", "VMUNetPlannerPaper"),
        *("-np", "1", "-npfp", "1", "--verify_dataset_integrity"),
    )
    file = nnunet.preprocessed / DATASET / "nnUNetVMUNetPlansPaper.json"
    plans = json.loads(file.read_text())
    plans["configurations"]["2d"]["architecture"]["arch_kwargs"].update(
        depths=[1, 1], depths_decoder=[1, 1], dims=[8, 16], d_state=2
    )
    plans["configurations"]["2d"]["batch_size"] = 2
    file.write_text(json.dumps(plans))
    model = ("-tr", "PaperFor2Epochs", "-p", "nnUNetVMUNetPlansPaper")
    monkeypatch.setenv("nnUNet_extTrainer", str(tmp_path / "trainers"))
    (tmp_path / "trainers").mkdir()
    (tmp_path / "trainers" / "two_epochs.py").write_text(
        "from nnunet_vmunet.trainers import nnUNetTrainerVMUNet_paper\n\n\n"
        "class PaperFor2Epochs(nnUNetTrainerVMUNet_paper):\n    epochs = 2\n"
    )
    log = nnunet.run("nnUNetv2_train", "908", "2d", "0", *model, *nnunet.device)
    assert "The final weights are those of epoch" in log
    nnunet.run(
        *("nnUNetv2_predict", "-i", raw / "imagesTs", "-o", tmp_path / "masks", "-d", "908", "-c", "2d"),
        *("-f", "0", *model, *nnunet.device, "-npp", "1", "-nps", "1"),
    )
    for i, (height, width) in enumerate(sizes):
        mask = np.asarray(Image.open(tmp_path / "masks" / f"case{i}.png"))
        assert mask.shape == (height, width)
