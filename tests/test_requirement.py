"""What a model requires where it is taken to, and what is said where nnU-Net lacks it."""

import json
from pathlib import Path

import pytest
from nnunetv2.imageio import reader_writer_registry
from nnunetv2.utilities import find_class_by_name

from nnunet_vmunet.dataset_json import READERS, parse_dataset_json
from nnunet_vmunet.errors import InputError
from nnunet_vmunet.requirement import refuse_missing_parts, refuse_other_reader, requirement

PHOTOGRAPHS = {"dataset_name": "Dataset906_Squares", "image_reader_writer": "WholeImage2DIO"}
VOLUMES = {"dataset_name": "Dataset907_Volumes", "image_reader_writer": "SimpleITKIO"}


def test_it_is_plain_data():
    required = requirement("nnUNetTrainerVMUNet", PHOTOGRAPHS)
    assert json.loads(json.dumps(required)) == required
    assert (required["trainer"], required["reader"]) == ("nnUNetTrainerVMUNet", "WholeImage2DIO")


@pytest.fixture
def unregistered(monkeypatch):
    def not_found(name):
        raise RuntimeError(f"Unable to find reader writer class '{name}'")

    monkeypatch.setattr(reader_writer_registry, "recursive_find_reader_writer_by_name", not_found)


@pytest.mark.parametrize("reader", READERS.values())
def test_a_missing_image_reader_is_named_with_the_way_out(reader, unregistered):
    with pytest.raises(InputError, match=rf"{reader}.*Dataset906_Squares needs: run nnunet-vmunet register"):
        refuse_missing_parts(PHOTOGRAPHS | {"image_reader_writer": reader})
    refuse_missing_parts(VOLUMES)  # nnU-Net's own readers are its own affair


PAPER = {**VOLUMES, "configurations": {"2d": {"preprocessor_name": "PaperPreprocessor"}, "2d_b4": {}}}


def test_a_missing_preprocessor_is_named_with_the_way_out(monkeypatch):
    monkeypatch.setattr(find_class_by_name, "recursive_find_python_class", lambda *_: None)
    with pytest.raises(InputError, match=r"PaperPreprocessor.*Dataset907_Volumes needs: run nnunet-vmunet register"):
        refuse_missing_parts(PAPER)
    refuse_missing_parts(VOLUMES)
    assert requirement("nnUNetTrainerVMUNet_paper", PAPER)["preprocessor"] == "PaperPreprocessor"
    assert requirement("nnUNetTrainerVMUNet", VOLUMES)["preprocessor"] is None


AVERAGED = {**PHOTOGRAPHS, "configurations": {"2d": {"resampling_fn_data": "resample_averaging"}}}


def test_a_missing_resampling_is_named_with_the_way_out(monkeypatch, registered):
    monkeypatch.setattr(find_class_by_name, "recursive_find_python_class", lambda *_: None)
    with pytest.raises(InputError, match=r"resample_averaging.*Dataset906_Squares needs: run nnunet-vmunet register"):
        refuse_missing_parts(AVERAGED)
    assert requirement("nnUNetTrainerVMUNet", AVERAGED)["resampling"] == "resample_averaging"
    assert requirement("nnUNetTrainerVMUNet", PHOTOGRAPHS)["resampling"] is None


def test_registered_parts_are_found(registered):
    refuse_missing_parts(PAPER)
    refuse_missing_parts(AVERAGED)


def asking_for(reader: str | None):
    content = {"channel_names": {"0": "R"}, "labels": {"background": 0, "lesion": 1}}
    return parse_dataset_json(content | {"overwrite_image_reader_writer": reader}, Path("dataset.json"))


def test_a_reader_that_nnunet_took_instead_of_ours_is_refused(unregistered):
    with pytest.raises(InputError, match=r"took NaturalImage2DIO: run nnunet-vmunet register, then plan again"):
        refuse_other_reader(asking_for("WholeImage2DIO"), "NaturalImage2DIO")


def test_plans_from_before_it_was_registered_are_to_be_made_again(registered):
    with pytest.raises(InputError, match=r"took NaturalImage2DIO: plan again .* --clean"):
        refuse_other_reader(asking_for("WholeImage2DIO"), "NaturalImage2DIO")


@pytest.mark.parametrize(
    ("asked", "taken"), [("WholeImage2DIO", "WholeImage2DIO"), (None, "NaturalImage2DIO"), ("SimpleITKIO", "NibabelIO")]
)
def test_other_readers_are_nnunets_affair(asked, taken):
    refuse_other_reader(asking_for(asked), taken)
