"""nnU-Net's reader and writer of photographs, with a spacing that makes every photograph equally large."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO
from skimage import io

from .errors import InputError, size_text

# The extent of every image, in units of the spacing: at 256×256 pixels the spacing is 1.
EXTENT = 256


class WholeImage2DIO(NaturalImage2DIO):
    """Every image spans 256 × 256 units, so its spacing is 256 / height and 256 / width.

    nnU-Net resamples to the spacing of the plans: a photograph of any size and shape thereby comes to the size that
    the network was trained at, and its mask back to the photograph's own pixels. Photographs come as R, G, B, each
    file in `image_fnames` giving three channels; masks are files as nnU-Net's own class writes them.
    """

    def read_images(self, image_fnames: Sequence[str]) -> tuple[np.ndarray, dict]:
        """(3 · files, 1, h, w) float32, and the spacing.

        Raises:
            InputError: files of different sizes, or a file that is no image of 1 to 4 channels.
        """
        images = [_without_black(_rgb(io.imread(file), file)) for file in image_fnames]
        for image, file in zip(images, image_fnames, strict=True):
            if image.shape != images[0].shape:
                sizes = size_text(images[0].shape[1::-1]), size_text(image.shape[1::-1])
                raise InputError(f"{image_fnames[0]} is {sizes[0]} pixels, {file} {sizes[1]}: make them equal")
        channels_first = np.concatenate([image.transpose(2, 0, 1) for image in images])
        return channels_first[:, None].astype(np.float32), {"spacing": _spacing(*images[0].shape[:2])}

    def read_seg(self, seg_fname: str) -> tuple[np.ndarray, dict]:
        """(1, 1, h, w) float32 labels, and the spacing.

        Raises:
            InputError: the file has more than one channel.
        """
        seg = io.imread(seg_fname)
        if seg.ndim != 2:
            raise InputError(f"{seg_fname} has shape {seg.shape}: a label map is a grey image, one value per pixel")
        return seg[None, None].astype(np.float32), {"spacing": _spacing(*seg.shape)}

    def write_seg(self, seg: np.ndarray, output_fname: str, properties: dict) -> None:
        """Write the file whole or not at all: nnU-Net's --continue_prediction takes a file that exists for finished."""
        output = Path(output_fname)
        # A folder, because the ending of a file's name decides its format, and tools take every file that ends so.
        folder = output.with_name(f".{output.name}.partial")
        folder.mkdir(exist_ok=True)
        super().write_seg(seg, str(folder / output.name), properties)
        os.replace(folder / output.name, output)
        folder.rmdir()


def _spacing(height: int, width: int) -> tuple[float, float, float]:
    # nnU-Net's mark of a 2D image: 999 in the axis that is not there.
    return 999, EXTENT / height, EXTENT / width


def _rgb(image: np.ndarray, file: str) -> np.ndarray:
    """(H, W, 3) from grey, grey with alpha, RGB or RGBA."""
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or not 1 <= image.shape[2] <= 4:
        raise InputError(f"{file} has shape {image.shape}: give a grey, RGB or RGBA image with one page")
    return image[..., :3] if image.shape[2] >= 3 else np.repeat(image[..., :1], 3, axis=2)


def _without_black(image: np.ndarray) -> np.ndarray:
    """Lift 0 to 1, which nobody sees: nnU-Net cuts off black borders, and what is left would be a smaller image."""
    return np.maximum(image, 1) if image.dtype.kind == "u" else image
