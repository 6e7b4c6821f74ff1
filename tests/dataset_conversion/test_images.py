"""`nnunet-vmunet convert images`: loose photographs into input for nnUNetv2_predict."""

import shutil

import numpy as np
import pytest
from PIL import Image
from release_layouts import Pictures


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
