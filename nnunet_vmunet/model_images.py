"""Photographs as one model wants them: its channels, its depth, turned as its training images were."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .dataset_json import READERS, DatasetJson
from .errors import InputError
from .files.photographs import WRITTEN_ENDINGS, Opened, has_colours, header_of, pixels_of

# Channels that nnU-Net does not normalise by each image's own mean and deviation: there the scale of values matters.
_KEEPING_SCALE = {"ct", "nonorm", "rescale_to_0_1", "rgb_to_0_1"}


@dataclass(frozen=True)
class Wanted:
    """How a model wants its images.

    channels: of a file, 1, 3 or 4; None leaves grey of 16 bits as it is and makes all else RGB.
    bits: 8 or 16, where it is known what the grey images of the training had. ending: of the files.
    upright: whether they are turned as their EXIF orientation says. scale_matters: see `_KEEPING_SCALE`.
    dataset: what messages name.
    """

    channels: int | None = None
    bits: int | None = None
    ending: str = ".png"
    upright: bool = True
    scale_matters: bool = False
    expands_grey: bool = True
    dataset: str = ""


def wanted_by(description: DatasetJson, exif: str | None, dataset: str, files: int = 1) -> Wanted:
    """As the model of a dataset wants them.

    exif: "apply" or "ignore"; None is as the dataset says. files: that make one image.

    Raises:
        InputError: its images are no photographs.
    """
    description.refuse_lossy_ending()
    channels, ending = len(description.channels), description.file_ending
    if channels % files or channels // files not in READERS:
        raise InputError(
            f"{description.file} has {channels} channels: photographs have 1, 3 or 4, give another dataset"
        )
    if ending not in WRITTEN_ENDINGS:
        raise InputError(f"{description.file} has files ending in {ending}: photographs do not, give another dataset")
    bits = description.content.get("bits")
    return Wanted(
        channels=channels // files,
        bits=bits if bits in (8, 16) and channels == files else None,
        ending=ending,
        upright=(exif or description.content.get("exif")) != "ignore",
        scale_matters=any(name.lower() in _KEEPING_SCALE for name in description.channels),
        expands_grey=description.reader == READERS[3],
        dataset=dataset,
    )


def brought(photograph: Opened, wanted: Wanted) -> tuple[np.ndarray, str | None]:
    """The pixels (H, W), (H, W, 3) or (H, W, 4), uint8 or uint16, and what is to be told about the photograph.

    Raises:
        InputError: it cannot be read, or has a depth that the model cannot take.
    """
    header = header_of(photograph)
    channels = wanted.channels or (1 if header.bits == 16 else 3)
    change = None
    if channels == 4 and not header.has_alpha:
        change = "had no alpha and became opaque"
    if channels == 3 and header.bits == 16 and wanted.expands_grey and not wanted.scale_matters:
        channels = 1  # the reader makes three channels of it, and keeps the depth
    if channels == 1:
        if has_colours(photograph):
            change = "had colours and became grey by their luminance"
        pixels = _in_bits(pixels_of(photograph, channels=1, upright=wanted.upright), photograph.name, wanted)
    else:
        pixels = pixels_of(photograph, channels=channels, upright=wanted.upright)
        if header.bits == 16:
            change = "had 16 bits, of which the upper 8 were kept"
    if header.is_cut:
        change = "had more than 8 bits a channel, of which the upper 8 were kept"
    return pixels, change


def _in_bits(grey: np.ndarray, name: str, wanted: Wanted) -> np.ndarray:
    """With as many bits as the training images, where that is known: 255 is then 65535.

    An image of 16 bits stays so for a model of 8, as long as each image is normalised by itself: half of what an X-ray
    of 12 bits says lies in its lower 8.
    """
    if grey.dtype == np.uint8 and wanted.bits == 16:
        return grey.astype(np.uint16) * 257
    if grey.dtype == np.uint16 and wanted.ending == ".bmp":
        raise InputError(f"{name} has 16 bits, and files ending in .bmp have 8: save it with 8 bits")
    if grey.dtype == np.uint16 and wanted.scale_matters and wanted.bits != 16:
        raise InputError(
            f"{name} has 16 bits, and the model of -d {wanted.dataset} compares values between images: save it "
            "with as many bits as the training images have"
        )
    return grey
