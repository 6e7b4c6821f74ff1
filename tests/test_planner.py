"""VMUNetPlanner and the paper's geometry, on made-up fingerprints and on real volumes."""

import json

import numpy as np
import pytest
import torch
from nnunetv2.experiment_planning.plan_and_preprocess_api import (
    extract_fingerprint_dataset,
    plan_experiment_dataset,
    preprocess_dataset,
)
from nnunetv2.imageio import reader_writer_registry
from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO
from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape
from nnunetv2.training.nnUNetTrainer.variants.network_architecture.nnUNetTrainerNoDeepSupervision import (
    nnUNetTrainerNoDeepSupervision,
)
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_vmunet import planner as planners
from nnunet_vmunet.errors import InputError
from nnunet_vmunet.memory_model import TrainingMemory
from nnunet_vmunet.models import VMUNet
from nnunet_vmunet.planner import DIVISOR, GB, VMUNetPlanner, VMUNetPlanner224, VMUNetPlanner256
from nnunet_vmunet.plans import NETWORKS, architecture_of
from nnunet_vmunet.trainers import nnUNetTrainerVMUNet

DATASET = "Dataset901_Planned"
PAPER_GEOMETRY = [VMUNetPlanner224, VMUNetPlanner256]
FAMILY = [getattr(planners, name) for name in planners.__all__ if name not in ("VMUNetPlanner224", "VMUNetPlanner256")]

