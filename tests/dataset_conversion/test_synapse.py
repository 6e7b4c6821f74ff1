"""`nnunet-vmunet convert synapse`: what both forms of the release share."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from synapse_layouts import published_slice_counts

TEST = [1, 2, 3, 4, 8, 22, 25, 29, 32, 35, 36, 38]
TRAIN = [5, 6, 7, 9, 10, 21, 23, 24, 26, 27, 28, 30, 31, 33, 34, 37, 39, 40]
EIGHT = ["aorta", "gallbladder", "left kidney", "right kidney", "liver", "pancreas", "spleen", "stomach"]
DATASET = "Dataset027_Synapse"


def names(folder: Path) -> list[str]:
    return sorted(f.name for f in folder.iterdir())


def read(folder: Path, name: str):
    return json.loads((folder / name).read_text())


def cases(numbers) -> list[str]:
    return [f"case{number:04d}" for number in numbers]


def test_whole_raw_release(convert_synapse, synapse):
    synapse.raw(TEST + TRAIN)
    dataset = convert_synapse()
    assert names(dataset) == ["dataset.json", "imagesTr", "labelsTr", "splits_final.json"]
    assert names(dataset / "imagesTr") == [f"{case}_0000.nii.gz" for case in cases(sorted(TEST + TRAIN))]
    assert names(dataset / "labelsTr") == [f"{case}.nii.gz" for case in cases(sorted(TEST + TRAIN))]
    assert read(dataset, "splits_final.json") == [{"train": cases(TRAIN), "val": cases(TEST)}]
    content = read(dataset, "dataset.json")
    assert content["numTraining"] == 30
    assert content["channel_names"] == {"0": "CT"}
    assert content["labels"] == {name: value for value, name in enumerate(["background", *EIGHT])}
    assert content["file_ending"] == ".nii.gz"
    assert content["split"] == "the published 18 training cases and 12 test cases"
    assert content["release"] == "synapse"


def test_whole_preprocessed_release(shared, convert_synapse, synapse):
    """All 2211 slices that TransUNet's own list names."""
    slice_counts = published_slice_counts(shared / "data/synapse_lists/train.txt")
    synapse.preprocessed(slice_counts, TEST, shape=(2, 3))
    shutil.copytree(shared / "data/synapse_lists", synapse.root / "lists" / "lists_Synapse")
    dataset = convert_synapse()
    assert read(dataset, "splits_final.json") == [{"train": cases(TRAIN), "val": cases(TEST)}]
    slices = {case: sitk.ReadImage(dataset / "imagesTr" / f"{case}_0000.nii.gz").GetDepth() for case in cases(TRAIN)}
    assert sum(slices.values()) == 2211
    assert slices == {f"case{number:04d}": count for number, count in slice_counts.items()}
    content = read(dataset, "dataset.json")
    assert content["channel_names"] == {"0": "noNorm"}
    assert content["labels"] == {name: value for value, name in enumerate(["background", *EIGHT])}
    assert "it stores no spacing" in content["description"]
    assert "Spacing: 1 along every axis" in convert_synapse.out


def test_the_end_says_what_was_written_and_what_comes_next(convert_synapse, synapse, raw):
    synapse.raw([1, 5])
    convert_synapse("--partial")
    assert f"Wrote {raw / DATASET}: 2 cases, 8 organs, 8 slices\n" in convert_synapse.out
    assert convert_synapse.out.endswith(
        "Next:\n"
        "  nnunet-vmunet register    (once per environment)\n"
        "  nnUNetv2_plan_and_preprocess -d 27 -c 2d -pl VMUNetPlanner224 --verify_dataset_integrity\n"
        "  nnUNetv2_train 27 2d 0 -tr nnUNetTrainerVMUNet -p nnUNetVMUNetPlans224\n"
    )


def test_a_partial_copy_is_refused_with_its_missing_cases(refuse_synapse, synapse):
    synapse.raw([number for number in TEST + TRAIN if number not in (3, 40)])
    assert "2 of 30 cases are missing (case0003, case0040): download the rest, or give --partial" in refuse_synapse()


def test_partial_goes_on_with_what_is_there(convert_synapse, synapse):
    synapse.raw([1, 5, 40])
    dataset = convert_synapse("--partial")
    assert read(dataset, "splits_final.json") == [{"train": ["case0005", "case0040"], "val": ["case0001"]}]
    assert read(dataset, "dataset.json")["numTraining"] == 3
    assert "Incomplete: 27 of 30 cases are missing (case0002, case0003, " in convert_synapse.out
    assert "2 of 18 training cases and 1 of 12 test cases" in convert_synapse.out


