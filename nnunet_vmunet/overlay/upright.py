"""Volumes cut into slices as radiologists look at them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..evaluation.label_files import read_to_the_end

# How far corners of an image and of its label map may lie apart, in voxels: rounding in headers moves them by far less.
_TOLERANCE = 0.1

# Slices that are this much thicker than their pixels were acquired as slices.
_THICKER = 1.2


@dataclass(frozen=True)
class Grid:
    """Of a volume file, from its header."""

    shape: tuple[int, int, int]  # x, y, z
    affine: np.ndarray  # (4, 4), voxel indices (x, y, z) to mm towards left, posterior, superior

    @property
    def spacing_mm(self) -> np.ndarray:
        """(3,): x, y, z."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    def corners_mm(self) -> np.ndarray:
        """(8, 3): the centres of the outermost voxels."""
        indices = np.stack(np.meshgrid(*((0, length - 1) for length in self.shape), indexing="ij"), -1).reshape(-1, 3)
        return indices @ self.affine[:3, :3].T + self.affine[:3, 3]


@dataclass(frozen=True)
class Plane:
    """A direction to cut in; the patient's left is on the right of the picture, the head or the front on top."""

    name: str
    axis: int  # of a volume indexed (right to left, front to back, feet to head)
    left: str  # what the picture's left edge is, as printed on films
    top: str


AXIAL = Plane("axial", 2, "R", "A")
CORONAL = Plane("coronal", 1, "R", "S")
SAGITTAL = Plane("sagittal", 0, "A", "S")


@dataclass(frozen=True)
class View:
    """How a file's voxels become slices."""

    plane: Plane
    orientation: np.ndarray  # (3, 2) as nibabel's: where each of x, y, z goes, and whether it is flipped
    pixel_mm: tuple[float, float]  # rows, columns

    def slices(self, stored: np.ndarray) -> np.ndarray:
        """(z, y, x) as SimpleITK reads it to a view of it, (n, rows, columns) from the feet, the right or the front."""
        from nibabel.orientations import apply_orientation

        left_back_head = apply_orientation(stored.T, self.orientation)
        slices = np.moveaxis(left_back_head, self.plane.axis, 0).swapaxes(1, 2)
        return slices if self.plane is AXIAL else slices[:, ::-1]


def view_of(grid: Grid) -> View:
    """In the plane of acquisition where the slices are clearly thicker than their pixels, else axial."""
    from nibabel.orientations import io_orientation

    orientation = io_orientation(grid.affine)
    spacing = np.empty(3)
    spacing[orientation[:, 0].astype(int)] = grid.spacing_mm
    thickest = int(spacing.argmax())
    is_clear = spacing[thickest] > _THICKER * np.delete(spacing, thickest).max()
    plane = next(plane for plane in (AXIAL, CORONAL, SAGITTAL) if plane.axis == thickest) if is_clear else AXIAL
    columns, rows = np.delete(spacing, plane.axis).tolist()
    return View(plane, orientation, (rows, columns))


def read_grid(path: Path) -> Grid:
    """Raises InputError for what is no volume of three axes."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _unreadable(path, error) from error
    if reader.GetDimension() != 3 or reader.GetNumberOfComponents() != 1:
        shape = "x".join(map(str, reader.GetSize()))
        raise InputError(f"{path} is no volume of grey values: its shape is {shape}, wanted are three axes")
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(reader.GetDirection(), (3, 3)) * reader.GetSpacing()
    affine[:3, 3] = reader.GetOrigin()
    return Grid(reader.GetSize(), affine)


def read_intensities(path: Path) -> np.ndarray:
    """(z, y, x) in the file's own type."""
    import SimpleITK as sitk

    try:
        read_to_the_end(path)
        return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    except (RuntimeError, OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from error


def refuse_other_grids(image: Path, masks: Sequence[Path]) -> Grid:
    """The grid of all; voxels that lie elsewhere would be drawn in the wrong place."""
    grid = read_grid(image)
    for mask in masks:
        other = read_grid(mask)
        if other.shape != grid.shape:
            raise InputError(
                f"{mask} is {_by(other)} voxels, its image {image} {_by(grid)}: give the images that were "
                f"predicted as -i"
            )
        apart_mm = float(np.linalg.norm(other.corners_mm() - grid.corners_mm(), axis=1).max())
        if apart_mm > _TOLERANCE * grid.spacing_mm.min():
            raise InputError(
                f"{mask} lies up to {apart_mm:.3g} mm beside its image {image}: their headers place the "
                f"voxels differently, predict or export it again"
            )
    return grid


def _by(grid: Grid) -> str:
    return "x".join(map(str, grid.shape))


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = str(error).strip().rpartition("\n")[2]
    return InputError(f"{path} cannot be read as a volume, copy it again ({reason})")
