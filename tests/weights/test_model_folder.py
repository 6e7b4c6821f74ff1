"""`weights import --as-model`: what is written, and what is left alone."""

import json

import pytest
import torch
from full_disk import room_per_file
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.model_sharing.model_export import export_pretrained_model
from nnunetv2.model_sharing.model_import import install_model_from_zip_file
from nnunetv2.preprocessing.normalization.default_normalization_schemes import CTNormalization

from nnunet_vmunet import cli
from nnunet_vmunet.models import VMUNet
from nnunet_vmunet.weights.model_folder import as_the_original

LESION = {"background": 0, "lesion": 1}
UNET = {"network_class_name": "somewhere.UNet", "arch_kwargs": {}, "_kw_requires_import": []}


@pytest.fixture
def planned(tmp_path, monkeypatch):
    """Write a planned dataset 118, and return the folder that its imported model will have."""
    for folder in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(folder, str(tmp_path / folder))

    def write(channels=3, labels=LESION, plans=True):
        folder = tmp_path / "nnUNet_preprocessed" / "Dataset118_Lesions"
        folder.mkdir(parents=True)
        description = {"channel_names": {str(c): f"c{c}" for c in range(channels)}, "labels": labels}
        (folder / "dataset.json").write_text(json.dumps(description))
        settings = {
            "normalization_schemes": ["ZScoreNormalization"] * channels,
            "use_mask_for_norm": [True] * channels,
            "patch_size": [256, 256],
            "architecture": UNET,
        }
        content = {
            "dataset_name": folder.name,
            "configurations": {"2d": settings, "3d_fullres": settings},
            "foreground_intensity_properties_per_channel": {},
        }
        if plans:
            (folder / "nnUNetPlans.json").write_text(json.dumps(content))
        return tmp_path / "nnUNet_results" / folder.name / "nnUNetTrainerVMUNet_fp32__nnUNetPlans__2d"

    return write


def import_model(file, *options) -> int:
    return cli.main(["weights", "import", str(file), "--dataset", "118", "--as-model", *options])


def test_the_folder_holds_what_prediction_reads(planned, published, saved, capsys):
    folder = planned()
    assert import_model(saved(published)) == 0
    checkpoint = torch.load(folder / "fold_0" / "checkpoint_final.pth", weights_only=True)
    assert checkpoint["trainer_name"] == "nnUNetTrainerVMUNet_fp32"
    assert checkpoint["init_args"]["configuration"] == "2d"
    assert checkpoint["init_args"]["requires"]["trainer"] == "nnUNetTrainerVMUNet_fp32"
    VMUNet(3, 2).load_state_dict(checkpoint["network_weights"])
    plans = json.loads((folder / "plans.json").read_text())
    assert plans["configurations"].keys() == {"2d"}
    assert plans["configurations"]["2d"]["architecture"]["network_class_name"] == "nnunet_vmunet.models.VMUNet"
    assert plans["configurations"]["2d"]["normalization_schemes"] == ["NoNormalization"] * 3
    assert json.loads((folder / "dataset.json").read_text())["labels"] == LESION
    assert "the original also stretches each image" in capsys.readouterr().out


def test_the_model_can_be_shared_as_a_trained_one(planned, published, saved, tmp_path, monkeypatch):
    folder, archive = planned(), str(tmp_path / "model.zip")
    (tmp_path / "nnUNet_preprocessed" / folder.parent.name / "dataset_fingerprint.json").write_text("{}")
    assert import_model(saved(published)) == 0
    export_pretrained_model(118, archive, ("2d",), "nnUNetTrainerVMUNet_fp32", folds=(0,))
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "elsewhere"))
    install_model_from_zip_file(archive)
    installed = tmp_path / "elsewhere" / folder.relative_to(tmp_path / "nnUNet_results")
    for name in ("fold_0/checkpoint_final.pth", "plans.json", "dataset.json"):
        assert (installed / name).read_bytes() == (folder / name).read_bytes()


def test_ct_is_clipped_and_scaled_as_the_original_did():
    hounsfield = torch.tensor([[-1000.0, -125.0, 75.0, 275.0, 3000.0]]).numpy()
    properties = {"0": {"percentile_00_5": -970.0, "percentile_99_5": 1200.0, "mean": 80.0, "std": 140.0}}
    plans = {
        "configurations": {"2d": {"normalization_schemes": ["CTNormalization"]}},
        "foreground_intensity_properties_per_channel": properties,
    }
    changed, _ = as_the_original(plans, "2d")
    scheme = CTNormalization(False, changed["foreground_intensity_properties_per_channel"]["0"])
    assert scheme.run(hounsfield).tolist() == [[0, 0, 0.5, 1, 1]]
    assert properties["0"]["mean"] == 80.0  # the given plans stay as they are


