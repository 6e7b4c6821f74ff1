"""Photographs as cameras, scanners and image editors write them."""

import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from nnunet_vmunet.errors import InputError
from nnunet_vmunet.files.photographs import (
    has_colours,
    opened_to_turn,
    photographs_in,
    read_header,
    read_photograph,
    write_picture,
    write_png,
)

ORIENTATION = 0x0112

UPRIGHT = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)

# How a camera stores the upright photograph, for each value of the EXIF orientation, as the standard words it:
# where the stored row 0 and column 0 lie in the upright picture.
STORED = {
    1: UPRIGHT,  # top, left
    2: UPRIGHT[:, ::-1],  # top, right
    3: UPRIGHT[::-1, ::-1],  # bottom, right
    4: UPRIGHT[::-1],  # bottom, left
    5: UPRIGHT.swapaxes(0, 1),  # left, top
    6: UPRIGHT[:, ::-1].swapaxes(0, 1),  # right, top
    7: UPRIGHT[::-1, ::-1].swapaxes(0, 1),  # right, bottom
    8: UPRIGHT[::-1].swapaxes(0, 1),  # left, bottom
}


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation_is_applied(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    file = tmp_path / f"photo.{suffix}"
    Image.fromarray(np.ascontiguousarray(STORED[orientation])).save(file, exif=exif)
    np.testing.assert_array_equal(read_photograph(file), UPRIGHT)
    assert read_header(file).upright_size == (4, 6)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation_may_be_left_alone(tmp_path, orientation, suffix):
    """Of a TIFF too, which Pillow turns by itself."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    file = tmp_path / f"photo.{suffix}"
    Image.fromarray(np.ascontiguousarray(STORED[orientation])).save(file, exif=exif)
    np.testing.assert_array_equal(read_photograph(file, upright=False), STORED[orientation])
    header = read_header(file)
    assert (header.orientation, header.stored_size) == (orientation, STORED[orientation].shape[:2])


@pytest.mark.parametrize("compression", [None, "tiff_lzw"], ids=["plain", "lzw"])
@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "I;16"])
def test_a_tiff_of_any_mode_that_lies_sideways(tmp_path, mode, compression):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    upright = Image.fromarray(UPRIGHT[..., 0].astype(np.uint16) << 8 if mode == "I;16" else UPRIGHT)
    stored = upright.convert(mode).transpose(Image.Transpose.ROTATE_90)
    file = saved(tmp_path, stored, "photo.tif", exif=exif, compression=compression)
    expected = (
        UPRIGHT[..., :1].repeat(3, axis=2) if mode == "I;16" else np.asarray(upright.convert(mode).convert("RGB"))
    )
    np.testing.assert_array_equal(read_photograph(file), expected)
    assert read_header(file).upright_size == (4, 6)


def test_exif_orientation_of_a_jpeg_that_is_decoded_at_reduced_size(tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    stored = Image.new("RGB", (128, 64), "white")
    stored.paste("black", (0, 0, 64, 64))  # the stored left half: upright, the top
    stored.save(tmp_path / "photo.jpg", exif=exif, quality=95)
    small = read_photograph(tmp_path / "photo.jpg", 8)
    assert small[:4].max() < 40
    assert small[4:].min() > 215


def saved(tmp_path, image: Image.Image, name="photo.png", **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


def test_alpha_is_dropped(tmp_path):
    rgba = np.dstack([UPRIGHT, np.full((4, 6), 7, np.uint8)])
    np.testing.assert_array_equal(read_photograph(saved(tmp_path, Image.fromarray(rgba))), UPRIGHT)


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_grey_is_expanded(tmp_path, mode):
    grey = UPRIGHT[..., 0]
    file = saved(tmp_path, Image.fromarray(grey).convert(mode))
    np.testing.assert_array_equal(read_photograph(file), np.dstack([grey] * 3))


def test_black_and_white_is_expanded(tmp_path):
    file = saved(tmp_path, Image.fromarray(np.array([[True, False]])))
    np.testing.assert_array_equal(read_photograph(file), [[[255] * 3, [0] * 3]])


def test_palette_is_looked_up(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([1, 0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        file = saved(tmp_path, image, transparency=b"\x00\xff")
        np.testing.assert_array_equal(read_photograph(file), [[[40, 50, 60], [10, 20, 30]]])


def test_cmyk_jpeg_comes_as_rgb(tmp_path):
    file = saved(tmp_path, Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "photo.jpg", quality=95)
    red, green, blue = read_photograph(file)[4, 4]
    assert red > 240
    assert max(green, blue) < 15


@pytest.mark.parametrize("name", ["photo.tif", "photo.png"])
def test_16_bit_keeps_the_upper_8(tmp_path, name):
    deep = np.array([[0, 255, 256, 0x8000, 0xFFFF]], np.uint16)
    file = saved(tmp_path, Image.fromarray(deep), name)
    np.testing.assert_array_equal(read_photograph(file)[..., 1], [[0, 0, 1, 0x80, 0xFF]])


def test_16_bit_rgb_tiff(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "photo.tif", UPRIGHT.astype(np.uint16) * 257, photometric="rgb")
    np.testing.assert_array_equal(read_photograph(tmp_path / "photo.tif"), UPRIGHT)


def png(pixels: np.ndarray, colour: int) -> bytes:
    """A PNG of 16 bits a channel, which Pillow cannot write; `colour` as the standard numbers it."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (6, 4), (4, 2)], ids=["rgb", "rgba", "grey_alpha"])
def test_16_bit_png_of_several_channels(tmp_path, colour, channels):
    pixels = np.random.default_rng(0).integers(0, 65536, (4, 6, channels))
    (tmp_path / "photo.png").write_bytes(png(pixels, colour))
    rgb = pixels[..., :3] if channels > 2 else pixels[..., :1].repeat(3, axis=2)
    np.testing.assert_array_equal(read_photograph(tmp_path / "photo.png"), rgb >> 8)


def test_big_endian_16_bit_tiff(tmp_path):
    file = saved(tmp_path, Image.fromarray(np.array([[0x1234, 0xFF00]], ">u2")), "photo.tif")
    np.testing.assert_array_equal(read_photograph(file)[..., 0], [[0x12, 0xFF]])


GREY = np.random.default_rng(1).integers(0, 256, (4, 6), dtype=np.uint8)
DEEP = np.random.default_rng(2).integers(0, 65536, (4, 6), dtype=np.uint16)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P"])
def test_grey_in_every_mode_is_read_exactly_as_grey(tmp_path, mode):
    file = saved(tmp_path, Image.fromarray(GREY).convert("RGB" if mode == "P" else "L"))
    if mode == "P":
        Image.fromarray(GREY).convert("P", palette=Image.Palette.ADAPTIVE).save(file)
    else:
        Image.fromarray(GREY).convert(mode).save(file)
    np.testing.assert_array_equal(read_photograph(file, channels=1), GREY)
    with opened_to_turn(file) as photograph:
        assert not has_colours(photograph)
    assert read_header(file).is_grey == (mode not in ("RGB", "RGBA"))


@pytest.mark.parametrize("name", ["photo.png", "photo.tif"])
def test_grey_of_16_bits_stays_so(tmp_path, name):
    file = saved(tmp_path, Image.fromarray(DEEP), name)
    found = read_photograph(file, channels=1)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, DEEP)
    np.testing.assert_array_equal(read_photograph(file, channels=1, keep_16_bits=False), DEEP >> 8)
    assert (read_header(file).bits, read_header(file).is_grey, read_header(file).is_cut) == (16, True, False)