CT = [((110, 512, 512), (3, 0.7, 0.7)), ((89, 512, 512), (5, 0.8, 0.8)), ((147, 512, 512), (3, 0.98, 0.98))]
CORONAL_MR = [((180, 24, 160), (1, 4, 1.2)), ((200, 20, 170), (1, 4, 1.1)), ((190, 22, 150), (0.9, 4.4, 1.2))]
PHOTOGRAPHS = [((1, 767, 1022), (999, 1, 1)), ((1, 2848, 4288), (999, 1, 1)), ((1, 540, 722), (999, 1, 1))]
WHOLE_PHOTOGRAPHS = [((1, *size), (999, 256 / size[0], 256 / size[1])) for size in ((767, 1022), (540, 722))]
IMAGES = {"CT": CT, "coronal MR": CORONAL_MR, "photographs": PHOTOGRAPHS, "whole photographs": WHOLE_PHOTOGRAPHS}


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """nnU-Net's folders, each with an empty dataset."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        (tmp_path / name / DATASET).mkdir(parents=True)
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    return tmp_path


@pytest.fixture
def planner(folders):
    """Call it with a planner class and images, (shape in voxels, spacing in mm) each, as nnU-Net finds them."""

    def make(cls=VMUNetPlanner, images=CT, channels=1, classes=2, num_training=None, **arguments):
        dataset_json = {
            "channel_names": {str(c): "MRI" for c in range(channels)},
            "labels": {"background": 0, **{f"organ{i}": i for i in range(1, classes)}},
            "numTraining": num_training or len(images),
            "file_ending": ".nii.gz",
            "overwrite_image_reader_writer": "SimpleITKIO",
            "dataset": {"a": {"images": ["a_0000"], "label": "a"}},
        }
        shapes, spacings = zip(*images, strict=True)
        fingerprint = {
            "spacings": spacings,
            "shapes_after_crop": shapes,
            "median_relative_size_after_cropping": 1.0,
            "foreground_intensity_properties_per_channel": {},
        }
        (folders / "nnUNet_raw" / DATASET / "dataset.json").write_text(json.dumps(dataset_json))
        (folders / "nnUNet_preprocessed" / DATASET / "dataset_fingerprint.json").write_text(json.dumps(fingerprint))
        return cls(DATASET, **arguments)

    return make


def test_photographs_that_shrink_are_averaged_and_volumes_resampled_as_by_nnunet(planner, registered):
    def resampling_of(reader, images):
        made = planner(images=images)
        made.dataset_json["overwrite_image_reader_writer"] = reader
        return made.plan_experiment()["configurations"]["2d"]["resampling_fn_data"]

    assert resampling_of("WholeGreyImage2DIO", WHOLE_PHOTOGRAPHS) == "resample_averaging"
    assert resampling_of("SimpleITKIO", CT) == "resample_data_or_seg_to_shape"


@pytest.fixture
def memory(monkeypatch):
    """A round memory model that costs no count: 0.4 GB in all for the parameters, 4 KB for a pixel."""
    memory = TrainingMemory(parameters=8 * 10**7, per_pixel=4000)
    monkeypatch.setattr(VMUNetPlanner, "memory", memory)
    return memory


def written_plans(folders, name):
    return json.loads((folders / "nnUNet_preprocessed" / DATASET / f"{name}.json").read_text())


def test_plans_hold_what_nnunet_reads(planner, folders):
    planner(channels=3, classes=9).plan_experiment()
    plans = written_plans(folders, "nnUNetVMUNetPlans")
    assert plans["plans_name"] == "nnUNetVMUNetPlans"
    assert plans["experiment_planner_used"] == "VMUNetPlanner"
    assert plans["original_median_shape_after_transp"] == [110, 512, 512]
    assert plans["original_median_spacing_after_transp"] == [3, 0.8, 0.8]
    configuration = PlansManager(plans).get_configuration("2d")
    assert configuration.data_identifier == "nnUNetVMUNetPlans_2d"
    assert configuration.spacing == [0.8, 0.8]
    assert configuration.patch_size == [512, 512]
    assert configuration.normalization_schemes == ["ZScoreNormalization"] * 3
    assert configuration.use_mask_for_norm == [False] * 3
    assert configuration.batch_dice
    resampled = configuration.resampling_fn_data(np.ones((1, 2, 4, 4)), (2, 8, 8), (1, 2, 2), (1, 1, 1))
    assert resampled.shape == (1, 2, 8, 8)
    assert configuration.network_arch_class_name == "nnunet_vmunet.models.VMUNet"
    assert configuration.network_arch_init_kwargs["dims"] == [96, 192, 384, 768]
    assert (folders / "nnUNet_preprocessed" / DATASET / "dataset.json").exists()


@pytest.mark.parametrize("cls", [VMUNetPlanner, *PAPER_GEOMETRY])
def test_volumes_are_planned_in_2d_only(cls, planner, memory):
    assert list(planner(cls).plan_experiment()["configurations"]) == ["2d"]


def test_each_planner_has_its_own_plans_and_preprocessed_data(planner, memory):
    plans = [planner(cls).plan_experiment() for cls in (VMUNetPlanner, *PAPER_GEOMETRY)]
    plans.append(planner(plans_name="mine").plan_experiment())
    names = ["nnUNetVMUNetPlans", "nnUNetVMUNetPlans224", "nnUNetVMUNetPlans256", "mine"]
    assert [p["plans_name"] for p in plans] == names
    assert [p["configurations"]["2d"]["data_identifier"] for p in plans] == [f"{name}_2d" for name in names]


def test_patches_are_multiples_of_32_and_no_larger_than_needed(planner, memory):
    assert VMUNet(1, 2).size_divisor == DIVISOR
    planner = planner()
    rng = np.random.default_rng(0)
    for median in np.exp(rng.uniform(0, np.log(20_000), (300, 2))):
        for target in (0.5, 8, 80):
            planner.UNet_vram_target_GB = target
            patch, batch = planner.patch_and_batch_size(median, pixels=1e12)
            assert all(side % 32 == 0 and 0 < side < n + 32 for side, n in zip(patch, median, strict=True))
            assert batch >= 2
            assert memory.peak(batch, patch) <= target * GB
            if any(side < n for side, n in zip(patch, median, strict=True)):  # cut down, so a little more is too much
                larger = [side + 32 * (side < n) for side, n in zip(patch, median, strict=True)]
                assert memory.peak(2, larger) > target * GB


def test_a_patch_that_is_cut_down_keeps_the_medians_proportions(planner, memory):
    patch, _ = planner(gpu_memory_target_in_gb=2).patch_and_batch_size((1000, 3000), pixels=1e12)
    assert max(patch) < 1000
    assert patch[1] / patch[0] == pytest.approx(3, abs=0.3)


def test_more_memory_means_larger_batches_or_patches(planner, memory):
    planner = planner()
    for median in ((256, 256), (512, 512), (50, 35), (700, 90), (3000, 4000)):
        planned = []
        for planner.UNet_vram_target_GB in np.geomspace(0.5, 200, 60):
            planned.append(planner.patch_and_batch_size(median, pixels=1e12))
        areas = [np.prod(patch) for patch, _ in planned]
        assert areas == sorted(areas)
        for area in set(areas):
            batches = [batch for (_, batch), its_area in zip(planned, areas, strict=True) if its_area == area]
            assert batches == sorted(batches)
        assert planned[-1][1] > planned[0][1]


def test_target_reaches_the_planner_as_in_nnunets_command(planner, memory):
    def batch(target):
        planner(images=[((200, 256, 256), (3, 1, 1))] * 50)
        plans, _ = plan_experiment_dataset(901, VMUNetPlanner, gpu_memory_target_in_gb=target)
        return plans["configurations"]["2d"]["batch_size"]

    assert batch(None) == batch(8) == memory.largest_batch((256, 256), 8e9)
    assert batch(24) == memory.largest_batch((256, 256), 24e9)


@pytest.mark.parametrize(("slices", "batch"), [(1000, 29), (400, 20), (100, 5), (10, 2)])
def test_a_batch_is_at_most_5_percent_of_the_dataset(slices, batch, planner, memory):
    """29 patches of 256×256 would fit into 8 GB."""
    configuration = planner(images=[((slices, 256, 256), (3, 1, 1))]).plan_experiment()["configurations"]["2d"]
    assert configuration["batch_size"] == batch


def test_a_target_that_nothing_fits_is_refused(planner, memory):
    with pytest.raises(InputError, match=r"-gpu_memory_target 0\.3 is too small .* needs 0\.5 GB"):
        planner(gpu_memory_target_in_gb=0.3).plan_experiment()
    planner(gpu_memory_target_in_gb=0.5).plan_experiment()


def preprocessed_shapes(plans, images):
    """(slices, height, width) of each image once nnU-Net has preprocessed it by the 2D plans."""
    forward, spacing = plans["transpose_forward"], plans["configurations"]["2d"]["spacing"]
    shapes, spacings = (np.array(values)[:, forward] for values in zip(*images, strict=True))
    return [compute_new_shape(shape, own, [own[0], *spacing]) for shape, own in zip(shapes, spacings, strict=True)]


@pytest.mark.parametrize("images", IMAGES.values(), ids=IMAGES)
@pytest.mark.parametrize("cls", PAPER_GEOMETRY)
def test_the_median_slice_becomes_the_papers(cls, images, planner, memory):
    plans = planner(cls, images).plan_experiment()
    configuration = plans["configurations"]["2d"]
    assert configuration["patch_size"] == [cls.side, cls.side]
    assert configuration["batch_size"] == 32
    shapes = preprocessed_shapes(plans, images)
    assert np.median(shapes, 0)[1:].tolist() == [cls.side, cls.side]
    assert configuration["median_image_size_in_voxels"] == [cls.side, cls.side]


@pytest.mark.parametrize("cls", [VMUNetPlanner, *PAPER_GEOMETRY])
def test_slices_are_cut_across_the_coarsest_axis(cls, planner, memory):
    plans = planner(cls, CORONAL_MR).plan_experiment()
    assert plans["transpose_forward"] == [1, 0, 2]
    assert plans["transpose_backward"] == [1, 0, 2]
    slices = [shape[0] for shape in preprocessed_shapes(plans, CORONAL_MR)]
    assert slices == [shape[1] for shape, _ in CORONAL_MR]  # as many as before


def test_each_axis_is_resized_for_itself(planner, memory):
    """A photograph of 450×900 becomes square: 224 rows that are 2 pixels high each, 224 columns 4 wide."""
    plans = planner(VMUNetPlanner224, [((1, 448, 896), (999, 1, 1))]).plan_experiment()
    assert plans["configurations"]["2d"]["spacing"] == [2, 4]


def test_whole_photographs_all_become_the_same_size(planner, memory):
    """The plugin's reader gives every photograph the same extent, so not only the median is 256×256."""
    plans = planner(VMUNetPlanner256, WHOLE_PHOTOGRAPHS).plan_experiment()
    assert [shape.tolist() for shape in preprocessed_shapes(plans, WHOLE_PHOTOGRAPHS)] == [[1, 256, 256]] * 2


