"""Lesion masks: every common way to write black and white, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from nnunet_vmunet.dataset_conversion.masks import read_mask
from nnunet_vmunet.errors import InputError
from nnunet_vmunet.files.photographs import read_header

LESION = np.array([[0, 1, 1], [0, 0, 1]], np.uint8)


def saved(tmp_path, image: Image.Image, name="mask.png"):
    image.save(tmp_path / name)
    return tmp_path / name


def inverted_palette() -> Image.Image:
    """Index 0 is white and 1 is black, so the indices say the opposite of the colours."""
    image = Image.fromarray(1 - LESION).convert("P")
    image.putpalette([255, 255, 255, 0, 0, 0])
    return image


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(255 * LESION),
        Image.fromarray(LESION),
        Image.fromarray(LESION.astype(bool)),
        Image.fromarray(255 * LESION).convert("RGB"),
        Image.fromarray(255 * LESION).convert("RGBA"),
        Image.fromarray(255 * LESION).convert("LA"),
        inverted_palette(),
    ],
    ids=["0_255", "0_1", "1_bit", "rgb", "rgba", "grey_alpha", "inverted_palette"],
)
def test_binary_masks_come_as_0_and_1(tmp_path, image):
    file = saved(tmp_path, image)
    np.testing.assert_array_equal(read_mask(file), LESION)
    assert read_header(file).upright_size == (2, 3)


@pytest.mark.parametrize("value", [0, 255], ids=["all_black", "all_white"])
def test_masks_of_one_value_are_allowed(tmp_path, value):
    mask = read_mask(saved(tmp_path, Image.new("L", (4, 4), value)))
    np.testing.assert_array_equal(mask, np.full((4, 4), value // 255))


def test_resized_mask_is_lesion_where_half_the_area_is(tmp_path):
    np.testing.assert_array_equal(read_mask(saved(tmp_path, Image.fromarray(255 * LESION)), 1), [[1]])


def test_values_other_than_0_and_255_are_counted(tmp_path):
    pixels = np.array([[0, 255, 3], [3, 250, 255]], np.uint8)
    with pytest.raises(InputError, match=r"mask\.png is no binary mask.* 2 other values in 3 pixels.*download"):
        read_mask(saved(tmp_path, Image.fromarray(pixels)))


def test_jpeg_compressed_mask_is_refused(tmp_path):
    disc = np.add.outer(np.arange(-20, 20) ** 2, np.arange(-20, 20) ** 2) < 200
    with pytest.raises(InputError, match=r"mask\.jpg is no binary mask"):
        read_mask(saved(tmp_path, Image.fromarray(255 * disc.astype(np.uint8)), "mask.jpg"))


def test_coloured_mask_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"mask\.png is a mask with colours"):
        read_mask(saved(tmp_path, Image.new("RGB", (2, 2), (255, 0, 0))))


@pytest.mark.parametrize(
    ("mask", "name"),
    [
        (Image.fromarray(255 * LESION).convert("CMYK"), "mask.tif"),
        (Image.fromarray(LESION.astype(np.uint16) * 255), "mask.png"),
        (Image.fromarray(LESION.astype(np.uint16)), "mask.png"),
        (Image.fromarray(LESION.astype(np.float32)), "mask.tif"),
        (Image.fromarray(LESION.astype(np.float32) * 255), "mask.tif"),
    ],
    ids=["cmyk", "16_bit_255", "16_bit_1", "float_1", "float_255"],
)
def test_less_common_modes(tmp_path, mask, name):
    np.testing.assert_array_equal(read_mask(saved(tmp_path, mask, name)), LESION)


@pytest.mark.parametrize(
    ("pixels", "name"),
    [
        (LESION.astype(np.uint16) * 65535, "mask.png"),
        (LESION.astype(np.float32) * 0.9, "mask.tif"),
        (np.where(LESION, np.nan, 0).astype(np.float32), "mask.tif"),
        (LESION.astype(np.int32) * -1, "mask.tif"),
        (np.array([[0, 1, 255]], np.uint8), "mask.png"),
    ],
    ids=["65535", "probabilities", "nan", "negative", "1_and_255"],
)
def test_other_values_are_refused_in_every_mode(tmp_path, pixels, name):
    with pytest.raises(InputError, match=r"is no binary mask: besides 0 and 255 it holds 1 other values"):
        read_mask(saved(tmp_path, Image.fromarray(pixels), name))


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize(("orientation", "stored"), [(3, LESION[::-1, ::-1]), (6, np.rot90(LESION))], ids=["180", "90"])
def test_a_mask_is_turned_as_its_photograph_is(tmp_path, suffix, orientation, stored):
    """Programs that make a mask from a photograph copy its EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / f"mask.{suffix}"
    Image.fromarray(255 * np.ascontiguousarray(stored)).save(file, exif=exif)
    np.testing.assert_array_equal(read_mask(file), LESION)
    assert read_header(file).upright_size == LESION.shape


@pytest.mark.parametrize("name", ["mask.png", "mask.tif"])
def test_several_pages_are_refused(tmp_path, name):
    pages = [Image.fromarray(255 * lesion) for lesion in (LESION, 1 - LESION)]
    pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
    with pytest.raises(InputError, match="holds 2 pages"):
        read_mask(tmp_path / name)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1)], ids=str)
def test_lines_and_single_pixels(tmp_path, size):
    file = saved(tmp_path, Image.new("L", size, 255))
    assert read_mask(file).shape == size[::-1]
    np.testing.assert_array_equal(read_mask(file, 256), np.ones((256, 256)))


@pytest.mark.slow
def test_100_megapixels(tmp_path):
    file = saved(tmp_path, Image.new("1", (10_000, 10_000), 1))
    np.testing.assert_array_equal(read_mask(file, 4), np.ones((4, 4)))
