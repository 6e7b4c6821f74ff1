"""What a model requires where it is taken to, and what is said where nnU-Net lacks it."""

import json

import pytest
from nnunetv2.imageio import reader_writer_registry

from nnunet_vmunet.errors import InputError
from nnunet_vmunet.requirement import refuse_missing_reader, requirement

PHOTOGRAPHS = {"dataset_name": "Dataset906_Squares", "image_reader_writer": "WholeImage2DIO"}
VOLUMES = {"dataset_name": "Dataset907_Volumes", "image_reader_writer": "SimpleITKIO"}


def test_it_is_plain_data():
    required = requirement("nnUNetTrainerVMUNet", PHOTOGRAPHS)
    assert json.loads(json.dumps(required)) == required
    assert (required["trainer"], required["reader"]) == ("nnUNetTrainerVMUNet", "WholeImage2DIO")


def test_a_missing_image_reader_is_named_with_the_way_out(monkeypatch):
    def not_found(name):
        raise RuntimeError(f"Unable to find reader writer class '{name}'")

    monkeypatch.setattr(reader_writer_registry, "recursive_find_reader_writer_by_name", not_found)
    with pytest.raises(InputError, match=r"WholeImage2DIO.*Dataset906_Squares needs: run nnunet-vmunet register"):
        refuse_missing_reader(PHOTOGRAPHS)
    refuse_missing_reader(VOLUMES)  # nnU-Net's own readers are its own affair
