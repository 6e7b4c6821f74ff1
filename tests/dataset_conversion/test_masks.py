"""Lesion masks: every common way to write black and white, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from dataset_conversion.masks import mask_size, read_mask
from nnunet_vmunet.errors import InputError

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
    assert mask_size(file) == (2, 3)


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