def test_grey_of_16_bits_is_resized_in_16_bits(tmp_path):
    file = saved(tmp_path, Image.fromarray(DEEP))
    np.testing.assert_array_equal(
        read_photograph(file, 2, channels=1), np.floor(DEEP.reshape(2, 2, 2, 3).mean(axis=(1, 3)) + 0.5)
    )
    flat = saved(tmp_path, Image.fromarray(np.full((3, 5), 0x1234, np.uint16)))
    np.testing.assert_array_equal(read_photograph(flat, 16, channels=1), np.full((16, 16), 0x1234))
    steps = saved(tmp_path, Image.fromarray(np.array([[0, 65535]], np.uint16)))
    grown = read_photograph(steps, 8, channels=1)
    assert (grown[:, 0] == 0).all()  # bicubic sums lie beyond both ends
    assert (grown[:, -1] == 65535).all()


def test_colours_become_luminance_for_grey(tmp_path):
    file = saved(tmp_path, Image.fromarray(UPRIGHT))
    with opened_to_turn(file) as photograph:
        assert has_colours(photograph)
    luminance = UPRIGHT @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(read_photograph(file, channels=1), luminance, atol=0.51)


def test_alpha_is_kept_where_it_is_asked_for(tmp_path):
    rgba = np.dstack([UPRIGHT, GREY])
    file = saved(tmp_path, Image.fromarray(rgba))
    np.testing.assert_array_equal(read_photograph(file, channels=4), rgba)
    assert read_header(file).has_alpha


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (6, 4), (4, 2)], ids=["rgb", "rgba", "grey_alpha"])
def test_what_pillow_cuts_to_8_bits_is_known_from_the_header(tmp_path, colour, channels):
    (tmp_path / "deep.png").write_bytes(png(np.zeros((2, 3, channels), np.uint16), colour))
    assert read_header(tmp_path / "deep.png").is_cut
    mode = {3: "RGB", 4: "RGBA", 2: "LA"}[channels]
    assert not read_header(saved(tmp_path, Image.new(mode, (3, 2)))).is_cut


