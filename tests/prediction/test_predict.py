"""`nnunet-vmunet predict`: the same masks as nnU-Net's own command writes, from whatever people have."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from model_folders import CT, Trained, zipped
from PIL import Image


def pixels(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(image)


def test_masks_are_those_of_convert_images_and_nnunet(run, tmp_path, photographs, converted, by_nnunet):
    model = Trained().write(tmp_path)
    outcome = run("predict", "-m", model, "-i", photographs, "-o", tmp_path / "masks")
    assert outcome.code == 0, outcome.err
    theirs = by_nnunet(model, converted)
    names = sorted(file.name for file in theirs.glob("*.png"))
    assert names == ["a.png", "b.png", "c.png"]
    assert sorted(file.name for file in (tmp_path / "masks").iterdir()) == [*names, "dataset.json"]
    for name in names:
        assert (tmp_path / "masks" / name).read_bytes() == (theirs / name).read_bytes()
        assert 0.02 < (pixels(theirs / name) > 0).mean() < 0.98


@pytest.mark.parametrize(
    ("trained", "options", "nnunets"),
    [
        pytest.param(Trained(folds=("0", "1", "2")), (), {"folds": ("0", "1", "2")}, id="all folds"),
        pytest.param(Trained(folds=("0", "1")), ("-f", "1"), {"folds": ("1",)}, id="one fold"),
        pytest.param(Trained(folds=("all",)), (), {"folds": ("all",)}, id="fold all"),
        pytest.param(Trained(), ("--fast",), {"mirror": False}, id="fast"),
        pytest.param(Trained(patch=(16, 24), spacing=(4.0, 4.0)), (), {}, id="sliding window"),
        pytest.param(Trained(resampling="resample_data_or_seg_to_shape"), (), {}, id="nnU-Net's resampling"),
        pytest.param(Trained(trainer="nnUNetTrainerVMUNet_fp32"), (), {}, id="a variant"),
        pytest.param(
            Trained(labels={"background": 0, **{f"label {i}": i for i in range(1, 6)}}), (), {}, id="five labels"
        ),
        pytest.param(
            Trained(labels={"background": 0, "whole": [1, 2], "core": [2]}, more={"regions_class_order": [1, 2]}),
            (),
            {},
            id="regions",
        ),
    ],
)
def test_masks_are_nnunets(run, tmp_path, photographs, converted, by_nnunet, trained, options, nnunets):
    model = trained.write(tmp_path)
    assert run("predict", "-m", model, "-i", photographs, "-o", tmp_path / "masks", *options).code == 0
    theirs = by_nnunet(model, converted, **nnunets)
    for file in theirs.glob("*.png"):
        assert np.array_equal(pixels(tmp_path / "masks" / file.name), pixels(file))


def test_a_model_of_nnunets_reader(run, tmp_path, photographs, by_nnunet):
    model = Trained(reader="NaturalImage2DIO", spacing=(1.0, 1.0), resampling="resample_data_or_seg_to_shape").write(
        tmp_path
    )
    outcome = run("predict", "-m", model, "-i", photographs, "-o", tmp_path / "masks")
    assert outcome.code == 0, outcome.err
    images = tmp_path / "brought"
    run("convert", "images", "-i", photographs, "-o", images)
    for file in images.iterdir():  # nnU-Net's reader gives one channel of a grey file
        Image.open(file).convert("RGB").save(file)
    for file in by_nnunet(model, images).glob("*.png"):
        assert np.array_equal(pixels(tmp_path / "masks" / file.name), pixels(file))


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_volumes_keep_their_geometry_and_their_ending(run, tmp_path, by_nnunet, ending):
    model = CT.write(tmp_path)
    scans = tmp_path / "scans"
    scans.mkdir()
    image = sitk.GetImageFromArray(np.random.default_rng(1).normal(60, 60, (3, 40, 50)).astype(np.float32))
    image.SetSpacing((1.1, 0.9, 5.0))
    image.SetOrigin((3.0, -7.0, 11.0))
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    sitk.WriteImage(image, str(scans / f"scan_0000{ending}"))
    outcome = run("predict", "-m", model, "-i", scans, "-o", tmp_path / "masks")
    assert outcome.code == 0, outcome.err
    mask = sitk.ReadImage(str(tmp_path / "masks" / f"scan{ending}"))
    for geometry in ("GetSpacing", "GetOrigin", "GetDirection", "GetSize"):
        assert getattr(mask, geometry)() == pytest.approx(getattr(image, geometry)())
    if ending == ".nii.gz":
        theirs = sitk.ReadImage(str(by_nnunet(model, scans) / "scan.nii.gz"))
        assert np.array_equal(sitk.GetArrayFromImage(mask), sitk.GetArrayFromImage(theirs))
        assert len(np.unique(sitk.GetArrayFromImage(mask))) > 1


def test_several_channels_by_nnunets_names(run, refused, tmp_path, by_nnunet):
    model = Trained(
        channels=("T1", "T2"), reader="SimpleITKIO", ending=".nii.gz", spacing=(1.0, 1.0),
        resampling="resample_data_or_seg_to_shape",
    ).write(tmp_path)  # fmt: skip
    scans = tmp_path / "scans"
    scans.mkdir()
    for channel in range(2):
        values = np.random.default_rng(channel).normal(60, 60, (2, 33, 40)).astype(np.float32)
        sitk.WriteImage(sitk.GetImageFromArray(values), str(scans / f"brain_{channel:04d}.nii.gz"))
    assert run("predict", "-m", model, "-i", scans, "-o", tmp_path / "masks").code == 0
    theirs = by_nnunet(model, scans)
    mask, their = (
        sitk.GetArrayFromImage(sitk.ReadImage(str(f / "brain.nii.gz"))) for f in (tmp_path / "masks", theirs)
    )
    assert np.array_equal(mask, their)
    (scans / "brain_0001.nii.gz").unlink()
    message = refused("predict", "-m", model, "-i", scans, "-o", tmp_path / "more")
    assert "brain has 1 of 2 channels" in message


def test_one_photograph_into_a_folder(run, tmp_path, photographs):
    model = Trained().write(tmp_path)
    assert run("predict", "-m", model, "-i", photographs / "a.jpg", "-o", tmp_path / "masks").code == 0
    assert pixels(tmp_path / "masks" / "a.png").shape == (70, 45)  # upright, as viewers show it


def test_a_zip_and_a_dataset_are_models_too(run, tmp_path, photographs, monkeypatch):
    model = Trained().write(tmp_path / "nnUNet_results")
    archive = zipped(model, tmp_path / "model.zip")
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "nnUNet_results"))
    for place, choice in (("folder", ("-m", model)), ("zip", ("-m", archive)), ("dataset", ("-d", "907"))):
        assert run("predict", *choice, "-i", photographs, "-o", tmp_path / place, "--fast").code == 0
        assert (tmp_path / place / "c.png").read_bytes() == (tmp_path / "folder" / "c.png").read_bytes()


def test_no_variable_and_no_registration_is_needed(tmp_path, photographs):
    model = Trained().write(tmp_path)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("nnUNet") and name != "PYTHONPATH"
    }
    program = Path(sys.executable).with_name("nnunet-vmunet")
    command = [program, "predict", "-m", model, "-i", photographs, "-o", tmp_path / "masks", "--fast"]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == f"Wrote {tmp_path / 'masks'}: 3 masks\n"
    assert "nnUNet" not in finished.stderr


def test_values_that_people_can_see(run, refused, tmp_path, photographs):
    model = Trained(labels={"background": 0, "one": 1, "two": 2, "three": 3}).write(tmp_path)
    common = ("predict", "-m", model, "-i", photographs / "b.png", "--fast")
    run(*common, "-o", tmp_path / "labels")
    run(*common, "-o", tmp_path / "seen", "--values", "255")
    labels, seen = (pixels(tmp_path / folder / "b.png") for folder in ("labels", "seen"))
    assert len(np.unique(labels)) > 2
    assert np.array_equal(seen, labels * 85)
    assert not (tmp_path / "seen" / "dataset.json").exists()  # which says other values
    assert "give 3 to 255" in refused(*common, "-o", tmp_path / "few", "--values", "2")


def test_probabilities_as_nnunet_writes_them(run, tmp_path, photographs):
    model = Trained().write(tmp_path)
    run("predict", "-m", model, "-i", photographs / "b.png", "-o", tmp_path / "masks", "--probabilities")
    probabilities = np.load(tmp_path / "masks" / "b.npz")["probabilities"]
    mask = pixels(tmp_path / "masks" / "b.png")
    assert probabilities.shape == (2, 1, *mask.shape)
    np.testing.assert_allclose(probabilities.sum(axis=0), 1, rtol=1e-3)
    assert np.array_equal(probabilities[1, 0] > 0.5, mask == 1)


def test_pictures_beside_the_masks(run, tmp_path, photographs):
    model = Trained().write(tmp_path)
    outcome = run("predict", "-m", model, "-i", photographs, "-o", tmp_path / "masks", "--overlay", "--values", "255")
    assert outcome.code == 0, outcome.err
    drawn = sorted(file.name for file in (tmp_path / "masks" / "overlay").iterdir())
    assert drawn == ["a.png", "b.png", "c.png", "contact_sheet.png"]


def test_a_damaged_input_is_named_at_the_end_and_stops_nothing(run, tmp_path, photographs):
    model = Trained().write(tmp_path)
    (photographs / "aa.jpg").write_bytes((photographs / "a.jpg").read_bytes()[:300])
    (photographs / "notes.txt").write_text("not an image")
    outcome = run("predict", "-m", model, "-i", photographs, "-o", tmp_path / "masks", "--overlay", "--fast")
    assert outcome.code == 1
    assert {file.name for file in (tmp_path / "masks").glob("*.png")} == {"a.png", "b.png", "c.png"}
    assert "Ignored in" in outcome.out and "1 other file " in outcome.out
    assert f"error: {photographs / 'aa.jpg'} cannot be read as an image" in outcome.err
    assert outcome.err.endswith("Not predicted: 1 of 4\n")


def test_a_volume_that_is_cut_short_is_damaged(run, tmp_path):
    model = CT.write(tmp_path)
    scans = tmp_path / "scans"
    scans.mkdir()
    volume = sitk.GetImageFromArray(np.random.default_rng(1).normal(60, 60, (3, 40, 50)).astype(np.float32))
    for name in ("cut", "whole"):
        sitk.WriteImage(volume, str(scans / f"{name}.nii.gz"))
    (scans / "cut.nii.gz").write_bytes((scans / "cut.nii.gz").read_bytes()[:-1000])
    outcome = run("predict", "-m", model, "-i", scans, "-o", tmp_path / "masks")
    assert outcome.code == 1
    assert "cut.nii.gz cannot be read as a volume" in outcome.err
    assert (tmp_path / "masks" / "whole.nii.gz").exists()


def test_what_is_there_is_kept_or_replaced_as_asked(run, refused, tmp_path, photographs):
    model = Trained().write(tmp_path)
    common = ("predict", "-m", model, "-i", photographs, "-o", tmp_path / "masks", "--fast")
    run(*common)
    assert "is not empty: give --continue_prediction" in refused(*common)
    before = (tmp_path / "masks" / "b.png").read_bytes()
    (tmp_path / "masks" / "a.png").unlink()
    (tmp_path / "masks" / "b.png").write_bytes(b"")
    outcome = run(*common, "--continue_prediction")
    assert "There already: 2 of 3" in outcome.out
    assert (tmp_path / "masks" / "b.png").read_bytes() == b""
    run(*common, "--overwrite")
    assert (tmp_path / "masks" / "b.png").read_bytes() == before


@pytest.mark.slow
def test_what_is_complete_stays_when_it_is_killed(tmp_path):
    model = Trained(patch=(256, 256), spacing=(1.0, 1.0)).write(tmp_path)
    many = tmp_path / "many"
    many.mkdir()
    for i in range(40):
        noise = np.random.default_rng(i).integers(1, 255, (300, 260, 3), np.uint8)
        Image.fromarray(noise).save(many / f"p{i:02d}.png")
    program = Path(sys.executable).with_name("nnunet-vmunet")
    command = [program, "predict", "-m", model, "-i", many, "-o", tmp_path / "masks"]
    masks = tmp_path / "masks"
    for _ in range(2):
        started = subprocess.Popen([*command, "--continue_prediction"])
        before = len(list(masks.glob("*.png")))
        while len(list(masks.glob("*.png"))) < before + 3 and started.poll() is None:
            time.sleep(0.01)
        started.send_signal(signal.SIGKILL)
        started.wait()
        for mask in masks.glob("*.png"):
            assert pixels(mask).shape == (300, 260)
        assert started.returncode == -signal.SIGKILL
    there = {file: file.stat().st_mtime_ns for file in masks.glob("*.png")}
    assert 6 <= len(there) < 40
    subprocess.run([*command, "--continue_prediction"], check=True)
    assert len(list(masks.glob("*.png"))) == 40
    assert not list(masks.glob(".*"))  # what the killed ones left behind
    assert all(file.stat().st_mtime_ns == written for file, written in there.items())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-i", "photos"), "give the model as -m, or a trained dataset as -d"),
        (("-m", "nowhere", "-i", "photos"), "nowhere is not there: give a model's folder"),
        (("-m", "photos", "-i", "photos"), "photos holds no plans.json"),
        (("-m", "photos/b.png", "-i", "photos"), "b.png is no model: give the folder"),
        (("-m", "model", "-i", "empty"), "empty holds no images of the model's kind (.bmp, .jpeg"),
        (("-m", "model", "-i", "nothing"), "nothing is not there: give an image or a folder of images as -i"),
        (("-m", "model", "-i", "model/plans.json"), "plans.json is no image of the model's kind"),
        (("-m", "model", "-i", "photos", "-f", "3"), "has no checkpoint_final.pth of fold 3: it has 0"),
        (("-m", "model", "-i", "photos", "-chk", "checkpoint_best.pth"), "has no checkpoint_best.pth in any fold"),
        (("-m", "model/fold_0", "-i", "photos"), "fold_0 holds no plans.json"),
        (("-d", "12", "-i", "photos"), "nnUNet_results is not set"),
    ],
)
def test_refusals(refused, tmp_path, photographs, monkeypatch, arguments, message):
    monkeypatch.delenv("nnUNet_results", raising=False)
    Trained().write(tmp_path).rename(tmp_path / "model")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    assert message in refused("predict", *arguments, "-o", "masks")
    assert not (tmp_path / "masks").exists()


def test_a_place_with_several_models_wants_a_choice(run, refused, tmp_path, photographs):
    for trainer in ("nnUNetTrainerVMUNet", "nnUNetTrainerVMUNet_raw"):
        model = Trained(trainer=trainer).write(tmp_path)
    common = ("predict", "-m", model.parent, "-i", photographs, "-o", tmp_path / "masks", "--fast")
    assert "choose one with -tr, -p and -c" in refused(*common)
    assert run(*common, "-tr", "nnUNetTrainerVMUNet_raw").code == 0


def test_a_model_whose_trainer_nobody_knows(refused, tmp_path, photographs):
    model = Trained(trainer="nnUNetTrainerOfSomebody").write(tmp_path)
    message = refused("predict", "-m", model, "-i", photographs, "-o", tmp_path / "masks")
    assert "the model was trained with nnUNetTrainerOfSomebody, which nnU-Net does not know here" in message


def test_a_file_in_the_folder_of_photographs_that_is_a_volume_is_ignored(run, tmp_path, photographs):
    model = Trained().write(tmp_path)
    (photographs / "scan.nii.gz").write_bytes(b"")
    outcome = run("predict", "-m", model, "-i", photographs, "-o", tmp_path / "masks", "--fast")
    assert outcome.code == 0
    assert "1 other file" in outcome.out


def test_the_datasets_json_lies_beside_the_masks(run, tmp_path, photographs):
    model = Trained().write(tmp_path)
    run("predict", "-m", model, "-i", photographs, "-o", tmp_path / "masks", "--fast")
    assert json.loads((tmp_path / "masks" / "dataset.json").read_text()) == Trained().dataset_json()
