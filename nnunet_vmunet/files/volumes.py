"""Volumes of any format that nnU-Net reads: where their voxels lie, and what is in them.

NIfTI is read with nibabel, whose files are checked to the last byte; the other formats are read with SimpleITK.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine

from ..errors import InputError, size_text
from .quiet import quiet

NIFTI = (".nii.gz", ".nii")
VOLUMES = (*NIFTI, ".nrrd", ".mha", ".mhd")

# SimpleITK's axes point to left, posterior, superior; nibabel's to right, anterior, superior.
_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_BESIDE = 0.1  # voxels: headers are rounded by far less


@dataclass(frozen=True)
class Grid:
    """Where the voxels of a volume lie."""

    shape: tuple[int, ...]  # x, y, z
    affine: np.ndarray  # (4, 4), voxel indices (x, y, z) to mm towards right, anterior, superior

    @property
    def spacing_mm(self) -> np.ndarray:
        """(3,): x, y, z."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    def distance_mm(self, other: Grid) -> float:
        """The largest distance between corresponding corners of two grids of the same shape."""
        corners = list(product(*((0, length - 1) for length in self.shape)))
        apart = apply_affine(self.affine, corners) - apply_affine(other.affine, corners)
        return float(np.linalg.norm(apart, axis=1).max())


def is_volume(path: Path) -> bool:
    """Whether the file's ending is a volume's."""
    return path.name.lower().endswith(VOLUMES)


def read_grid(path: Path, *, may_be_flat: bool = False) -> Grid:
    """Read shape and affine from the header.

    may_be_flat: take a file of two axes, as nnU-Net takes 2D NIfTI, for one slice: (x, y, 1).

    Raises:
        InputError: the file cannot be read, has other than three axes, or an affine that no voxel fits.
    """
    with reading(path, "as a volume"):
        grid = _grid(path)
    if may_be_flat and len(grid.shape) == 2:
        grid = Grid((*grid.shape, 1), grid.affine)
    if len(grid.shape) != 3 or 0 in grid.shape:
        raise InputError(f"{path} is not a volume of grey values: its shape is {size_text(grid.shape)}, not x, y, z")
    if not np.isfinite(grid.affine).all() or np.linalg.det(grid.affine) == 0:
        raise InputError(f"{path} has a header without a usable affine: download it again")
    return grid


def read_volume(path: Path, *, may_be_flat: bool = False) -> np.ndarray:
    """Read the voxels, (x, y, z) in the file's own type unless its header scales them.

    may_be_flat: as for `read_grid`.

    Raises:
        InputError: the file cannot be read or is cut off, or its values are no real numbers.
    """
    with reading(path, "as a volume"):
        if path.name.lower().endswith(NIFTI):
            voxels = real_numbers(np.asanyarray(nifti_image(nifti_bytes(path)).dataobj))
        else:
            voxels = real_numbers(_read_with_simpleitk(path))
        return voxels[..., None] if may_be_flat and voxels.ndim == 2 else _three_axes(voxels)


def refuse_other_grid(
    path: Path, reference: Path, way_out: str, tolerance_mm: float | None = None, *, may_be_flat: bool = False
) -> Grid:
    """The grid of both files, from their headers.

    way_out: what the message tells the user to do.
    tolerance_mm: how far corners may lie apart; None is a tenth of the smallest side of a voxel.
    may_be_flat: as for `read_grid`.

    Raises:
        InputError: they differ in shape, or their voxels lie in different places.
    """
    grid, wanted = (read_grid(file, may_be_flat=may_be_flat) for file in (path, reference))
    if grid.shape != wanted.shape:
        raise InputError(f"{path} has {size_text(grid.shape)} voxels, {reference} {size_text(wanted.shape)}: {way_out}")
    apart_mm = grid.distance_mm(wanted)
    if apart_mm > (_BESIDE * wanted.spacing_mm.min() if tolerance_mm is None else tolerance_mm):
        raise InputError(
            f"{path} lies up to {apart_mm:.3g} mm beside {reference}, by the origin, spacing and direction in their "
            f"headers: {way_out}"
        )
    return wanted


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Let whatever goes wrong while reading become an InputError that names the file."""
    try:
        with quiet(), nib.imageglobals.LoggingOutputSuppressor():
            yield
    except InputError:
        raise
    except Exception as error:  # broken files make readers raise almost anything
        reason = " ".join(str(error).split())[-300:]
        raise InputError(f"{path} cannot be read {kind}, copy or download it again ({reason})") from error


def real_numbers(values: np.ndarray) -> np.ndarray:
    """The same values; a ValueError for colours, complex numbers or text."""
    if values.dtype.kind not in "biuf":
        raise ValueError(f"its values are of type {values.dtype}")
    return values


def without_zeros(values: np.ndarray) -> np.ndarray:
    """Lift 0 to the smallest positive float32, 1e-38: nnU-Net takes zeros for the outside of a patient, and crops them.

    values: float32, of any shape; they stay as they are.
    """
    return np.where(values == 0, np.finfo(np.float32).tiny, values)


def nifti_bytes(path: Path) -> bytes:
    """The uncompressed bytes; the checksum at a .gz file's end tells a truncated file from a whole one."""
    content = path.read_bytes()
    return gzip.decompress(content) if path.name.lower().endswith(".gz") else content


def nifti_image(content: bytes) -> nib.Nifti1Image:
    """The image in the uncompressed bytes of a NIfTI file, of version 1 or 2."""
    return _nifti_class(content[:4]).from_bytes(content)


def voxels_of(image: nib.Nifti1Image) -> np.ndarray:
    """Voxels (x, y, z) of real numbers; nibabel raises where the file holds fewer than its header says."""
    return _three_axes(real_numbers(np.asanyarray(image.dataobj)))


def _three_axes(voxels: np.ndarray) -> np.ndarray:
    if voxels.ndim != 3:
        raise ValueError(f"its shape is {size_text(voxels.shape)}, not x, y, z")
    return voxels


def _nifti_class(beginning: bytes) -> type[nib.Nifti1Image]:
    is_version_2 = 540 in (int.from_bytes(beginning, "little"), int.from_bytes(beginning, "big"))
    return nib.Nifti2Image if is_version_2 else nib.Nifti1Image


def _grid(path: Path) -> Grid:
    """Read the grid with SimpleITK, as nnU-Net does; slanted voxels, which SimpleITK refuses, with nibabel."""
    try:
        return _grid_by_simpleitk(path)
    except RuntimeError:
        if not path.name.lower().endswith(NIFTI):
            raise
        return _grid_by_nibabel(path)


def _grid_by_simpleitk(path: Path) -> Grid:
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    size = reader.GetSize()
    if reader.GetNumberOfComponents() != 1:
        raise InputError(
            f"{path} is not a volume of grey values: it has {reader.GetNumberOfComponents()} values per voxel"
        )
    affine, axes = np.eye(4), min(len(size), 3)
    if len(size) <= 3:  # read_grid refuses the others for their shape
        affine[:axes, :axes] = np.reshape(reader.GetDirection(), (axes, axes)) * reader.GetSpacing()
        affine[:axes, 3] = reader.GetOrigin()
    return Grid(size, _TO_RAS @ affine)


def _grid_by_nibabel(path: Path) -> Grid:
    with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
        image = _nifti_class(file.read(4)).from_filename(path)
    return Grid(image.shape, image.affine)


def _read_with_simpleitk(path: Path) -> np.ndarray:
    import SimpleITK as sitk

    return sitk.GetArrayFromImage(sitk.ReadImage(str(path))).T