def test_target_spacing_of_the_user(planner, memory):
    plans = planner(overwrite_target_spacing=[3.0, 1.0, 2.0]).plan_experiment()
    assert plans["configurations"]["2d"]["spacing"] == [1, 2]
    with pytest.raises(InputError, match=r"VMUNetPlanner224 sets the spacing itself: leave out -overwrite_target_spac"):
        planner(VMUNetPlanner224, overwrite_target_spacing=[3.0, 1.0, 2.0]).plan_experiment()


def test_the_papers_batch_stays_where_memory_is_short_and_says_so(planner, memory, capsys):
    plans = planner(VMUNetPlanner256, gpu_memory_target_in_gb=4).plan_experiment()
    assert plans["configurations"]["2d"]["batch_size"] == 32
    assert "more than the target of 4 GB, because the batch is the paper's" in capsys.readouterr().out


def test_planned_network_is_the_trainers(planner):
    """And nnU-Net's own trainers can build it, if they supervise one output."""
    plans = PlansManager(planner(channels=2, classes=4).plan_experiment())
    configuration = plans.get_configuration("2d")
    planned = get_network_from_plans(
        configuration.network_arch_class_name,
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        2,
        4,
    )
    image = torch.randn(1, 2, 32, 64)
    for trainer in (nnUNetTrainerVMUNet, nnUNetTrainerNoDeepSupervision):
        network = trainer.build_network_architecture(plans, configuration, 2, 4, enable_deep_supervision=False)
        network.load_state_dict(planned.state_dict())
        assert type(network) is VMUNet
        with torch.inference_mode():
            assert torch.equal(network.eval()(image), planned.eval()(image))


