"""What the trainer refuses before the first epoch, each in one line that says what to do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nnunetv2
import numpy as np
import pytest
import torch
from nnunetv2.imageio import reader_writer_registry
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from PIL import Image

from nnunet_vmunet.errors import InputError
from nnunet_vmunet.models import VMUNet
from nnunet_vmunet.trainers import nnUNetTrainerVMUNet

IGNORING = {"background": 0, "lesion": 1, "ignore": 2}


@pytest.fixture
def refusal():
    """What a trainer of this dataset says when it starts."""

    def refusal(dataset, configuration="2d") -> str:
        with pytest.raises(InputError) as refused:
            dataset.trainer(nnUNetTrainerVMUNet, configuration).initialize()
        line = str(refused.value)
        assert "\n" not in line
        return line

    return refusal


def write_split(dataset, training, validation) -> None:
    split = [{"train": training, "val": validation}]
    (dataset.folder / "splits_final.json").write_text(json.dumps(split))


def write_labels(dataset, values, shape=(1, 1, 16, 16)) -> None:
    """Preprocess all cases anew, with these values in turn."""
    seg = np.resize(np.array(values, np.int16), shape)
    data = np.zeros((1, *shape[1:]), np.float32)
    locations = {1: np.argwhere(seg == 1), (-1, 0, 1): np.argwhere(seg < 2)}
    for file in (dataset.folder / "nnUNetPlans_2d").glob("*.pkl"):
        case = str(file.with_suffix(""))
        for b2nd in file.parent.glob(f"{file.stem}*.b2nd"):
            b2nd.unlink()
        nnUNetDatasetBlosc2.save_case(
            data, seg, {"class_locations": locations}, case, data.shape, data.shape, seg.shape, seg.shape
        )


@pytest.mark.parametrize(("training", "validation", "part"), [([], ["case00"], "training"), (["case00"], [], "valid")])
def test_an_empty_part_of_the_fold(tiny_dataset, refusal, training, validation, part):
    dataset = tiny_dataset()
    write_split(dataset, training, validation)
    line = refusal(dataset)
    assert f"{dataset.folder / 'splits_final.json'} gives fold 0 no {part}" in line
    assert 'fold "all"' in line and "another split into splits_final.json" in line


def test_a_case_of_the_split_that_is_not_preprocessed(tiny_dataset, refusal):
    dataset = tiny_dataset()
    write_split(dataset, ["case00", "case77"], ["case01"])
    assert "training case case77, which is not preprocessed" in refusal(dataset)


def test_fewer_cases_than_nnunet_has_folds(tiny_dataset, refusal):
    dataset = tiny_dataset(shapes=((1, 16, 16),) * 3)
    (dataset.folder / "splits_final.json").unlink()
    assert f"{dataset.folder} has 3 cases, too few for nnU-Net's five folds" in refusal(dataset)


def test_fold_all_needs_no_split(tiny_dataset):
    dataset = tiny_dataset(shapes=((1, 16, 16),) * 3)
    (dataset.folder / "splits_final.json").unlink()
    trainer = dataset.trainer(nnUNetTrainerVMUNet)
    trainer.fold = "all"
    assert [len(part) for part in trainer.get_tr_and_val_datasets()] == [3, 3]


def test_masks_of_0_and_255_name_the_file_and_the_command_that_repairs_them(tiny_dataset, refusal, tmp_path):
    dataset = tiny_dataset()
    write_labels(dataset, [0, 255])
    raw = tmp_path / "nnUNet_raw" / dataset.name
    (raw / "labelsTr").mkdir(parents=True)
    Image.new("L", (16, 16)).save(raw / "labelsTr" / "case00.png")
    line = refusal(dataset)
    assert line.startswith(f"{raw / 'labelsTr' / 'case00.png'} holds the values 0, 255, and")
    assert f"{dataset.folder / 'dataset.json'} knows 0, 1" in line
    assert f"convert pairs --images {raw / 'imagesTr'} --masks {raw / 'labelsTr'} -d NEWID --name NAME" in line


def test_other_unknown_values_are_listed(tiny_dataset, refusal):
    dataset = tiny_dataset(labels=IGNORING)
    write_labels(dataset, [-1, 0, 1, 3, 7])
    line = refusal(dataset)
    assert "case00 holds the values 0, 1, 3, 7, and" in line  # -1 is nnU-Net's own
    assert "knows 0, 1, 2: correct one of them" in line


def test_what_nnunet_cut_off_is_no_unknown_value(tiny_dataset):
    dataset = tiny_dataset(labels=IGNORING)
    write_labels(dataset, [-1, 0, 1, 2])
    dataset.trainer(nnUNetTrainerVMUNet).initialize()


def test_unknown_values_in_a_volume(tiny_dataset, refusal):
    dataset = tiny_dataset(shapes=((3, 16, 16),) * 6)
    write_labels(dataset, [0] * 700 + [1, 2], shape=(1, 3, 16, 16))
    assert "case00 holds the values 0, 1, 2" in refusal(dataset)


@pytest.mark.parametrize("value", [0, -1], ids=["background", "65535, which nnU-Net makes -1"])
def test_no_foreground_at_all(tiny_dataset, refusal, value):
    dataset = tiny_dataset()
    write_labels(dataset, [value])
    assert "none of the 5 training cases of fold 0 shows a label but the background" in refusal(dataset)


def test_no_annotated_pixel(tiny_dataset, refusal):
    dataset = tiny_dataset(labels=IGNORING)
    write_labels(dataset, [2])
    assert "all pixels of the training cases of fold 0 have the ignore label" in refusal(dataset)


def test_channels_that_do_not_fit(tiny_dataset, refusal):
    dataset = tiny_dataset(channels=4)
    del dataset.dataset_json["channel_names"]["3"]
    line = refusal(dataset)
    assert f"case00 has 4 channels and {dataset.folder / 'dataset.json'} names 3" in line


def test_a_cascade(tiny_dataset, refusal):
    dataset = tiny_dataset()
    dataset.plans["configurations"]["2d_cascade"] = {"inherits_from": "2d", "previous_stage": "2d"}
    assert "'2d_cascade' is the second stage of a cascade, after '2d'" in refusal(dataset, "2d_cascade")


def test_a_dataset_json_that_nnunet_reads_otherwise(tiny_dataset, refusal):
    dataset = tiny_dataset()
    dataset.dataset_json["labels"] = {"0": "background", "1": "lesion"}
    assert f"{dataset.folder / 'dataset.json'} names labels as nnU-Net's first version did" in refusal(dataset)


def test_another_reader_than_the_datasets_was_planned(tiny_dataset, refusal, monkeypatch):
    def not_found(name):
        raise RuntimeError(f"Unable to find reader writer class '{name}'")

    dataset = tiny_dataset(overwrite_image_reader_writer="WholeGreyImage2DIO")
    dataset.plans["image_reader_writer"] = "NaturalImage2DIO"
    monkeypatch.setattr(reader_writer_registry, "recursive_find_reader_writer_by_name", not_found)
    line = refusal(dataset)
    assert "asks for the image reader WholeGreyImage2DIO" in line and "took NaturalImage2DIO" in line
    assert "run nnunet-vmunet register, then plan again" in line and "--clean" in line


@pytest.fixture
def typed(monkeypatch, tmp_path):
    """Save `content` and let it be the -pretrained_weights of this process's command line."""

    def type_(content, *, joined=False) -> Path:
        file = tmp_path / "weights.pth"
        torch.save(content, file)
        option = [f"--pretrained={file}"] if joined else ["-pretrained_weights", str(file)]
        monkeypatch.setattr(sys, "argv", ["nnUNetv2_train", "900", "2d", "0", "-p", "nnUNetPlans", *option])
        return file

    return type_


