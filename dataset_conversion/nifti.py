"""NIfTI volumes (.nii, .nii.gz): read to the last byte, written compressed."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine

from nnunet_vmunet.errors import InputError

from .quiet import quiet
from .volumes import reading, real_numbers, shape_text

# How far apart the corners of an image and of its label map may lie: rounding in headers moves them by far less.
_TOLERANCE_MM = 0.01


@dataclass(frozen=True)
class Grid:
    """Where a volume's voxels lie."""

    shape: tuple[int, int, int]
    affine: np.ndarray  # (4, 4), voxel indices to mm


@dataclass(frozen=True)
class StoredVolume:
    """A file's own bytes and what they hold; `voxels` in the file's own type unless its header scales them."""

    content: bytes
    voxels: np.ndarray
    affine: np.ndarray
    header: nib.Nifti1Header


def read_grid(path: Path) -> Grid:
    """Shape and affine from the header.

    Raises:
        InputError: the file is no NIfTI, has other than three axes, or an affine without volume.
    """
    with reading(path, "as NIfTI"), quiet(nib.imageglobals.logger):
        image = nib.Nifti1Image.from_filename(path)
    if len(image.shape) != 3 or 0 in image.shape:
        raise InputError(f"{path} is no volume: its shape is {shape_text(image.shape)}, wanted are three axes")
    if not np.isfinite(image.affine).all() or np.linalg.det(image.affine) == 0:
        raise InputError(f"{path} has a header without a usable affine: download it again")
    return Grid(image.shape, image.affine)


def refuse_unequal_grids(image: Path, label: Path) -> Grid:
    """The grid of both, from the headers; an InputError where they differ in shape, or by more than 0.01 mm."""
    grid, label_grid = read_grid(image), read_grid(label)
    if grid.shape != label_grid.shape:
        raise InputError(
            f"{label} has {shape_text(label_grid.shape)} voxels, its image {image} "
            f"{shape_text(grid.shape)}: download both again"
        )
    apart = np.linalg.norm(_corners_mm(grid) - _corners_mm(label_grid), axis=1).max()
    if apart > _TOLERANCE_MM:
        raise InputError(
            f"{label} lies up to {apart:.3g} mm beside its image {image}: their affines differ, download both again"
        )
    return grid


def read_volume(path: Path) -> StoredVolume:
    """Read everything, the checksum at the end included: only that tells a truncated file from a whole one.

    Raises:
        InputError: the file cannot be read.
    """
    with reading(path, "as NIfTI"), quiet(nib.imageglobals.logger):
        content = path.read_bytes()
        plain = gzip.decompress(content) if path.suffix.lower() == ".gz" else content
        image = nib.Nifti1Image.from_bytes(plain)
        return StoredVolume(content, real_numbers(np.asanyarray(image.dataobj)), image.affine, image.header)


def copy_volume(volume: StoredVolume, path: Path, target: Path) -> None:
    """Write what was read from `path` to `target`, a .nii.gz: the same bytes, compressed where they were not."""
    compressed = path.suffix.lower() == ".gz"
    target.write_bytes(volume.content if compressed else gzip.compress(volume.content, 1, mtime=0))


def write_labels(labels: np.ndarray, like: StoredVolume, target: Path) -> None:
    """Write (x, y, z) uint8 with the other header fields, sform and qform included, of the label map they came from."""
    header = like.header.copy()
    header.set_data_dtype(np.uint8)
    header["cal_min"] = header["cal_max"] = 0  # the old display range fits the old values
    nib.save(nib.Nifti1Image(labels, like.affine, header), target)


def write_slices(slices: np.ndarray, target: Path) -> None:
    """Write (d, h, w) so that nnU-Net reads (d, h, w) again, with voxels of 1 and no unit.

    The affine is the one that SimpleITK gives to an array: predictions that TransUNet's own code saves overlay.
    """
    nib.save(nib.Nifti1Image(slices.T, np.diag([-1.0, -1.0, 1.0, 1.0])), target)


def _corners_mm(grid: Grid) -> np.ndarray:
    return apply_affine(grid.affine, list(product(*((0, length - 1) for length in grid.shape))))
