"""`nnunet-vmunet convert images`: loose photographs into input for nnUNetv2_predict."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from release_layouts import Pictures

from nnunet_vmunet.image_io import WholeImage2DIO


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    return tmp_path / "photos"


@pytest.fixture
def output(tmp_path):
    return tmp_path / "new_scans"


@pytest.fixture
def refuse(refused, photos, output):
    def refuse(*options) -> str:
        before = sorted(output.rglob("*"))
        message = refused("convert", "images", "-i", photos, "-o", output, "-np", 1, *options)
        assert sorted(output.rglob("*")) == before
        assert not list(output.parent.glob(".*"))
        return message

    return refuse


@pytest.fixture
def convert(run, photos, output):
    def convert(*options):
        outcome = run("convert", "images", "-i", photos, "-o", output, "-np", 1, *options)
        assert (outcome.code, outcome.err) == (0, "")
        return outcome.out

    return convert


def save(folder, name, size=(60, 45)):
    Pictures(size).photograph(0).save(folder / name)


def names(folder):
    return sorted(f.name for f in folder.iterdir())


def test_real_photographs_keep_every_pixel(shared, photos, output, convert):
    for file in (shared / "data/dermoscopy").glob("*.jpg"):
        shutil.copy(file, photos)
    convert("-np", 2)
    assert names(output) == ["ISIC_0024311_0000.png", "ISIC_0027001_0000.png", "ISIC_0027533_0000.png"]
    for file in photos.iterdir():
        written = Image.open(output / f"{file.stem}_0000.png")
        assert written.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(written), np.asarray(Image.open(file)))


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG", "a.png", "a.tif", "a.TIFF", "a.bmp"])
def test_every_kind_of_photograph(photos, output, convert, name):
    save(photos, name, (31, 17))
    convert()
    assert names(output) == ["a_0000.png"]
    assert np.asarray(Image.open(output / "a_0000.png")).shape == (17, 31, 3)


def test_a_name_that_ends_in_0000_is_not_doubled(photos, output, convert):
    save(photos, "a_0000.png")
    convert()
    assert names(output) == ["a_0000.png"]


def test_other_files_are_ignored_and_counted(photos, convert):
    save(photos, "a.jpg")
    for name in ("notes.txt", "table.csv", ".DS_Store"):
        (photos / name).touch()
    assert f"Ignored in {photos}: 3 that are not photographs" in convert()


def test_the_end_gives_the_prediction_command(photos, output, convert):
    save(photos, "a.jpg")
    expected = f"nnUNetv2_predict -i {output} -o masks -d ID -c 2d -f 0 -tr nnUNetTrainerVMUNet\n"
    assert convert().endswith(expected)


def test_overwrite_replaces_the_earlier_conversion(photos, output, convert):
    save(photos, "a.jpg")
    convert()
    (photos / "a.jpg").rename(photos / "b.jpg")
    convert("--overwrite")
    assert names(output) == ["b_0000.png"]


def test_output_of_an_earlier_conversion_is_refused_without_overwrite(photos, output, convert, refuse):
    save(photos, "a.jpg")
    convert()
    assert "new_scans is not empty: give --overwrite" in refuse()


def test_overwrite_never_removes_anything_else(photos, output, refuse):
    save(photos, "a.jpg")
    output.mkdir()
    (output / "thesis.tex").touch()
    assert "holds thesis.tex, which no conversion wrote" in refuse("--overwrite")
    assert names(output) == ["thesis.tex"]


def test_two_photographs_of_one_name_are_refused(photos, refuse):
    save(photos, "a.jpg")
    save(photos, "a.png")
    message = refuse()
    assert "a.jpg and " in message
    assert "a.png would both become a_0000.png" in message


def test_the_input_folder_as_output_is_refused(photos, refused):
    save(photos, "a.jpg")
    assert "is the input folder" in refused("convert", "images", "-i", photos, "-o", photos, "--overwrite")
    assert names(photos) == ["a.jpg"]


def test_a_folder_that_is_not_there_is_refused(photos, refuse):
    photos.rmdir()
    assert f"{photos} is no folder" in refuse()


def test_a_folder_without_photographs_is_refused(photos, refuse):
    (photos / "notes.txt").touch()
    assert f"{photos} holds no photographs" in refuse()


def test_a_truncated_photograph_is_refused_by_name(photos, refuse):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        save(photos, name)
    (photos / "b.jpg").write_bytes((photos / "b.jpg").read_bytes()[:-200])
    assert "b.jpg cannot be read as an image" in refuse()


def test_a_tiff_of_several_pages_is_refused(photos, refuse):
    page = Pictures().photograph(0)
    page.save(photos / "a.tif", save_all=True, append_images=[page, page])
    assert "a.tif holds 3 pages" in refuse()


def test_no_process_is_refused(photos, refuse):
    save(photos, "a.jpg")
    assert "-np 0" in refuse("-np", 0)


DEEP = np.random.default_rng(0).integers(0, 4096, (17, 31), dtype=np.uint16)  # an X-ray of 12 bits
COLOURED = np.random.default_rng(1).integers(0, 256, (17, 31, 3), dtype=np.uint8)


def save_pixels(folder, name, pixels, **options):
    Image.fromarray(pixels).save(folder / name, **options)


def written(output, name="a_0000.png"):
    pixels = np.asarray(Image.open(output / name))
    return pixels.astype(np.uint16) if pixels.dtype == np.int32 else pixels  # as Pillow 10 reads 16 bits


def test_grey_of_16_bits_keeps_them(photos, output, convert):
    save_pixels(photos, "a.png", DEEP)
    convert()
    np.testing.assert_array_equal(written(output), DEEP)
    read, _ = WholeImage2DIO().read_images([str(output / "a_0000.png")])
    np.testing.assert_array_equal(read[:, 0], np.maximum(DEEP, 1)[None].repeat(3, axis=0))


def test_what_is_cut_to_8_bits_is_told(photos, output, convert):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(photos / "a.tif", COLOURED.astype(np.uint16) * 257, photometric="rgb")
    assert "1 of 1 photographs had more than 8 bits a channel, of which the upper 8 were kept" in convert()
    np.testing.assert_array_equal(written(output), COLOURED)


# With -d


@pytest.fixture
def dataset(raw):
    """Write the dataset.json of dataset 7."""

    def dataset(*channels, place="raw/Dataset007_Own", ending=".png", **more):
        content = {
            "channel_names": {str(number): name for number, name in enumerate(channels)},
            "labels": {"background": 0, "lesion": 1},
            "file_ending": ending,
            **more,
        }
        folder = raw.parent / place
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "dataset.json").write_text(json.dumps(content))

    return dataset


@pytest.mark.parametrize("place", ["raw/Dataset007_Own", "preprocessed/Dataset007_Own", "results/Dataset007_Own/model"])
@pytest.mark.parametrize("name", ["7", "Dataset007_Own"])
def test_a_dataset_is_found_where_there_is_something_of_it(photos, output, convert, dataset, place, name):
    dataset("grey", place=place)
    save_pixels(photos, "a.png", DEEP)
    assert f"nnUNetv2_predict -i {output} -o masks -d {name} -c 2d" in convert("-d", name)
    np.testing.assert_array_equal(written(output), DEEP)


GREY8 = (DEEP >> 4).astype(np.uint8)

WANTED = {  # what the model has, what the photograph has, what is written
    "grey for grey": (["grey"], {}, GREY8, GREY8),
    "16 bits for grey": (["grey"], {}, DEEP, DEEP),
    "16 bits for grey of 8": (["grey"], {"bits": 8}, DEEP, DEEP),
    "8 bits for grey of 16": (["grey"], {"bits": 16}, GREY8, GREY8.astype(np.uint16) * 257),
    "grey in RGB for grey": (["grey"], {}, np.dstack([GREY8] * 3), GREY8),
    "grey in RGBA for grey": (["grey"], {}, np.dstack([GREY8] * 3 + [GREY8 // 2]), GREY8),
    "RGB for RGB": (["R", "G", "B"], {}, COLOURED, COLOURED),
    "grey for RGB": (["R", "G", "B"], {}, GREY8, np.dstack([GREY8] * 3)),
    "RGBA for RGB": (["R", "G", "B"], {}, np.dstack([COLOURED, GREY8]), COLOURED),
    "16 bits for RGB of our reader": (["R", "G", "B"], {"overwrite_image_reader_writer": "WholeImage2DIO"}, DEEP, DEEP),
    "RGBA for RGBA": (["R", "G", "B", "A"], {}, np.dstack([COLOURED, GREY8]), np.dstack([COLOURED, GREY8])),
}


@pytest.mark.parametrize("name", WANTED)
def test_channels_and_depth_are_those_of_the_training(photos, output, convert, dataset, name):
    channels, more, photograph, expected = WANTED[name]
    dataset(*channels, **more)
    save_pixels(photos, "a.png", photograph)
    assert "Note" not in convert("-d", 7)
    assert written(output).dtype == expected.dtype
    np.testing.assert_array_equal(written(output), expected)


def test_a_coloured_photograph_for_a_model_of_grey_ones_becomes_grey_and_is_told(photos, output, convert, dataset):
    dataset("grey")
    save_pixels(photos, "a.png", COLOURED)
    save_pixels(photos, "b.png", GREY8)
    assert "Note: 1 of 2 photographs had colours and became grey by their luminance" in convert("-d", 7)
    np.testing.assert_allclose(written(output), COLOURED @ np.array([0.299, 0.587, 0.114]), atol=0.51)


def test_a_photograph_without_alpha_for_a_model_with_it_becomes_opaque_and_is_told(photos, output, convert, dataset):
    dataset("R", "G", "B", "A")
    save_pixels(photos, "a.png", COLOURED)
    assert "Note: 1 of 1 photographs had no alpha and became opaque" in convert("-d", 7)
    np.testing.assert_array_equal(written(output), np.dstack([COLOURED, np.full((17, 31), 255)]))


def test_16_bits_for_another_reader_of_rgb_are_cut_and_told(photos, output, convert, dataset):
    dataset("R", "G", "B")
    save_pixels(photos, "a.png", DEEP)
    assert "1 of 1 photographs had 16 bits, of which the upper 8 were kept" in convert("-d", 7)
    np.testing.assert_array_equal(written(output), np.dstack([DEEP >> 8] * 3))


@pytest.mark.parametrize("ending", [".tif", ".bmp", ".png"])
def test_files_end_as_those_of_the_training(photos, output, convert, dataset, ending):
    dataset("grey", ending=ending)
    save_pixels(photos, "a.png", GREY8)
    convert("-d", 7)
    convert("-d", 7, "--overwrite")
    assert names(output) == [f"a_0000{ending}"]
    np.testing.assert_array_equal(written(output, f"a_0000{ending}"), GREY8)


@pytest.mark.parametrize(
    ("recorded", "option", "is_turned"),
    [("apply", [], True), ("none", [], True), ("ignore", [], False), ("ignore", ["--exif", "apply"], True)],
)
def test_photographs_are_turned_as_those_of_the_training(photos, output, convert, dataset, recorded, option, is_turned):
    dataset("R", "G", "B", exif=recorded)
    exif = Image.Exif()
    exif[0x0112] = 3
    save_pixels(photos, "a.png", COLOURED, exif=exif)
    convert("-d", 7, *option)
    np.testing.assert_array_equal(written(output), COLOURED[::-1, ::-1] if is_turned else COLOURED)


def test_exif_ignore_without_a_dataset(photos, output, convert):
    exif = Image.Exif()
    exif[0x0112] = 6
    save_pixels(photos, "a.png", COLOURED, exif=exif)
    convert("--exif", "ignore")
    np.testing.assert_array_equal(written(output), COLOURED)


REFUSED = {
    "lossy": (["grey"], {"ending": ".jpg"}, GREY8, 'gives "file_ending": ".jpg", and JPEG changes the labels'),
    "volumes": (["CT"], {"ending": ".nii.gz"}, GREY8, "has files ending in .nii.gz: photographs do not"),
    "two channels": (["a", "b"], {}, GREY8, "has 2 channels: photographs have 1, 3 or 4"),
    "16 bits in bmp": (["grey"], {"ending": ".bmp"}, DEEP, "a.png has 16 bits, and files ending in .bmp have 8"),
    "16 bits where values count": (["noNorm"], {}, DEEP, "a.png has 16 bits, and the model of -d 7 compares values"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_model_cannot_take_is_refused(photos, refuse, dataset, name):
    channels, more, photograph, words = REFUSED[name]
    dataset(*channels, **more)
    save_pixels(photos, "a.png", photograph)
    assert words in refuse("-d", 7)


def test_a_dataset_that_is_not_there_is_refused(photos, refuse, raw):
    save(photos, "a.jpg")
    assert f"-d 7: no dataset.json of it is in {raw}" in refuse("-d", 7)


def test_an_id_of_two_datasets_is_refused(photos, refuse, dataset):
    save(photos, "a.jpg")
    dataset("grey")
    dataset("grey", place="results/Dataset007_Other")
    assert "-d 7 is Dataset007_Other and Dataset007_Own: give the whole name of one" in refuse("-d", 7)


def test_a_dataset_without_nnunets_folders_is_refused(photos, refuse, monkeypatch):
    save(photos, "a.jpg")
    for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.delenv(variable, raising=False)
    assert "-d 7: none of nnUNet_raw, nnUNet_preprocessed, nnUNet_results is set" in refuse("-d", 7)
