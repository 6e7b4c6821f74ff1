"""Slices as radiologists look at them, however the file stores them."""

from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, ornt_transform
from studies import write_volume

from nnunet_vmunet.errors import InputError
from nnunet_vmunet.overlay.upright import read_grid, read_intensities, refuse_other_grids, view_of

ORIENTATIONS = ["".join(codes) for axes in permutations(("RL", "AP", "SI")) for codes in product(*axes)]

# A patient of 5 x 6 x 7 voxels, indexed towards right, anterior and superior, and one place in it.
LEFT_FRONT_TOP = (0, 5, 6)


def patient(spacing_mm=(1.0, 1.0, 1.0)) -> nib.Nifti1Image:
    voxels = np.zeros((5, 6, 7), np.int16)
    voxels[LEFT_FRONT_TOP] = 1000
    return nib.Nifti1Image(voxels, np.diag([*spacing_mm, 1]))


def stored_as(image: nib.Nifti1Image, codes: str) -> nib.Nifti1Image:
    """The same patient in the same place, with the file's axes towards `codes`."""
    return image.as_reoriented(ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes)))


def slices_of(path, image: nib.Nifti1Image):
    nib.save(image, path)
    view = view_of(read_grid(path))
    return view, view.slices(read_intensities(path))


def marker(slices: np.ndarray) -> list[int]:
    (place,) = np.argwhere(slices == 1000).tolist()
    return place


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_axial_slices_have_the_front_on_top_and_the_patients_left_on_the_right(tmp_path, codes):
    view, slices = slices_of(tmp_path / "ct.nii", stored_as(patient(), codes))
    assert (view.plane.name, view.plane.left, view.plane.top) == ("axial", "R", "A")
    assert slices.shape == (7, 6, 5)
    assert marker(slices) == [6, 0, 4]  # the highest slice, its upper row, its right column


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SAL", "PIR"])
@pytest.mark.parametrize(
    ("spacing_mm", "plane", "place", "pixel_mm"),
    [
        ((1, 1.1, 5), "axial", [6, 0, 4], (1.1, 1)),
        ((1, 5, 1.1), "coronal", [0, 0, 4], (1.1, 1)),  # the first slice from the front, head on top
        ((5, 1, 1.1), "sagittal", [4, 0, 0], (1.1, 1)),  # the last slice from the right, head on top, nose on the left
        ((0.8, 0.8, 0.5), "axial", [6, 0, 4], (0.8, 0.8)),  # slices thinner than their pixels
        ((1.1, 1, 1), "axial", [6, 0, 4], (1, 1.1)),  # none is clearly thicker
    ],
    ids=str,
)
def test_the_plane_is_that_of_acquisition(tmp_path, spacing_mm, plane, place, pixel_mm, codes):
    view, slices = slices_of(tmp_path / "mr.nii", stored_as(patient(spacing_mm), codes))
    assert view.plane.name == plane
    assert marker(slices) == place
    assert view.pixel_mm == pytest.approx(pixel_mm)


def test_an_oblique_volume_is_drawn_along_its_nearest_axes(tmp_path):
    angle = np.radians(20)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    image = stored_as(patient(), "SAL")
    _, slices = slices_of(tmp_path / "mr.nii", nib.Nifti1Image(image.get_fdata(), turn @ image.affine))
    assert marker(slices) == [6, 0, 4]


@pytest.mark.parametrize(
    ("shape", "affine", "reason"),
    [
        ((4, 5, 7), np.eye(4), "mask.nii is 4x5x7 voxels, its image .*image.nii 4x5x6"),
        ((4, 5, 6), np.diag([2, 1, 1, 1]), "mask.nii lies up to 3 mm beside its image .*image.nii"),
        ((4, 5, 6), np.diag([-1, 1, 1, 1]), "mask.nii lies up to 6 mm beside its image"),
        ((4, 5), np.eye(4), "mask.nii is no volume of grey values: its shape is 4x5, wanted are three axes"),
    ],
    ids=["shape", "spacing", "flipped", "two axes"],
)
def test_a_mask_on_another_grid_is_refused(tmp_path, shape, affine, reason):
    write_volume(tmp_path / "image.nii", np.zeros((4, 5, 6), np.uint8))
    write_volume(tmp_path / "mask.nii", np.zeros(shape, np.uint8), affine)
    with pytest.raises(InputError, match=reason):
        refuse_other_grids(tmp_path / "image.nii", [tmp_path / "mask.nii"])


def test_rounding_in_headers_is_no_other_grid(tmp_path):
    write_volume(tmp_path / "image.nii", np.zeros((4, 5, 6), np.uint8))
    write_volume(tmp_path / "mask.nii", np.zeros((4, 5, 6), np.uint8), np.diag([1.00001, 1, 1, 1]))
    refuse_other_grids(tmp_path / "image.nii", [tmp_path / "mask.nii"])


def test_what_is_no_volume_is_named(tmp_path):
    (tmp_path / "broken.nii.gz").write_bytes(b"no volume")
    with pytest.raises(InputError, match=r"broken.nii.gz cannot be read as a volume, copy it again"):
        read_grid(tmp_path / "broken.nii.gz")


def test_a_volume_that_is_cut_off_is_named(tmp_path):
    """SimpleITK reads it without a word, and what it lacks as 0."""
    file = tmp_path / "cut.nii.gz"
    write_volume(file, np.random.default_rng(0).integers(0, 1000, (20, 30, 40)).astype(np.int16), np.eye(4))
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"cut.nii.gz cannot be read as a volume, copy it again"):
        read_intensities(file)
