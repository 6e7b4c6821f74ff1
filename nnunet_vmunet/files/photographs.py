"""Pictures of any common kind: what their headers say, and their pixels as upright grey, RGB or RGBA."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..errors import InputError
from .area import Extent, area_average
from .listing import file_names
from .quiet import quiet

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff")

# Kinds of files whose pixels are other ones after saving; an MPO is a camera's JPEG with a second picture in it.
LOSSY = ("JPEG", "MPO")

# How pictures are written, by the ending of their name: nothing here changes a pixel.
_WRITERS: dict[str, tuple[str, dict]] = {
    ".png": ("PNG", {"compress_level": 1}),  # five times as fast as the default, 15 % larger
    ".bmp": ("BMP", {}),
    ".tif": ("TIFF", {}),
    ".tiff": ("TIFF", {}),
}
WRITTEN_ENDINGS = tuple(_WRITERS)

_ORIENTATION_TAG = 0x0112
_BITS_TAG = 258  # of a TIFF
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
_BACK = {6: 8, 8: 6}  # the orientation that undoes one; the others undo themselves


@dataclass(frozen=True)
class Opened:
    """An image that is open, and how its file says that it is to be turned."""

    image: Image.Image
    orientation: int
    is_turned: bool = False  # by Pillow, which does that to a TIFF when loading it
    path: Path | None = None  # None of an image that came from memory

    @property
    def name(self) -> str:
        """For messages."""
        return str(self.path or "the image")

    def turned(self, pixels: np.ndarray, *, upright: bool = True) -> np.ndarray:
        """The pixels of the loaded image (H, W, ...), upright or as they are stored."""
        if upright == self.is_turned:
            return pixels
        orientation = self.orientation if upright else _BACK.get(self.orientation, self.orientation)
        return _UPRIGHT.get(orientation, lambda same: same)(pixels)

    @property
    def upright_size(self) -> tuple[int, int]:
        """(height, width)"""
        width, height = self.image.size
        return (width, height) if self.orientation in _SIDEWAYS and not self.is_turned else (height, width)


@dataclass(frozen=True)
class Header:
    """What a picture's header says.

    upright_size: (height, width) once it is turned as its EXIF orientation says.
    orientation: 1 where the stored pixels are upright, and where the file says nothing.
    is_grey: also a palette of greys. bits: of a channel as it is read here, 8 or 16.
    is_cut: it has more than 8 bits a channel, and several channels, of which Pillow reads the upper 8 bits.
    """

    upright_size: tuple[int, int]
    orientation: int
    is_grey: bool
    has_alpha: bool
    bits: int
    is_cut: bool
    is_lossy: bool

    @property
    def stored_size(self) -> tuple[int, int]:
        """(height, width)"""
        height, width = self.upright_size
        return (width, height) if self.orientation in _SIDEWAYS else (height, width)


def photographs_in(folder: Path) -> list[Path]:
    """The photographs directly inside a folder, sorted."""
    return [folder / name for name in file_names(folder) if name.lower().endswith(SUFFIXES)]


def read_header(path: Path) -> Header:
    """Read a photograph's or mask's header; a TIFF is read whole.

    Raises:
        InputError: the file is no image, or has several pages.
    """
    with opened_to_turn(path) as photograph:
        return header_of(photograph)


def header_of(photograph: Opened) -> Header:
    """The same for an open image that was not loaded yet."""
    image = photograph.image
    bits = 16 if image.mode[0] == "I" else 8
    return Header(
        upright_size=photograph.upright_size,
        orientation=photograph.orientation if photograph.orientation in _UPRIGHT else 1,
        is_grey=_is_grey(image),
        has_alpha=image.mode in ("LA", "PA", "RGBA", "RGBa", "La") or "transparency" in image.info,
        bits=bits,
        is_cut=bits == 8 and _stored_bits(photograph) > 8,
        is_lossy=image.format in LOSSY,
    )


def read_photograph(
    path: Path, side: int | None = None, *, channels: int = 3, upright: bool = True, keep_16_bits: bool = True
) -> np.ndarray:
    """Read as grey (H, W), RGB (H, W, 3) or RGBA (H, W, 4), turned upright as its EXIF orientation says.

    Of RGB and RGBA the values are uint8; of 16 bits the upper 8 are kept. Grey is uint8, or uint16 where the file has
    16 bits. Alpha is dropped for grey and RGB, grey expanded for RGB, and a colour becomes its luminance for grey
    (ITU-R 601-2; equal channels stay exactly what they are).

    With `side`, the photograph is resized to side × side pixels: by area averaging along an axis that shrinks,
    bicubically along one that grows. A JPEG is then decoded at 1/2, 1/4 or 1/8 of its size where that leaves at least
    twice the target along both axes; docs/benchmarks.md says what that changes and what it saves.

    channels: 1, 3 or 4. upright: False leaves the pixels as they are stored. keep_16_bits: False for grey in 8.

    Raises:
        InputError: the file is no image, has several pages, or values beyond 16 bits.
    """
    with opened_to_turn(path) as photograph:
        return pixels_of(photograph, side, channels=channels, upright=upright, keep_16_bits=keep_16_bits)


def pixels_of(
    photograph: Opened, side: int | None = None, *, channels: int = 3, upright: bool = True, keep_16_bits: bool = True
) -> np.ndarray:
    """The same for an open image, whose size must not have been reduced yet."""
    image = photograph.image
    width, height = image.size
    if side is not None and image.format in LOSSY:
        image.draft(None, (2 * side, 2 * side))
    scale = round(width / image.size[0])
    image.load()
    pixels = _grey(photograph, keep_16_bits) if channels == 1 else _coloured(photograph, channels)
    if side is not None:
        # The last row of a reduced JPEG stands for fewer rows than the others: the grid ends inside it.
        extent = (Fraction(height, scale), Fraction(width, scale)) if scale > 1 else None
        pixels = _resized(pixels, side, extent)
    return np.ascontiguousarray(photograph.turned(pixels, upright=upright))


def has_colours(photograph: Opened) -> bool:
    """Whether a pixel's red, green and blue differ.

    Raises:
        InputError: as for `read_photograph`.
    """
    if _is_grey(photograph.image):
        return False
    red, green, blue = np.moveaxis(_coloured(photograph, 3), 2, 0)
    return bool((red != green).any() or (green != blue).any())


def from_memory(image: Image.Image | np.ndarray) -> Opened:
    """An image as if its file were open.

    image: Pillow's, or an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4): truth values, whole numbers of 0 to 255 or
        to 65535, or floating-point numbers of 0 to 1, of which 8 bits are kept, as of colours of 16 bits.

    Raises:
        InputError: the array has another shape or other values.
    """
    if isinstance(image, np.ndarray):
        return Opened(Image.fromarray(_whole_numbers(_of_an_image(image))), orientation=1)
    image.load()  # which turns a TIFF upright, and then says so
    return Opened(image, _orientation(image))


def _of_an_image(array: np.ndarray) -> np.ndarray:
    """(H, W), or (H, W, 3 or 4)"""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.size == 0 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise InputError(
            f"an array of shape {array.shape} is no photograph: give (height, width), or (height, width, 3) with the "
            "channels last"
        )
    return array


def _whole_numbers(array: np.ndarray) -> np.ndarray:
    """uint8, or uint16 for grey whose values need it"""
    if array.dtype.kind not in "biuf":
        raise InputError(f"an array of type {array.dtype} is no photograph: give numbers")
    low, high = array.min(), array.max()
    most = 1 if array.dtype.kind == "f" else 65535
    if not (low >= 0 and high <= most):  # NaN too
        raise InputError(
            f"an array of type {array.dtype} holds values from {low} to {high}: give whole numbers from 0 to 255 or to "
            "65535, or floating-point numbers from 0 to 1"
        )
    if array.dtype.kind == "f":
        return (array * 255 + 0.5).astype(np.uint8)
    if array.dtype.kind == "b":
        return array.astype(np.uint8) * 255
    if array.dtype == np.uint8 or (high <= 255 and array.dtype != np.uint16):
        return array.astype(np.uint8)
    return array.astype(np.uint16) if array.ndim == 2 else (array.astype(np.uint16) >> 8).astype(np.uint8)


def write_picture(pixels: np.ndarray, path: Path) -> None:
    """Write pixels (H, W) uint8 or uint16, (H, W, 3) or (H, W, 4) uint8, by the ending of the name, without loss."""
    _write(pixels, path, path.suffix.lower())


def write_png(pixels: np.ndarray, path: Path) -> None:
    """The same for a PNG, which takes all of these."""
    _write(pixels, path, ".png")


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Open an image with one page; whatever goes wrong while reading it names the file."""
    with opened_to_turn(path) as opened_image:
        yield opened_image.image


