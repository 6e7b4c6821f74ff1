"""nnU-Net's readers and writers of photographs, with a spacing that makes every photograph equally large."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO
from skimage import io

from .dataset_json import FILE_NAME, READERS, DatasetJson, read_dataset_json, refuse_lossy
from .errors import InputError, noted_for_parent, size_text

__all__ = [  # what nnU-Net's search finds
    "WholeGreyImage2DIO",
    "WholeImage2DIO",
    "WholeRGBAImage2DIO",
]

# The extent of every image, in units of the spacing: at 256×256 pixels the spacing is 1.
EXTENT = 256


class WholeImageIO(NaturalImage2DIO):
    """Every image spans 256 × 256 units, so its spacing is 256 / height and 256 / width.

    nnU-Net resamples to the spacing of the plans: a photograph of any size and shape thereby comes to the size that
    the network was trained at, and its mask back to the photograph's own pixels. Values keep the file's depth, 8 or 16
    bits. Masks are files as nnU-Net's own class writes them. Subclasses say what an image is brought to.
    """

    channels: int  # that each file gives
    bring: Callable[[np.ndarray, str], np.ndarray]  # (H, W, 1 to 4) and the file's name, to (H, W, channels)

    @noted_for_parent()
    def read_images(self, image_fnames: Sequence[str]) -> tuple[np.ndarray, dict]:
        """(channels · files, 1, h, w) float32, and the spacing.

        Raises:
            InputError: files of different sizes, a file that is no image of 1 to 4 channels, or a training image of a
                raw dataset whose dataset.json names another number of channels.
        """
        _refuse_other_channels_in_raw(type(self), Path(image_fnames[0]), len(image_fnames))
        return self.from_pixels([io.imread(file) for file in image_fnames], image_fnames)

    def from_pixels(self, files: Sequence[np.ndarray], names: Sequence[str]) -> tuple[np.ndarray, dict]:
        """The same for the pixels of the files, (h, w) or (h, w, 1 to 4) each.

        Raises:
            InputError: they differ in size, or one has another number of channels.
        """
        bring = type(self).bring
        images = [
            _without_black(bring(_channels_last(pixels, name), name)) for pixels, name in zip(files, names, strict=True)
        ]
        for image, name in zip(images, names, strict=True):
            if image.shape != images[0].shape:
                sizes = size_text(images[0].shape[1::-1]), size_text(image.shape[1::-1])
                raise InputError(f"{names[0]} is {sizes[0]} pixels, {name} {sizes[1]}: make them equal")
        channels_first = np.concatenate([image.transpose(2, 0, 1) for image in images])
        return channels_first[:, None].astype(np.float32), {"spacing": _spacing(*images[0].shape[:2])}

    @noted_for_parent()
    def read_seg(self, seg_fname: str) -> tuple[np.ndarray, dict]:
        """(1, 1, h, w) float32 labels, and the spacing.

        Raises:
            InputError: the file has more than one channel, or is a JPEG.
        """
        refuse_lossy(Path(seg_fname))
        seg = io.imread(seg_fname)
        if seg.ndim != 2:
            raise InputError(f"{seg_fname} has shape {seg.shape}: a label map is a grey image, one value per pixel")
        return seg[None, None].astype(np.float32), {"spacing": _spacing(*seg.shape)}

    @noted_for_parent()
    def write_seg(self, seg: np.ndarray, output_fname: str, properties: dict) -> None:
        """Write the file whole or not at all: nnU-Net's --continue_prediction takes a file that exists for finished.

        Raises:
            InputError: the file would be a JPEG.
        """
        output = Path(output_fname)
        refuse_lossy(output)
        # A folder, because the ending of a file's name decides its format, and tools take every file that ends so.
        folder = output.with_name(f".{output.name}.partial")
        folder.mkdir(exist_ok=True)
        super().write_seg(seg, str(folder / output.name), properties)
        os.replace(folder / output.name, output)
        folder.rmdir()


def _grey(image: np.ndarray, file: str) -> np.ndarray:
    """(H, W, 1), also from colours that are grey; alpha is dropped."""
    colours = image[..., :3] if image.shape[2] >= 3 else image[..., :1]
    if not (colours == colours[..., :1]).all():
        raise InputError(
            f"{file} is in colour and the model takes grey images: nnunet-vmunet convert images -d ID brings them to "
            "what dataset ID wants"
        )
    return colours[..., :1]


def _rgb(image: np.ndarray, file: str) -> np.ndarray:
    """(H, W, 3); grey is expanded, alpha dropped."""
    return image[..., :3] if image.shape[2] >= 3 else np.repeat(image[..., :1], 3, axis=2)


def _rgba(image: np.ndarray, file: str) -> np.ndarray:
    """(H, W, 4); an image without alpha is opaque."""
    has_alpha = image.shape[2] in (2, 4)
    opaque = np.iinfo(image.dtype).max if image.dtype.kind in "iu" else 1
    alpha = image[..., -1:] if has_alpha else np.full_like(image[..., :1], opaque)
    return np.concatenate([_rgb(image, file), alpha], axis=2)


class WholeGreyImage2DIO(WholeImageIO):
    """Photographs as one channel: grey files, and those in colour whose channels are equal."""

    channels = 1
    bring = staticmethod(_grey)


class WholeImage2DIO(WholeImageIO):
    """Photographs as R, G, B."""

    channels = 3
    bring = staticmethod(_rgb)


class WholeRGBAImage2DIO(WholeImageIO):
    """Photographs as R, G, B and alpha."""

    channels = 4
    bring = staticmethod(_rgba)


def refuse_other_channels(reader: type, description: DatasetJson, files: int) -> None:
    """Raise InputError where one of our readers gives another number of channels than the dataset.json names.

    files: of each image.
    """
    if not issubclass(reader, WholeImageIO) or not description.channels:
        return
    given, named = reader.channels * files, len(description.channels)
    if given == named:
        return
    fitting = READERS.get(named // files) if named % files == 0 else None
    way_out = f'write "overwrite_image_reader_writer": "{fitting}" there' if fitting else "name as many there"
    raise InputError(
        f"{description.file} names {named} channel{'s' * (named > 1)} and its reader {reader.__name__} gives {given}: "
        f"{way_out}, then plan again with --clean"
    )


def _refuse_other_channels_in_raw(reader: type, image: Path, files: int) -> None:
    """The same for a training image of a raw dataset, which nnU-Net reads before it plans."""
    if image.parent.name == "imagesTr":
        description = _description_beside(image.parent)
        if description is not None:
            refuse_other_channels(reader, description, files)


@lru_cache(maxsize=1)  # asked for each image of the one dataset that a process plans
def _description_beside(images: Path) -> DatasetJson | None:
    file = images.with_name(FILE_NAME)
    return read_dataset_json(file) if file.is_file() else None


def _spacing(height: int, width: int) -> tuple[float, float, float]:
    # nnU-Net's mark of a 2D image: 999 in the axis that is not there.
    return 999, EXTENT / height, EXTENT / width


def _channels_last(image: np.ndarray, file: str) -> np.ndarray:
    """(H, W, 1 to 4) from grey, grey with alpha, RGB or RGBA."""
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or not 1 <= image.shape[2] <= 4:
        raise InputError(f"{file} has shape {image.shape}: give a grey, RGB or RGBA image with one page")
    return image


def _without_black(image: np.ndarray) -> np.ndarray:
    """Lift 0 to 1, which nobody sees: nnU-Net cuts off black borders, and what is left would be a smaller image."""
    return np.maximum(image, 1) if image.dtype.kind == "u" else image
