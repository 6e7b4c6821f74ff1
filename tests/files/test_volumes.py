"""Volumes: where their voxels lie, and files that are not whole."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_vmunet.errors import InputError
from nnunet_vmunet.files.volumes import read_grid, read_volume, refuse_other_grid, without_zeros


def write_volume(path, voxels, affine=None) -> None:
    nib.save(nib.Nifti1Image(voxels, np.eye(4) if affine is None else affine), path)


@pytest.mark.parametrize(
    ("shape", "affine", "reason"),
    [
        ((4, 5, 7), np.eye(4), "mask.nii has 4x5x7 voxels, .*image.nii 4x5x6"),
        ((4, 5, 6), np.diag([2, 1, 1, 1]), "mask.nii lies up to 3 mm beside .*image.nii"),
        ((4, 5, 6), np.diag([-1, 1, 1, 1]), "mask.nii lies up to 6 mm beside .*image.nii"),
        ((4, 5), np.eye(4), "mask.nii is not a volume of grey values: its shape is 4x5"),
    ],
    ids=["shape", "spacing", "flipped", "two axes"],
)
def test_a_mask_on_another_grid_is_refused(tmp_path, shape, affine, reason):
    write_volume(tmp_path / "image.nii", np.zeros((4, 5, 6), np.uint8))
    write_volume(tmp_path / "mask.nii", np.zeros(shape, np.uint8), affine)
    with pytest.raises(InputError, match=reason):
        refuse_other_grid(tmp_path / "mask.nii", tmp_path / "image.nii", "predict it again")


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_a_file_of_two_axes_is_one_slice_where_that_is_asked_for(tmp_path, ending):
    values = np.arange(20, dtype=np.uint8).reshape(4, 5)
    image = sitk.GetImageFromArray(values.T)
    image.SetSpacing((0.5, 0.8))
    image.SetOrigin((3, 4))
    sitk.WriteImage(image, tmp_path / f"a{ending}")
    grid = read_grid(tmp_path / f"a{ending}", may_be_flat=True)
    assert grid.shape == (4, 5, 1)
    assert grid.spacing_mm == pytest.approx([0.5, 0.8, 1])
    assert read_volume(tmp_path / f"a{ending}", may_be_flat=True)[..., 0].tolist() == values.tolist()
    for read in (read_grid, read_volume):
        with pytest.raises(InputError, match="its shape is 4x5"):
            read(tmp_path / f"a{ending}")


def test_rounding_in_headers_is_no_other_grid(tmp_path):
    write_volume(tmp_path / "image.nii", np.zeros((4, 5, 6), np.uint8))
    write_volume(tmp_path / "mask.nii", np.zeros((4, 5, 6), np.uint8), np.diag([1.00001, 1, 1, 1]))
    refuse_other_grid(tmp_path / "mask.nii", tmp_path / "image.nii", "predict it again")


def test_what_is_no_volume_is_named(tmp_path):
    (tmp_path / "broken.nii.gz").write_bytes(b"no volume")
    with pytest.raises(InputError, match=r"broken.nii.gz cannot be read as a volume, copy or download it again"):
        read_grid(tmp_path / "broken.nii.gz")


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_a_volume_that_is_cut_off_is_named(tmp_path, ending, capfd):
    """SimpleITK reads both NIfTI files without a word, and what they lack as 0."""
    file = tmp_path / f"cut{ending}"
    voxels = np.random.default_rng(0).integers(0, 1000, (40, 30, 20)).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(voxels), str(file))
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match=rf"cut{ending} cannot be read as a volume, copy or download it again"):
        read_volume(file)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_every_format_gives_the_same_voxels_in_the_same_place(tmp_path, ending):
    image = sitk.GetImageFromArray(np.random.default_rng(0).integers(-9, 1000, (7, 6, 5)).astype(np.int16))
    image.SetSpacing((0.5, 0.7, 3))
    image.SetOrigin((-10, 20, 30))
    sitk.WriteImage(image, str(tmp_path / f"volume{ending}"))
    np.testing.assert_array_equal(read_volume(tmp_path / f"volume{ending}").T, sitk.GetArrayFromImage(image))
    grid = read_grid(tmp_path / f"volume{ending}")
    assert grid.shape == (5, 6, 7)
    expected = [[-0.5, 0, 0, 10], [0, -0.7, 0, -20], [0, 0, 3, 30], [0, 0, 0, 1]]
    np.testing.assert_allclose(grid.affine, expected, atol=1e-6)
    np.testing.assert_allclose(grid.spacing_mm, [0.5, 0.7, 3], rtol=1e-6)


def test_nifti_2_is_read(tmp_path):
    voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    nib.save(nib.Nifti2Image(voxels, np.diag([2.0, 3, 4, 1])), tmp_path / "volume.nii.gz")
    np.testing.assert_array_equal(read_volume(tmp_path / "volume.nii.gz"), voxels)
    assert read_grid(tmp_path / "volume.nii.gz").spacing_mm.tolist() == [2, 3, 4]


def test_slanted_voxels_have_a_grid(tmp_path):
    affine = np.array([[1.0, 0.3, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    write_volume(tmp_path / "gantry.nii", np.zeros((4, 5, 6), np.int16), affine)
    np.testing.assert_allclose(read_grid(tmp_path / "gantry.nii").affine, affine)


def test_zeros_become_positive_and_nothing_else_changes():
    values = np.array([0, -0.0, 1e-38, -1, 255], np.float32)
    lifted = without_zeros(values)
    assert lifted.dtype == np.float32
    assert (lifted != 0).all()
    np.testing.assert_array_equal(lifted[2:], values[2:])
    np.testing.assert_array_equal(lifted + 1, values + 1)  # no sum or product shows it
