"""Synapse from TransUNet's slices and HDF5 volumes: the same voxels, lying where nnU-Net looks for slices."""

import h5py
import nibabel as nib
import numpy as np
import pytest
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

from nnunet_vmunet.files.volumes import without_zeros


@pytest.fixture
def convert(convert_synapse):
    return lambda *options: convert_synapse("--partial", *options)


@pytest.fixture
def refuse(refuse_synapse):
    return lambda *options: refuse_synapse("--partial", *options)


def read_as_nnunet(dataset, case) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """(d, h, w) image and label, and the spacing, from nnU-Net's own reader."""
    image, properties = SimpleITKIO().read_images([str(dataset / "imagesTr" / f"{case}_0000.nii.gz")])
    label, label_properties = SimpleITKIO().read_seg(str(dataset / "labelsTr" / f"{case}.nii.gz"))
    assert label_properties == properties
    return image[0], label[0], properties["spacing"]


def test_slices_and_volumes_come_back_voxel_for_voxel(convert, synapse):
    """Rows and columns differ in number, so that a transposition would show; both forms lie the same way."""
    synapse.preprocessed({27: 88}, [1], shape=(5, 6))
    dataset = convert()
    for number, count in ((27, 88), (1, 4)):
        image, label, spacing = read_as_nnunet(dataset, f"case{number:04d}")
        stored_image, stored_label = synapse.volume(number, count)
        assert image.shape == (count, 5, 6)
        np.testing.assert_array_equal(image, without_zeros(stored_image))
        np.testing.assert_array_equal(label, stored_label)
        assert spacing == [1, 1, 1]


def test_a_real_ct_written_and_read_back(shared, convert, synapse):
    ct = shared / "data" / "abdomen_ct"
    hounsfield, raw_label = (nib.load(ct / name).get_fdata() for name in ("img0001.nii.gz", "label0001.nii.gz"))
    image = ((hounsfield.clip(-125, 275) + 125) / 400).astype(np.float32).transpose(2, 0, 1)
    label = np.where(raw_label <= 8, raw_label, 0).astype(np.float32).transpose(2, 0, 1)
    for k in range(len(image)):
        synapse.save_slice(synapse.slice(5, k), image[k], label[k])
    synapse.save_volume(synapse.test_volume(1), image, label)
    dataset = convert()
    for case in ("case0001", "case0005"):
        image_back, label_back, _ = read_as_nnunet(dataset, case)
        np.testing.assert_array_equal(image_back, without_zeros(image))
        np.testing.assert_array_equal(label_back, label)


def test_predictions_overlay_what_transunets_code_saves(convert, synapse):
    """SimpleITK writes an array without geometry on this affine, and so does TransUNet's test script."""
    synapse.preprocessed({}, [1])
    affine = nib.load(convert() / "labelsTr/case0001.nii.gz").affine
    np.testing.assert_array_equal(affine, np.diag([-1, -1, 1, 1]))


def test_types_in_the_files(convert, synapse):
    synapse.preprocessed({}, [1])
    dataset = convert()
    assert nib.load(dataset / "imagesTr/case0001_0000.nii.gz").get_data_dtype() == np.float32
    assert nib.load(dataset / "labelsTr/case0001.nii.gz").get_data_dtype() == np.uint8


def test_slices_are_ordered_by_number_not_by_name(convert, synapse):
    synapse.preprocessed({27: 12}, [])
    for k in range(12):
        synapse.slice(27, k).rename(synapse.slice(27, k).with_name(f"case0027_slice{k}.npz"))
    image, _, _ = read_as_nnunet(convert(), "case0027")
    np.testing.assert_array_equal(image, without_zeros(synapse.volume(27, 12)[0]))


def test_lost_last_slices_are_noticed_by_the_published_count(convert_synapse, refuse_synapse, synapse):
    synapse.preprocessed({27: 87}, [1])
    assert "case0027 has 87 slices, published are 88: download the rest" in refuse_synapse()
    convert_synapse("--partial")
    assert "Incomplete: case0027 has 87 slices, published are 88\n" in convert_synapse.out


@pytest.mark.parametrize("k", [0, 3], ids=["first", "middle"])
def test_a_gap_is_refused_and_named(refuse, synapse, k):
    synapse.preprocessed({27: 6}, [])
    synapse.slice(27, k).unlink()
    message = refuse()
    assert f"slice {k} is missing before" in message
    assert f"case0027_slice{k + 1:03d}.npz" in message


def test_a_slice_that_is_there_twice_is_refused(refuse, synapse):
    synapse.preprocessed({27: 3}, [])
    synapse.save_slice(synapse.root / "Synapse/train_npz/case0027_slice01.npz", np.zeros((5, 6)), np.zeros((5, 6)))
    message = refuse()
    assert "case0027_slice001.npz and " in message
    assert "case0027_slice01.npz are the same slice: remove one of them" in message


def test_a_test_volume_that_is_there_twice_is_refused(refuse, synapse):
    synapse.preprocessed({}, [1])
    synapse.save_volume(synapse.root / "Synapse/test_vol_h5/case0001.h5", *synapse.volume(1, 4))
    assert "are the same case: remove one of them" in refuse()


