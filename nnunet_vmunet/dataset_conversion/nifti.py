"""The volumes of a converted dataset: what goes into them is checked, and images keep every byte of their header."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from ..errors import InputError
from ..files.volumes import nifti_image, reading, voxels_of


@dataclass(frozen=True)
class StoredVolume:
    """A NIfTI file's bytes, and what they hold; `voxels` are of the file's own type unless its header scales them."""

    content: bytes  # as stored
    voxels: np.ndarray  # (x, y, z)
    affine: np.ndarray  # (4, 4)
    header: nib.Nifti1Header


def read_volume(path: Path) -> StoredVolume:
    """Read everything, the checksum at the end included: only that tells a truncated file from a whole one.

    Raises:
        InputError: the file cannot be read.
    """
    with reading(path, "as a volume"):
        content = path.read_bytes()
        image = nifti_image(gzip.decompress(content) if path.suffix.lower() == ".gz" else content)
        return StoredVolume(content, voxels_of(image), image.affine, image.header)


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


def check_intensities(values: np.ndarray, path: Path) -> None:
    """Raise InputError for NaN and infinity."""
    bad = values.size - np.count_nonzero(np.isfinite(values))
    if bad:
        raise InputError(f"{path} holds {bad} voxels that are NaN or infinite: download it again")


def checked_labels(values: np.ndarray, highest: int, path: Path) -> np.ndarray:
    """The label map as uint8; a file of floating-point values will do if they are whole numbers from 0 to `highest`.

    Raises:
        InputError: other values.
    """
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= highest):  # written so that NaN is refused too
        raise InputError(f"{path} holds labels from {low} to {high}, not 0 to {highest}: download the original again")
    labels = values.astype(np.uint8)
    fractions = np.count_nonzero(labels != values)
    if fractions:
        raise InputError(
            f"{path} holds {fractions} labels that are no whole numbers, as after interpolation: "
            f"download the original again"
        )
    return labels
