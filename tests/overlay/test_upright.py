"""Slices as radiologists look at them, however the file stores them."""

from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, ornt_transform

from nnunet_vmunet.files.volumes import read_grid, read_volume
from nnunet_vmunet.overlay.upright import view_of

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
    return view, view.slices(read_volume(path).T)


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