@contextmanager
def opened_to_turn(path: Path) -> Iterator[Opened]:
    """The same, with what is needed to turn the image."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's do not name the file, and what matters is raised
            # Given a path, Pillow 13 maps an uncompressed TIFF that lies sideways into memory with its sides swapped.
            with quiet(), path.open("rb") as file, Image.open(file) as image:
                _refuse_pages(image, path)
                orientation = _orientation(image)
                is_turned = image.format == "TIFF"
                if is_turned:
                    image.load()  # Pillow turns a TIFF upright by itself, some versions only when loading it
                yield Opened(image, orientation, is_turned, path)
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(f"{path} cannot be read as an image, copy or download it again (unknown format)") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{path} claims to be too large an image, shrink it or take it away ({error})") from error
    except Exception as error:  # broken files make decoders raise almost anything
        reason = " ".join(str(error).split())
        raise InputError(f"{path} cannot be read as an image, copy or download it again ({reason})") from error


def _write(pixels: np.ndarray, path: Path, ending: str) -> None:
    kind, options = _WRITERS[ending]
    # "x": on a disk that takes A.png and a.png for the same name, the second must not replace the first.
    with path.open("xb") as file:
        Image.fromarray(pixels).save(file, kind, **options)


def _refuse_pages(image: Image.Image, path: Path) -> None:
    # An MPO is a camera's JPEG that carries a second picture, a preview or the other eye's: the first counts.
    pages = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if pages > 1:
        raise InputError(f"{path} holds {pages} pages: save each as an image of its own")


def _orientation(image: Image.Image) -> int:
    return image.getexif().get(_ORIENTATION_TAG, 1)


def _is_grey(image: Image.Image) -> bool:
    if image.mode in ("P", "PA"):
        palette = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all())
    return image.mode in ("1", "L", "LA", "La", "F") or image.mode[0] == "I"


def _stored_bits(photograph: Opened) -> int:
    """Of a channel, in the file, where a format has more than 8."""
    image = photograph.image
    if photograph.path is None:
        return 8
    if image.format == "PNG":
        with photograph.path.open("rb") as file:
            return file.read(25)[24]
    if image.format == "TIFF":
        bits = image.tag_v2.get(_BITS_TAG, 8)  # type: ignore[attr-defined]
        return max(bits) if isinstance(bits, tuple) else bits
    return 8


def _grey(photograph: Opened, keep_16_bits: bool) -> np.ndarray:
    """(H, W) uint8 or uint16"""
    image = photograph.image
    _refuse_fractions(photograph)
    if image.mode[0] == "I":
        deep = _checked_16_bits(photograph)
        return deep if keep_16_bits else (deep >> 8).astype(np.uint8)
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")
    return np.asarray(image if image.mode == "L" else image.convert("RGB").convert("L"))


def _coloured(photograph: Opened, channels: int) -> np.ndarray:
    """(H, W, channels) uint8"""
    image = photograph.image
    _refuse_fractions(photograph)
    if image.mode[0] == "I":
        grey = Image.fromarray((_checked_16_bits(photograph) >> 8).astype(np.uint8))
        return np.asarray(grey.convert("RGB" if channels == 3 else "RGBA"))
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")  # first, because the direct way warns about transparent palettes
    mode = "RGB" if channels == 3 else "RGBA"
    return np.asarray(image if image.mode == mode else image.convert(mode))  # convert always copies


def _refuse_fractions(photograph: Opened) -> None:
    if photograph.image.mode == "F":
        raise InputError(f"{photograph.name} holds floating-point values: save it with 8 or 16 bits a channel")


def _checked_16_bits(photograph: Opened) -> np.ndarray:
    """uint16"""
    grey = np.asarray(photograph.image)
    if grey.min() < 0 or grey.max() > 65535:
        raise InputError(
            f"{photograph.name} holds values from {grey.min()} to {grey.max()}: save it with 8 or 16 bits a channel"
        )
    return grey.astype(np.uint16)


def _resized(pixels: np.ndarray, side: int, extent: Extent | None) -> np.ndarray:
    height, width = pixels.shape[:2]
    pixels = area_average(pixels, (min(side, height), min(side, width)), extent)
    if pixels.shape[:2] == (side, side):
        return pixels
    if pixels.dtype == np.uint16:  # which Pillow enlarges as floating-point numbers alone
        enlarged = Image.fromarray(pixels.astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC)
        return np.clip(np.asarray(enlarged) + 0.5, 0, 65535).astype(np.uint16)
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC))