class Deeper(VMUNet):
    """A variant with something more to keep in memory."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.more = torch.nn.Linear(1000, 1000, bias=False)


class PlannerOfDeeper(VMUNetPlanner):
    def architecture(self):
        sizes = {"depths": [1, 1], "depths_decoder": [1, 1], "dims": [8, 16], "d_state": 4}
        return {**super().architecture(), "network_class_name": f"{__name__}.Deeper", "arch_kwargs": sizes}


def test_the_memory_is_of_the_network_that_the_plans_name(planner):
    deeper = planner(PlannerOfDeeper, channels=2, classes=4)
    architecture = deeper.plan_experiment()["configurations"]["2d"]["architecture"]
    assert architecture == deeper.architecture()
    network = Deeper(2, 4, **architecture["arch_kwargs"])
    assert deeper.memory.parameters == 4 * sum(parameter.numel() for parameter in network.parameters())  # bytes


@pytest.fixture
def hippocampus(folders, shared):
    """Seven real MR volumes of about 36×50×35 voxels, read where they lie."""
    source = shared / "data" / "msd_hippocampus"
    files = sorted((source / "labels").iterdir())[:7]
    cases = [file.name.removesuffix(".nii.gz") for file in files]
    dataset_json = {
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0, "anterior": 1, "posterior": 2},
        "numTraining": len(files),
        "file_ending": ".nii.gz",
        "dataset": {
            case: {"images": [str(source / "images" / file.name)], "label": str(file)}
            for case, file in zip(cases, files, strict=True)
        },
    }
    raw = folders / "nnUNet_raw" / DATASET
    (raw / "dataset.json").write_text(json.dumps(dataset_json))
    (raw / "splits_final.json").write_text(json.dumps([{"train": cases[:-1], "val": cases[-1:]}]))
    extract_fingerprint_dataset(901, num_processes=1, verbose=False, show_progress_bar=False)
    return dataset_json


@pytest.mark.slow
def test_the_trainer_obeys_the_plans_of_real_volumes(hippocampus, folders):
    configurations = []
    for cls in (VMUNetPlanner, VMUNetPlanner224):
        _, name = plan_experiment_dataset(901, cls)
        preprocess_dataset(901, name, ["2d"], [1], show_progress_bar=False)
        plans = {**written_plans(folders, name), "continue_training": False}
        trainer = nnUNetTrainerVMUNet(plans, "2d", 0, hippocampus, device=torch.device("cpu"))
        trainer.initialize()
        configuration = written_plans(folders, name)["configurations"]["2d"]
        assert trainer.configuration_manager.configuration == configuration
        assert type(trainer.network) is VMUNet
        training, _ = trainer.get_dataloaders()
        assert next(training)["data"].shape == (configuration["batch_size"], 1, *configuration["patch_size"])
        dataset = trainer.get_tr_and_val_datasets()[0].dataset
        shapes = [dataset.load_case(case)[0].shape[2:] for case in dataset.identifiers]
        median = configuration["median_image_size_in_voxels"]
        assert np.median(shapes, 0) == pytest.approx(median, rel=0.1)  # of the six of seven that train
        configurations.append(configuration)

    own, paper = configurations
    assert own["spacing"] == [1, 1]
    assert own["patch_size"] == [64, 64]  # slices of 50×35
    assert (paper["batch_size"], paper["patch_size"]) == (32, [224, 224])
    assert paper["median_image_size_in_voxels"] == [224, 224]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ({"labels": {"0": "background", "1": "organ"}}, "names labels as nnU-Net's first version did"),
        ({"channel_names": {}}, "names no channels"),
        ({"labels": {"background": 0, "organ": 2}}, "has a label 2 and none 1"),
        ({"file_ending": ".jpg"}, "JPEG changes the labels in masks"),
        (
            {"overwrite_image_reader_writer": "WholeImage2DIO"},
            'names 1 channel and its reader WholeImage2DIO gives 3: write "overwrite_image_reader_writer": '
            '"WholeGreyImage2DIO" there, then plan again with --clean',
        ),
    ],
    ids=["old style", "no channels", "gap", "JPEG", "another reader's channels"],
)
def test_what_nnunet_would_read_otherwise_is_refused(planner, folders, memory, registered, content, line):
    made = planner()
    made.dataset_json.update(content)
    with pytest.raises(InputError) as refused:
        made.plan_experiment()
    file = folders / "nnUNet_raw" / DATASET / "dataset.json"
    assert str(refused.value).startswith(str(file))
    assert line in str(refused.value)
    assert not list((folders / "nnUNet_preprocessed" / DATASET).glob("*Plans*"))


def test_a_dataset_that_asks_for_our_reader_is_not_planned_with_another(planner, memory, monkeypatch):
    def not_found(name):
        raise RuntimeError(f"Unable to find reader writer class '{name}'")

    monkeypatch.setattr(reader_writer_registry, "recursive_find_reader_writer_by_name", not_found)
    made = planner()
    made.dataset_json.update(overwrite_image_reader_writer="WholeGreyImage2DIO", file_ending=".png")
    monkeypatch.setattr(made, "determine_reader_writer", lambda: NaturalImage2DIO)  # what nnU-Net falls back to
    with pytest.raises(InputError, match=r"asks for the image reader WholeGreyImage2DIO.*took NaturalImage2DIO"):
        made.plan_experiment()


@pytest.mark.parametrize("cls", FAMILY, ids=lambda cls: cls.__name__)
def test_each_network_has_a_planner_that_counts_its_memory(cls, planner):
    its = planner(cls, channels=3)
    plans = its.plan_experiment()
    assert plans["plans_name"] == its.default_plans_name
    configuration = PlansManager(plans).get_configuration("2d")
    assert configuration.configuration["architecture"] == architecture_of(cls.network_name)
    network = nnUNetTrainerVMUNet.build_network_architecture(None, configuration, 3, 2)
    assert its.memory.parameters == 4 * sum(parameter.numel() for parameter in network.parameters())  # bytes
    assert its.memory.peak(configuration.batch_size, configuration.patch_size) <= 8 * GB


def test_every_network_and_its_plans_have_a_name_of_their_own():
    assert {cls.network_name for cls in FAMILY} == set(NETWORKS)
    assert len({cls.default_plans_name for cls in FAMILY}) == len(FAMILY)