def test_what_pillow_cuts_of_a_tiff_is_known_from_the_header(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "photo.tif", UPRIGHT.astype(np.uint16) * 257, photometric="rgb")
    assert read_header(tmp_path / "photo.tif").is_cut
    assert not read_header(saved(tmp_path, Image.fromarray(UPRIGHT), "photo.tif")).is_cut


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "tiff", "PNG"])
@pytest.mark.parametrize("pixels", [GREY, UPRIGHT], ids=["grey", "rgb"])
def test_what_is_written_is_what_is_read(tmp_path, pixels, ending):
    write_picture(pixels, tmp_path / f"photo.{ending}")
    found = read_photograph(tmp_path / f"photo.{ending}", channels=1 if pixels.ndim == 2 else 3)
    np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_16_bits_are_written_as_such(tmp_path, ending):
    write_picture(DEEP, tmp_path / f"photo.{ending}")
    np.testing.assert_array_equal(read_photograph(tmp_path / f"photo.{ending}", channels=1), DEEP)


def test_a_progressive_jpeg_is_the_same_picture(tmp_path):
    photograph = Image.fromarray(UPRIGHT).resize((64, 48))
    plain, progressive = (
        read_photograph(saved(tmp_path, photograph, f"{progressive}.jpg", progressive=progressive))
        for progressive in (False, True)
    )
    np.testing.assert_array_equal(plain, progressive)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1)], ids=str)
@pytest.mark.parametrize("name", ["photo.jpg", "photo.png", "photo.tif", "photo.bmp"])
def test_lines_and_single_pixels(tmp_path, name, size):
    file = saved(tmp_path, Image.new("RGB", size, (9, 9, 9)), name)
    assert read_header(file).upright_size == size[::-1]
    for side in (None, 1, 256):
        photograph = read_photograph(file, side)
        assert photograph.shape == ((side, side, 3) if side else (*size[::-1], 3))
        assert (photograph == 9).all()