def test_a_test_case_among_the_training_slices_is_refused(refuse, synapse):
    synapse.preprocessed({1: 3}, [2])
    message = refuse()
    assert "case0001_slice000.npz is there for training, but the published split tests on it" in message


def test_a_training_case_among_the_test_volumes_is_refused(refuse, synapse):
    synapse.preprocessed({}, [5])
    assert "case0005.npy.h5 is there for testing, but the published split trains on it" in refuse()


@pytest.mark.parametrize(
    ("train", "test", "expected"),
    [
        (
            "case0005_slice000\ncase0001_slice000\n",
            "case0002\n",
            "train.txt names case0001, but the published split te",
        ),
        ("case0005_slice000\n", "case0006\n", "test_vol.txt names case0006, but the published"),
    ],
    ids=["train", "test"],
)
def test_lists_of_another_split_are_refused(refuse, synapse, train, test, expected):
    synapse.preprocessed({}, [2])
    synapse.lists(train, test)
    assert expected in refuse()


def test_only_one_of_the_two_folders_is_a_partial_copy(convert_synapse, refuse_synapse, synapse):
    synapse.preprocessed({}, [1])
    assert "29 of 30 cases are missing" in refuse_synapse()
    assert len(list((convert_synapse("--partial") / "imagesTr").iterdir())) == 1


@pytest.mark.parametrize("name", ["train_npz", "test_vol_h5"])
def test_mirrors_that_nest_a_folder_inside_itself(convert, synapse, name):
    synapse.preprocessed({27: 2}, [1])
    folder = synapse.root / "Synapse" / name
    folder.rename(folder.with_name("moving"))
    folder.mkdir()
    folder.with_name("moving").rename(folder / name)
    assert len(list((convert() / "imagesTr").iterdir())) == 2


GOOD = np.zeros((5, 6), np.float32)


def changed(value):
    spoiled = GOOD.copy()
    spoiled[2, 3] = value
    return spoiled


# What may be wrong with a slice: its image, its label, what the one line must say.
SPOILED = {
    "label_too_high": (GOOD, changed(9), "holds labels from 0.0 to 9.0, not 0 to 8"),
    "label_fraction": (GOOD, changed(0.5), "holds 1 labels that are no whole numbers"),
    "label_text": (GOOD, np.full((5, 6), "liver"), "cannot be read as TransUNet's form of Synapse"),
    "image_nan": (changed(np.nan), GOOD, "holds 1 voxels that are NaN or infinite"),
    "image_in_hounsfield_units": (changed(240), GOOD, "holds intensities from 0 to 240, not 0 to 1"),
    "image_3d": (GOOD[None], GOOD, "holds an image of shape 1x5x6, not of 2 axes"),
    "label_other_shape": (GOOD, GOOD[1:], "holds labels of shape 4x6 for an image of 5x6"),
    "other_size_than_the_first_slice": (GOOD[1:], GOOD[1:], "is 4x6, case0027_slice000.npz 5x6"),
}


@pytest.mark.parametrize("spoil", SPOILED)
def test_bad_slices_are_refused(refuse, synapse, spoil):
    synapse.preprocessed({27: 3}, [1])
    image, label, expected = SPOILED[spoil]
    synapse.save_slice(synapse.slice(27, 1), image, label)
    assert f"case0027_slice001.npz {expected}" in refuse()


def test_overshoot_of_a_resampled_copy_is_no_error(convert, synapse):
    synapse.preprocessed({27: 3}, [])
    synapse.save_slice(synapse.slice(27, 1), changed(1.16), GOOD)
    convert()


def test_a_slice_without_labels_is_refused(refuse, synapse):
    synapse.preprocessed({27: 2}, [])
    np.savez(synapse.slice(27, 1), image=GOOD)
    assert "case0027_slice001.npz cannot be read as TransUNet's form of Synapse" in refuse()


def test_pickled_objects_are_never_opened(refuse, synapse):
    synapse.preprocessed({27: 2}, [])
    np.savez(synapse.slice(27, 1), image=np.array([{}], object), label=GOOD)
    message = refuse()
    assert "case0027_slice001.npz cannot be read" in message
    assert "allow_pickle=False" in message


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.95], ids=["empty", "ten_bytes", "half", "almost_all"])
@pytest.mark.parametrize("file", ["slice", "volume"])
def test_truncated_files_are_refused_by_name(refuse, synapse, file, keep):
    synapse.preprocessed({27: 2}, [1])
    path = synapse.slice(27, 1) if file == "slice" else synapse.test_volume(1)
    content = path.read_bytes()
    path.write_bytes(content[: keep if isinstance(keep, int) else int(keep * len(content))])
    assert f"{path.name} cannot be read as TransUNet's form of Synapse, copy or download it again" in refuse()


def test_a_test_volume_that_is_none_is_refused(refuse, synapse):
    synapse.preprocessed({}, [1])
    with h5py.File(synapse.test_volume(1), "w") as file:
        file["image"] = file["label"] = GOOD
    assert "case0001.npy.h5 holds an image of shape 5x6, not of 3 axes" in refuse()