def test_partial_tells_when_fold_0_has_only_one_side(convert_synapse, synapse):
    synapse.raw([1])
    assert read(convert_synapse("--partial"), "splits_final.json") == [{"train": [], "val": ["case0001"]}]
    assert "Fold 0 lacks one of its two sides" in convert_synapse.out


@pytest.mark.parametrize("form", ["raw", "preprocessed"])
def test_partial_needs_something_to_go_on_with(refuse_synapse, synapse, form):
    if form == "raw":
        synapse.save(synapse.image(61), np.zeros((2, 2, 2), np.int16))
        synapse.save(synapse.label(61), np.zeros((2, 2, 2), np.uint8))
    else:
        synapse.slice(5, 0).parent.mkdir(parents=True)
    expected = {"raw": "case0061, which is none of the 30 published cases", "preprocessed": "without any case"}
    assert expected[form] in refuse_synapse("--partial")


def test_an_empty_folder_is_refused(refuse_synapse):
    message = refuse_synapse("--partial")
    assert "holds neither RawData/Training with img and label in it nor train_npz and test_vol_h5" in message


def test_a_folder_that_is_not_there_is_refused(refuse_synapse, synapse):
    synapse.root.rmdir()
    assert f"{synapse.root} is no folder" in refuse_synapse()


def test_both_forms_in_one_folder_are_refused(refuse_synapse, synapse):
    synapse.raw([1])
    synapse.preprocessed({}, [1])
    assert "holds both" in refuse_synapse("--partial")


@pytest.mark.parametrize("number", [1, 61], ids=["published", "unknown"])
def test_a_folder_of_pictures_called_img_is_no_second_form(convert_synapse, synapse, number):
    synapse.preprocessed({}, [1])
    (synapse.root / "img").mkdir()
    (synapse.root / "img" / f"img{number:04d}.png").touch()
    assert names(convert_synapse("--partial") / "imagesTr") == ["case0001_0000.nii.gz"]


def test_thirteen_organs_exist_only_in_the_raw_form(refuse_synapse, synapse):
    synapse.preprocessed({}, [1])
    assert "--organs 13: the form of release in" in refuse_synapse("--partial", "--organs", 13)


def test_an_existing_dataset_is_refused_without_overwrite(convert_synapse, refuse_synapse, synapse):
    synapse.raw([1])
    convert_synapse("--partial")
    assert f"{DATASET} is not empty: give --overwrite" in refuse_synapse("--partial")
    synapse.raw([2])
    assert len(names(convert_synapse("--partial", "--overwrite") / "imagesTr")) == 2


def test_overwrite_by_a_bad_release_keeps_the_dataset(convert_synapse, refuse_synapse, synapse):
    synapse.raw([1, 2])
    dataset = convert_synapse("--partial")
    synapse.image(2).write_bytes(b"")
    refuse_synapse("--partial", "--overwrite")
    assert len(names(dataset / "imagesTr")) == 2


def test_an_older_split_among_the_preprocessed_files_is_told(convert_synapse, synapse, raw):
    synapse.raw([1, 5])
    older = raw.parent / "preprocessed" / DATASET
    older.mkdir(parents=True)
    (older / "splits_final.json").write_text('[{"train": ["case0001"], "val": ["case0005"]}]')
    convert_synapse("--partial")
    assert f"Delete {older} first: its splits_final.json differs" in convert_synapse.out


@pytest.mark.parametrize("form", ["raw", "preprocessed"])
def test_several_processes_write_the_same(convert_synapse, synapse, raw, run, form):
    if form == "raw":
        synapse.raw([1, 2, 5])
    else:
        synapse.preprocessed({27: 88}, [1, 2], shape=(2, 3))
    alone = convert_synapse("--partial").rename(raw / "alone")
    assert run("convert", "synapse", "-i", synapse.root, "-d", 27, "-np", 2, "--partial").code == 0
    written = [f for f in alone.rglob("*") if f.is_file()]
    assert len(written) == 8
    assert all(f.read_bytes() == (raw / DATASET / f.relative_to(alone)).read_bytes() for f in written)


def test_a_bad_file_met_by_several_processes_leaves_nothing(synapse, raw, refused):
    synapse.raw(TEST)
    synapse.label(4).write_bytes(synapse.label(4).read_bytes()[:-4])
    message = refused("convert", "synapse", "-i", synapse.root, "-d", 27, "-np", 2, "--partial")
    assert "label0004.nii.gz cannot be read as a volume" in message
    assert names(raw) == []


def test_the_workers_import_nothing_heavy():
    code = "import sys, nnunet_vmunet.dataset_conversion.synapse; print({'torch', 'nnunetv2'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
