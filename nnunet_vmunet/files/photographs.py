"""Photographs of any common kind, read as upright 8-bit RGB."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..errors import InputError
from .area import Extent, area_average
from .listing import file_names
from .quiet import quiet

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff")

_ORIENTATION_TAG = 0x0112
# What brings the stored pixels upright, for each value of the EXIF orientation.
_UPRIGHT = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels),
}
_SIDEWAYS = (5, 6, 7, 8)


def photographs_in(folder: Path) -> list[Path]:
    """The photographs directly inside a folder, sorted."""
    return [folder / name for name in file_names(folder) if name.lower().endswith(SUFFIXES)]


def upright_size(path: Path) -> tuple[int, int]:
    """(height, width) of the upright photograph or mask, from its header."""
    with opened(path) as image:
        width, height = image.size
        return (width, height) if _orientation(image) in _SIDEWAYS else (height, width)


def read_photograph(path: Path, side: int | None = None) -> np.ndarray:
    """Read as (H, W, 3) uint8, upright; alpha is dropped, grey expanded, of 16 bits the upper 8 are kept.

    With `side`, the photograph is resized to side × side pixels: by area averaging along an axis that shrinks,
    bicubically along one that grows. A JPEG is then decoded at 1/2, 1/4 or 1/8 of its size where that leaves at least
    twice the target along both axes; docs/benchmarks.md says what that changes and what it saves.

    Raises:
        InputError: the file is no image, has several pages, or values beyond 16 bits.
    """
    with opened(path) as image:
        width, height = image.size
        if side is not None and image.format in ("JPEG", "MPO"):
            image.draft(None, (2 * side, 2 * side))
        scale = round(width / image.size[0])
        image.load()
        pixels = _rgb(image, path)
        if side is not None:
            # The last row of a reduced JPEG stands for fewer rows than the others: the grid ends inside it.
            extent = (Fraction(height, scale), Fraction(width, scale)) if scale > 1 else None
            pixels = _resized(pixels, side, extent)
        return np.ascontiguousarray(upright(pixels, image))


def upright(pixels: np.ndarray, image: Image.Image) -> np.ndarray:
    """The loaded pixels of `image`, turned as its EXIF orientation says."""
    return _UPRIGHT.get(_orientation(image), lambda same: same)(pixels)


def write_png(pixels: np.ndarray, path: Path) -> None:
    """Write pixels (H, W) or (H, W, 3), uint8."""
    # "x": on a disk that takes A.png and a.png for the same name, the second must not replace the first.
    with path.open("xb") as file:
        Image.fromarray(pixels).save(file, "PNG", compress_level=1)


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Open an image with one page; whatever goes wrong while reading it names the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's do not name the file, and what matters is raised
            # Given a path, Pillow 13 maps an uncompressed TIFF that lies sideways into memory with its sides swapped.
            with quiet(), path.open("rb") as file, Image.open(file) as image:
                _refuse_pages(image, path)
                if image.format == "TIFF":
                    image.load()  # Pillow turns a TIFF upright by itself, some versions only when loading it
                yield image
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(f"{path} cannot be read as an image, copy or download it again (unknown format)") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{path} claims to be too large an image, shrink it or take it away ({error})") from error
    except Exception as error:  # broken files make decoders raise almost anything
        reason = " ".join(str(error).split())
        raise InputError(f"{path} cannot be read as an image, copy or download it again ({reason})") from error


def _refuse_pages(image: Image.Image, path: Path) -> None:
    # An MPO is a camera's JPEG that carries a second picture, a preview or the other eye's: the first counts.
    pages = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if pages > 1:
        raise InputError(f"{path} holds {pages} pages: save each as an image of its own")


def _orientation(image: Image.Image) -> int:
    return image.getexif().get(_ORIENTATION_TAG, 1)


def _rgb(image: Image.Image, path: Path) -> np.ndarray:
    if image.mode == "F":
        raise InputError(f"{path} holds floating-point values: save it with 8 or 16 bits a channel")
    if image.mode[0] == "I":
        return _rgb_from_16_bit(np.asarray(image), path)
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")  # first, because the direct way warns about transparent palettes
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))  # convert always copies


def _rgb_from_16_bit(grey: np.ndarray, path: Path) -> np.ndarray:
    if grey.min() < 0 or grey.max() > 65535:
        raise InputError(f"{path} holds values from {grey.min()} to {grey.max()}: save it with 8 or 16 bits a channel")
    return np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, axis=2)


def _resized(pixels: np.ndarray, side: int, extent: Extent | None) -> np.ndarray:
    height, width = pixels.shape[:2]
    pixels = area_average(pixels, (min(side, height), min(side, width)), extent)
    if pixels.shape[:2] == (side, side):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC))
