"""Which image, prediction and reference belong together."""

import shutil

import numpy as np
import pytest

from nnunet_vmunet.errors import InputError
from nnunet_vmunet.overlay.cases import Case, fold_source, given_source

MASK = np.ones((4, 6), np.uint8)
ORGAN = np.ones((4, 5, 6), np.uint8)


def cases(study, *, with_references: bool = False) -> list[Case]:
    return given_source(study.images, study.predictions, study.references if with_references else None).cases()


@pytest.mark.parametrize("image", ["NAME.jpg", "NAME.JPG", "NAME.png", "NAME_0000.png", "NAME_0000.tif"])
def test_photographs_go_by_their_own_name_or_nnunets(study, image):
    study.photograph("ISIC_1", MASK, MASK, image)
    (case,) = cases(study, with_references=True)
    assert case.channels == (study.images / image.replace("NAME", "ISIC_1"),)
    assert (case.prediction.name, case.reference.name) == ("ISIC_1.png", "ISIC_1_segmentation.png")


def test_the_channels_of_a_case_come_in_their_order(study):
    study.volume("patient_7", ORGAN)
    for number in ("0001", "0002", "0004"):
        shutil.copy(study.images / "patient_7_0000.nii.gz", study.images / f"patient_7_{number}.nii.gz")
    (case,) = cases(study)
    assert [file.name for file in case.channels] == [f"patient_7_000{i}.nii.gz" for i in range(3)]


def test_a_name_that_ends_like_a_channel_is_still_a_name(study):
    study.photograph("scan_0001", MASK)
    study.photograph("scan_0002", MASK)
    assert [case.channels[0].name for case in cases(study)] == ["scan_0001.jpg", "scan_0002.jpg"]


def test_images_and_references_may_share_a_folder_as_in_a_release(study):
    study.photograph("ISIC_1", MASK, MASK)
    for file in study.references.iterdir():
        shutil.copy(file, study.images)
    (case,) = given_source(study.images, study.predictions, study.images).cases()
    assert (case.channels[0].name, case.reference.name) == ("ISIC_1.jpg", "ISIC_1_segmentation.png")


def test_what_was_not_predicted_is_left_out_and_told(study):
    for name in ("a", "b", "c"):
        study.photograph(name, MASK, MASK)
    (study.predictions / "b.png").unlink()
    source = given_source(study.images, study.predictions, study.references)
    assert [case.name for case in source.cases()] == ["a", "c"]
    assert source.not_predicted == ("b",)


def test_a_prediction_without_image_is_refused(study):
    study.photograph("a", MASK)
    study.photograph("b", MASK)
    (study.images / "b.jpg").unlink()
    with pytest.raises(
        InputError, match=r"masks/b.png has no image in .*images, neither b nor b_0000: give the folder"
    ):
        cases(study)


def test_a_prediction_without_reference_is_refused(study):
    study.photograph("a", MASK, MASK)
    study.photograph("b", MASK)
    with pytest.raises(InputError, match=r"masks/b.png has no reference in .*truth"):
        cases(study, with_references=True)


@pytest.mark.parametrize("second", ["a.png", "a_0000.jpg"])
def test_two_images_of_one_case_are_refused(study, second):
    study.photograph("a", MASK)
    shutil.copy(study.images / "a.jpg", study.images / second)
    with pytest.raises(InputError, match=r"a.*\.(jpg|png) and .*a.*\.(jpg|png) are the same (image|case): remove one"):
        cases(study)


def test_a_picture_over_a_volume_is_refused(study):
    study.volume("a", ORGAN)
    study.photograph("a", MASK)
    (study.predictions / "a.nii.gz").unlink()
    (study.images / "a.jpg").unlink()
    with pytest.raises(InputError, match=r"masks/a.png is a picture, its image .*a_0000.nii.gz a volume"):
        cases(study)


def test_an_empty_folder_of_images_is_refused(study):
    study.photograph("a", MASK)
    (study.images / "a.jpg").unlink()
    with pytest.raises(InputError, match=r"images holds no images \(\.nii\.gz, .*\.png.*\): give another folder as -i"):
        cases(study)


def test_a_trained_fold_brings_predictions_references_and_names(study, tmp_path, monkeypatch):
    dataset = "Dataset118_ISIC2018"
    model = tmp_path / "results" / dataset / "nnUNetTrainerVMUNet__nnUNetPlans__2d"
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    study.photograph("ISIC_1", MASK, MASK, "NAME_0000.png")
    study.dataset_json(labels={"background": 0, "lesion": 1}, file_ending=".png")
    (study.references / "ISIC_1_segmentation.png").rename(study.references / "ISIC_1.png")
    shutil.copytree(study.images, tmp_path / "raw" / dataset / "imagesTr")
    shutil.copy(study.references / "ISIC_1.png", study.references / "ISIC_2.png")
    shutil.copytree(study.references, tmp_path / "preprocessed" / dataset / "gt_segmentations")
    shutil.copytree(study.predictions, model / "fold_0" / "validation")
    shutil.move(model / "fold_0" / "validation" / "dataset.json", model)
    fold = ("118", "0", "nnUNetTrainerVMUNet", "nnUNetPlans", "2d")

    source = fold_source(None, *fold)
    (case,) = source.cases()
    assert case.channels == (tmp_path / "raw" / dataset / "imagesTr" / "ISIC_1_0000.png",)
    assert case.reference.parent.name == "gt_segmentations"
    assert source.dataset_json.labels == {"lesion": (1,)}
    assert source.not_predicted == ()  # the training cases are none of the validation
    assert fold_source(study.images, *fold).cases()[0].channels[0].parent == study.images

    shutil.rmtree(tmp_path / "raw")
    with pytest.raises(InputError, match=r"imagesTr is not there: give the folder of images as -i"):
        fold_source(None, *fold)