@pytest.mark.parametrize("joined", [False, True], ids=["as nnU-Net names it", "shortened, and joined by ="])
def test_weights_that_are_not_nnunets(tiny_dataset, refusal, typed, joined):
    file = typed({"model": {"layers.0.blocks.0.weight": torch.zeros(3)}}, joined=joined)
    line = refusal(tiny_dataset())
    assert f"-pretrained_weights {file} is no checkpoint of nnU-Net" in line
    assert f"nnunet-vmunet weights import {file} -o weights.pth --dataset Dataset900_Tiny" in line


def test_weights_of_another_network(tiny_dataset, refusal, typed):
    typed({"network_weights": {"encoder.stem.weight": torch.zeros(3)}})
    assert "does not fit, it has no encoder." in refusal(tiny_dataset())


def test_weights_of_other_channels(tiny_dataset, refusal, typed):
    typed({"network_weights": VMUNet(3, 2).state_dict()})
    assert "its encoder.patch_embed.proj.weight is 96x3x4x4 where the network has 96x1x4x4" in refusal(tiny_dataset())


def test_weights_that_are_not_there(tiny_dataset, refusal, typed):
    file = typed({})
    file.unlink()
    assert f"{file} is no file" in refusal(tiny_dataset())


def test_weights_that_fit_but_for_the_output_layer(tiny_dataset, typed):
    typed({"network_weights": VMUNet(1, 9).state_dict()})
    tiny_dataset().trainer(nnUNetTrainerVMUNet).initialize()


def test_nnunets_command_ends_in_the_line_and_with_code_2(tiny_dataset, registered):
    dataset = tiny_dataset(labels={"background": 0, "lesion": 1}, file_ending=".png")
    write_labels(dataset, [0, 255])
    (dataset.folder / "dataset.json").write_text(json.dumps(dataset.dataset_json))
    (dataset.folder / "nnUNetPlans.json").write_text(json.dumps(dataset.plans))
    train = [str(Path(sys.executable).with_name("nnUNetv2_train")), "900", "2d", "0", "-tr", "nnUNetTrainerVMUNet"]
    environment = os.environ | {"PYTHONPATH": str(Path(nnunetv2.__path__[0]).parent)}  # the registered one
    ended = subprocess.run([*train, "-device", "cpu"], env=environment, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith("nnunet-vmunet: error: ")
    assert "Traceback" not in ended.stderr
    assert "case00 holds the values 0, 255" in ended.stderr