def test_100_megapixels(tmp_path):
    """Between the size that Pillow warns of and the one that it refuses."""
    file = saved(tmp_path, Image.new("RGB", (10_000, 10_000), (9, 99, 199)), "photo.png", compress_level=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        photograph = read_photograph(file, 256)
        whole = read_photograph(file)
    assert (photograph == (9, 99, 199)).all()
    assert whole.shape == (10_000, 10_000, 3)
    assert (whole[::999, ::999] == (9, 99, 199)).all()


def test_a_header_that_claims_too_many_pixels_is_refused(tmp_path):
    content = bytearray(png(np.zeros((1, 1, 3)), 2))
    content[16:24] = struct.pack(">II", 20_000, 20_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "photo.png").write_bytes(content)
    for read in (read_header, read_photograph):
        with pytest.raises(InputError, match=r"photo\.png claims to be too large.*400000000 pixels"):
            read(tmp_path / "photo.png")


def test_an_animated_png_is_refused(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    file = saved(tmp_path, frames[0], save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match=r"photo\.png holds 2 pages"):
        read_photograph(file)


def test_nothing_but_the_error_is_printed(tmp_path, capfd):
    """libtiff writes to standard error by itself."""
    file = saved(tmp_path, Image.effect_noise((64, 64), 50), "photo.tif", compression="tiff_lzw")
    content = bytearray(file.read_bytes())
    content[1000:1010] = b"\xff" * 10
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"photo\.tif cannot be read as an image"):
        read_photograph(file)
    assert capfd.readouterr().err == ""


def test_nothing_is_written_over(tmp_path):
    """A.png and a.png are one name on some disks: the second photograph is refused there, not the first one lost."""
    write_png(UPRIGHT, tmp_path / "a.png")
    with pytest.raises(FileExistsError):
        write_png(UPRIGHT[::-1], tmp_path / "a.png")
    np.testing.assert_array_equal(read_photograph(tmp_path / "a.png"), UPRIGHT)


def test_floating_point_is_refused(tmp_path):
    file = saved(tmp_path, Image.fromarray(np.ones((2, 2), np.float32)), "photo.tif")
    with pytest.raises(InputError, match=r"photo\.tif holds floating-point values"):
        read_photograph(file)


def test_several_pages_are_refused(tmp_path):
    page = Image.new("RGB", (4, 4))
    file = saved(tmp_path, page, "photo.tif", save_all=True, append_images=[page])
    with pytest.raises(InputError, match=r"photo\.tif holds 2 pages"):
        read_photograph(file)


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.9], ids=["empty", "ten_bytes", "half", "almost_all"])
@pytest.mark.parametrize("name", ["photo.jpg", "photo.png", "photo.tif", "photo.bmp"])
def test_truncated_files_are_refused_by_name(tmp_path, name, keep):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    file = saved(tmp_path, Image.fromarray(noise), name)
    content = file.read_bytes()
    file.write_bytes(content[: keep if isinstance(keep, int) else int(keep * len(content))])
    with pytest.raises(InputError, match=rf"{name} cannot be read as an image"):
        read_photograph(file)


def test_a_truncated_jpeg_is_refused_at_reduced_size_too(tmp_path):
    file = saved(tmp_path, Image.effect_noise((256, 256), 50), "photo.jpg")
    file.write_bytes(file.read_bytes()[:-2000])
    with pytest.raises(InputError, match=r"photo\.jpg cannot be read as an image"):
        read_photograph(file, 32)


def test_shrinking_averages_areas(tmp_path):
    file = saved(tmp_path, Image.fromarray(UPRIGHT))
    expected = np.floor(UPRIGHT.reshape(2, 2, 2, 3, 3).mean(axis=(1, 3)) + 0.5)
    np.testing.assert_array_equal(read_photograph(file, 2), expected)


def test_growing_keeps_a_flat_colour(tmp_path):
    small = read_photograph(saved(tmp_path, Image.new("RGB", (3, 40), (9, 99, 199))), 16)
    assert small.shape == (16, 16, 3)
    assert (small == (9, 99, 199)).all()


# What the docstring of read_photograph states, with its own rule decoding at 1/4, 1/2, 1/2, 1/2 and 1/8.
@pytest.mark.parametrize(("side", "enlarged"), [(32, 1), (64, 1), (100, 1), (112, 1), (256, 4), (64, 4)])
def test_reduced_decoding_is_nearly_exact(shared, tmp_path, side, enlarged):
    for number, file in enumerate(sorted((shared / "data/dermoscopy").glob("*.jpg"))):
        photograph = Image.open(file)
        if enlarged > 1:  # to odd sizes, so that the last row and column are cut
            size = (enlarged * photograph.width - 1, enlarged * photograph.height + 1)
            photograph = photograph.resize(size, Image.Resampling.LANCZOS)
            photograph.save(tmp_path / f"{number}.jpg", quality=90)
            file = tmp_path / f"{number}.jpg"
        exact = saved(tmp_path, Image.open(file), f"{number}.png", compress_level=1)
        deviation = np.abs(read_photograph(file, side).astype(int) - read_photograph(exact, side))
        assert 0 < deviation.mean() <= 0.32
        assert deviation.max() <= 6


def test_full_decoding_where_half_the_size_is_below_twice_the_target(shared, tmp_path):
    file = shared / "data/dermoscopy/ISIC_0024311.jpg"  # 600 × 450
    exact = saved(tmp_path, Image.open(file))
    np.testing.assert_array_equal(read_photograph(file, 128), read_photograph(exact, 128))


def test_hidden_files_and_other_kinds_are_no_photographs(tmp_path):
    for name in ("b.JPG", "a.tiff", "c.Bmp", "._a.jpg", ".DS_Store", "notes.txt", "table.csv"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [f.name for f in photographs_in(tmp_path)] == ["a.tiff", "b.JPG", "c.Bmp"]