def test_plans_of_the_papers_planner_stay_as_they_are():
    settings = {"normalization_schemes": ["ZScoreNormalization"] * 3, "preprocessor_name": "PaperPreprocessor"}
    plans = {"configurations": {"2d": settings}}
    changed, statement = as_the_original(plans, "2d")
    assert changed == plans
    assert statement == "the original's, by PaperPreprocessor"


def test_the_model_predicts_in_float32(planned, published, saved, registered):
    folder = planned()
    assert import_model(saved(published)) == 0
    predictor = nnUNetPredictor(device=torch.device("cpu"))
    predictor.initialize_from_trained_model_folder(str(folder), (0,))
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        assert predictor.network.eval()(torch.zeros(1, 3, 32, 32)).dtype == torch.float32


def test_other_schemes_are_left_and_the_difference_is_stated():
    plans = {"configurations": {"2d": {"normalization_schemes": ["ZScoreNormalization"]}}}
    changed, statement = as_the_original(plans, "2d")
    assert changed == plans
    assert "left as planned (ZScoreNormalization)" in statement


def test_a_full_disk_is_one_line_and_leaves_what_was_there(planned, published, saved, capsys):
    model, source = planned(), saved(published)
    assert import_model(source) == 0
    before = {file: file.read_bytes() for file in model.rglob("*") if file.is_file()}
    capsys.readouterr()
    with room_per_file(2**20):
        assert import_model(source, "--overwrite") == 2
    error = capsys.readouterr().err
    assert error.startswith(f"nnunet-vmunet: error: {model} cannot be written, make room or choose another place (")
    assert "File too large" in error
    assert error.count("\n") == 1
    assert {file: file.read_bytes() for file in model.rglob("*") if file.is_file()} == before
    assert [folder.name for folder in model.parent.iterdir()] == [model.name]


def test_a_training_is_never_replaced(planned, published, saved, capsys):
    folder = planned()
    trained = folder / "fold_0" / "checkpoint_final.pth"
    trained.parent.mkdir(parents=True)
    trained.write_text("days of work")
    assert import_model(saved(published), "--overwrite") == 2
    assert "holds a training" in capsys.readouterr().err
    assert trained.read_text() == "days of work"


def test_an_import_is_replaced_on_request_until_it_is_used(planned, published, saved, capsys):
    folder, source = planned(), saved(published)
    assert import_model(source) == 0
    assert import_model(source) == 2
    assert "give --overwrite" in capsys.readouterr().err
    assert import_model(source, "--overwrite") == 0
    (folder / "fold_1").mkdir()
    (folder / "fold_1" / "checkpoint_final.pth").write_text("trained since")
    assert import_model(source, "--overwrite") == 2


@pytest.mark.parametrize(
    ("source", "dataset", "message"),
    [
        ("vmamba_s", {}, "cannot segment before it is trained"),
        ("ours", {}, "nnUNetv2_export_model_to_zip"),
        ("published", {"labels": {"background": 0, "a": 1, "b": 2}}, "other classes than Dataset118_Lesions"),
        ("published", {"plans": False}, "run nnUNetv2_plan_and_preprocess"),
    ],
    ids=["VMamba", "this plugin's", "other classes", "no plans"],
)
def test_what_cannot_predict_is_refused(source, dataset, message, planned, saved, request, capsys):
    folder = planned(**dataset)
    content = {"network_weights": VMUNet(3, 2).state_dict()} if source == "ours" else request.getfixturevalue(source)
    assert import_model(saved(content)) == 2
    assert message in capsys.readouterr().err
    assert not folder.exists()


def test_without_a_dataset_there_is_nothing_to_predict(published, saved, capsys):
    arguments = ["--as-model", "--input-channels", "3", "--num-classes", "2"]
    assert cli.main(["weights", "import", str(saved(published)), *arguments]) == 2
    assert "--as-model needs --dataset" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("network", "shapes", "numbers", "output"),
    [
        ("swin-umamba-d", "swin_umamba_d_in3_out4_shapes.json", "swin_umamba_d_in3_out4_64x96.npz", "out0"),
        ("mamba-unet", "mamba_unet_in3_out4_shapes.json", "mamba_unet_in3_out4_64x96.npz", "logits"),
    ],
)
def test_a_published_checkpoint_of_the_family_predicts_what_its_original_does(
    network, shapes, numbers, output, planned, golden, saved, registered, capsys
):
    folder = planned(labels={"background": 0, "a": 1, "b": 2, "c": 3})
    assert import_model(saved({"network_weights": golden.state_dict(shapes)}), "--network", network) == 0
    assert "the original resizes" not in capsys.readouterr().out
    predictor = nnUNetPredictor(device=torch.device("cpu"))
    predictor.initialize_from_trained_model_folder(str(folder), (0,))
    predictor.network.load_state_dict(predictor.list_of_parameters[0])
    original = golden.numbers(numbers)
    with torch.inference_mode():
        logits = predictor.network.eval()(torch.from_numpy(original["x"]))
    torch.testing.assert_close(logits, torch.from_numpy(original[output]), atol=3e-5, rtol=0)
