"""Volumes cut into slices as radiologists look at them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..files.volumes import Grid

_TO_LEFT_BACK_HEAD = np.diag([-1.0, -1.0, 1.0, 1.0])  # from the grid's right, front, head

# Slices that are this much thicker than their pixels were acquired as slices.
_THICKER = 1.2


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
    """Look at the one slice that there is, or at those that are clearly thicker than their pixels, else axially."""
    from nibabel.orientations import io_orientation

    orientation = io_orientation(_TO_LEFT_BACK_HEAD @ grid.affine)
    spacing, shape = np.empty(3), np.empty(3, int)
    spacing[orientation[:, 0].astype(int)], shape[orientation[:, 0].astype(int)] = grid.spacing_mm, grid.shape
    plane = _plane(spacing, shape)
    columns, rows = np.delete(spacing, plane.axis).tolist()
    return View(plane, orientation, (rows, columns))


def _plane(spacing: np.ndarray, shape: np.ndarray) -> Plane:
    """spacing, shape: (3,) right to left, front to back, feet to head."""
    across = int(spacing.argmax())
    is_clear = spacing[across] > _THICKER * np.delete(spacing, across).max()
    (flat,) = np.nonzero(shape == 1)
    if len(flat) == 1:  # a 2D image
        across, is_clear = int(flat[0]), True
    return next(plane for plane in (AXIAL, CORONAL, SAGITTAL) if plane.axis == across) if is_clear else AXIAL
