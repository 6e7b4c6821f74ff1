"""`nnunet-vmunet convert pairs`: from a folder to a dataset whose every pixel is compared with the original."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

DATASET = "Dataset007_Own"


@pytest.fixture
def own(tmp_path) -> Path:
    """The user's folder."""
    (tmp_path / "own").mkdir()
    return tmp_path / "own"


@pytest.fixture
def convert(run, own, raw):
    """Convert the user's folder, or the two that are named, in this process; the dataset's folder comes back."""

    def convert(*options) -> Path:
        source = [] if "--images" in options else ["-i", own]
        outcome = run("convert", "pairs", *source, "-d", 7, "--name", "Own", "-np", 1, *options)
        assert (outcome.code, outcome.err) == (0, "")
        convert.out = outcome.out
        return raw / DATASET

    return convert


@pytest.fixture
def refuse(refused, own, raw):
    """Convert what must be refused; the error message comes back, and nnUNet_raw is as it was."""

    def refuse(*options) -> str:
        before = sorted(raw.rglob("*"))
        message = refused("convert", "pairs", "-i", own, "-d", 7, "--name", "Own", "-np", 1, *options)
        assert sorted(raw.rglob("*")) == before
        return message

    return refuse


def save(folder: Path, name: str, pixels: np.ndarray, **options) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder / name, **options)


def noise(*shape: int, seed=0, depth=np.uint8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(depth).max + 1, shape, dtype=depth)


def disc(height=12, width=16, value=255) -> np.ndarray:
    row, column = np.mgrid[:height, :width]
    return np.uint8(value * ((row - height / 2) ** 2 + (column - width / 2) ** 2 < (height / 3) ** 2))


def pairs(folder: Path, *names: str, image=None, mask=None, images="images", masks="masks") -> None:
    for number, name in enumerate(names):
        save(folder / images, f"{name}.png", noise(12, 16, 3, seed=number) if image is None else image)
        save(folder / masks, f"{name}.png", disc() if mask is None else mask)


def read(file: Path) -> np.ndarray:
    pixels = np.asarray(Image.open(file))
    return pixels.astype(np.uint16) if pixels.dtype == np.int32 else pixels  # as Pillow 10 reads 16 bits


def content(dataset: Path) -> dict:
    return json.loads((dataset / "dataset.json").read_text())


def folds(dataset: Path) -> list[dict]:
    return json.loads((dataset / "splits_final.json").read_text())


def written(dataset: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    return read(dataset / f"imagesTr/{name}_0000.png"), read(dataset / f"labelsTr/{name}.png")


def stems(folder: Path) -> list[str]:
    return sorted(file.stem for file in folder.iterdir())


def take(shared: Path, own: Path, name: str, every: int = 1, start: str = "") -> list[str]:
    """Copy some cases of a real set; their images' names come back."""
    source, taken = shared / "data" / name, []
    for number, image in enumerate(sorted((source / "images").glob(f"{start}*"))):
        if number % every == 0:
            for part, file in (
                ("images", image),
                *(("masks", mask) for mask in (source / "masks").glob(f"{image.stem}[._]*")),
            ):
                (own / part).mkdir(exist_ok=True)
                shutil.copy(file, own / part)
            taken.append(image.stem)
    return taken


def test_ph2(shared, convert, own):
    """BMP of several sizes; 1-bit masks, one of them RGB."""
    names = take(shared, own, "ph2")
    Image.open(own / "masks/IMD018.bmp").convert("RGB").save(own / "masks/IMD018.bmp")
    dataset = convert("--labels", "lesion=1")
    assert content(dataset)["labels"] == {"background": 0, "lesion": 1}
    assert content(dataset)["overwrite_image_reader_writer"] == "WholeImage2DIO"
    assert stems(dataset / "labelsTr") == names
    for name in names:
        image, label = written(dataset, name)
        np.testing.assert_array_equal(image, read(own / f"images/{name}.bmp"))
        np.testing.assert_array_equal(label, np.asarray(Image.open(own / f"masks/{name}.bmp").convert("L")) > 0)
        assert label.dtype == np.uint8
        assert 0 < label.mean() < 1


def test_isic2018_256(shared, convert, own):
    """JPEG, and masks called NAME_segmentation.png."""
    names = take(shared, own, "isic2018_256", every=100)
    dataset = convert()
    assert len(names) == 20
    assert "20 as NAME.jpg with NAME_segmentation.png" in convert.out
    for name in names:
        image, label = written(dataset, name)
        np.testing.assert_array_equal(image, read(own / f"images/{name}.jpg"))
        np.testing.assert_array_equal(label, read(own / f"masks/{name}_segmentation.png") // 255)


def test_acdc(shared, convert, own):
    """Grey of 16 bits, labels 0 to 3, split by patient."""
    names = take(shared, own, "acdc", every=9)
    dataset = convert("--group", r"patient\d+", "--labels", "rv=1,myo=2,lv=3")
    described = content(dataset)
    assert described["channel_names"] == {"0": "grey"}
    assert described["bits"] == 16
    assert described["overwrite_image_reader_writer"] == "WholeGreyImage2DIO"
    assert described["labels"] == {"background": 0, "rv": 1, "myo": 2, "lv": 3}
    for name in names:
        image, label = written(dataset, name)
        assert (image.ndim, image.dtype) == (2, np.uint16)
        np.testing.assert_array_equal(image, read(own / f"images/{name}.png"))
        np.testing.assert_array_equal(label, read(own / f"masks/{name}.png"))
    (fold,) = folds(dataset)
    patients = [{name[:10] for name in fold[side]} for side in ("train", "val")]
    assert not patients[0] & patients[1]
    assert len(patients[0]) + len(patients[1]) == 25
    assert sorted(fold["train"] + fold["val"]) == sorted(names)


def test_acdc_at_another_size(shared, convert, own):
    """Averaged in 16 bits: the mean of the picture survives to less than one of 65536."""
    names = take(shared, own, "acdc", start="patient001_frame01")
    dataset = convert("--size", 64)
    for name in names:
        image, label = written(dataset, name)
        assert (image.shape, image.dtype, label.shape) == ((64, 64), np.uint16, (64, 64))
        assert image.mean() == pytest.approx(read(own / f"images/{name}.png").mean(), abs=0.5)
        assert len(np.unique(image)) > 256
        assert (label > 0).mean() == pytest.approx((read(own / f"masks/{name}.png") > 0).mean(), abs=0.01)


def test_dsb2018(shared, convert, own):
    """RGBA of several sizes becomes RGB; grey microscopy that is stored as RGBA is RGB too."""
    names = take(shared, own, "dsb2018", every=5)
    dataset = convert()
    assert "Alpha: dropped from 20 images" in convert.out
    for name in names:
        image, label = written(dataset, name)
        np.testing.assert_array_equal(image, read(own / f"images/{name}.png")[..., :3])
        np.testing.assert_array_equal(label, read(own / f"masks/{name}.png") // 255)


def test_dermoscopy_side_by_side(shared, convert, own):
    for file in (shared / "data/dermoscopy").iterdir():
        shutil.copy(file, own)
    dataset = convert()
    assert f"side by side in {own}, 3 as NAME.jpg with NAME_segmentation.png" in convert.out
    for name in ("ISIC_0024311", "ISIC_0027001", "ISIC_0027533"):
        image, label = written(dataset, name)
        np.testing.assert_array_equal(image, read(own / f"{name}.jpg"))
        np.testing.assert_array_equal(label, read(own / f"{name}_segmentation.png") // 255)
    assert "release" not in content(dataset)


@pytest.mark.parametrize("kind", ["jpg", "png", "bmp", "tif", "tiff", "JPEG"])
def test_every_kind_of_file(convert, own, kind):
    for name in "ab":
        save(own / "images", f"{name}.{kind}", noise(12, 16, 3))
        save(own / "masks", f"{name}.{'png' if kind in ('jpg', 'JPEG') else kind}", disc())
    image, label = written(convert(), "a")
    np.testing.assert_array_equal(image, read(own / f"images/a.{kind}"))
    np.testing.assert_array_equal(label, disc(value=1))


def test_dataset_json_tells_nnunet_and_our_commands(convert, own):
    pairs(own, "a", "b", "c")
    assert content(convert()) == {
        "name": "Own",
        "description": "3 images and masks, the images' own sizes",
        "converted_by": "nnunet-vmunet",
        "split": "seeded 7:3 split (seed 0)",
        "size": "native",
        "exif": "none",
        "bits": 8,
        "channel_names": {"0": "R", "1": "G", "2": "B"},
        "labels": {"background": 0, "label 1": 1},
        "numTraining": 3,
        "file_ending": ".png",
        "overwrite_image_reader_writer": "WholeImage2DIO",
    }
    assert content(convert("--size", 8, "--overwrite"))["size"] == 8


# Kinds of images: what is written as which channels, and what is said.


def test_grey_stays_one_channel(convert, own):
    pairs(own, "a", "b", image=noise(12, 16))
    dataset = convert()
    assert content(dataset)["channel_names"] == {"0": "grey"}
    np.testing.assert_array_equal(written(dataset, "a")[0], noise(12, 16))
    assert "Channels: grey\n" in convert.out


def test_one_image_with_colours_makes_all_rgb(convert, own):
    pairs(own, "a", image=noise(12, 16, 3))
    pairs(own, "b", image=noise(12, 16))
    dataset = convert()
    assert content(dataset)["channel_names"] == {"0": "R", "1": "G", "2": "B"}
    np.testing.assert_array_equal(written(dataset, "b")[0], noise(12, 16)[..., None].repeat(3, axis=2))
    assert "Grey images: 1 of 2 become RGB, as others have colours" in convert.out


def test_grey_of_8_and_of_16_bits_are_both_kept(convert, own):
    pairs(own, "a", image=noise(12, 16))
    pairs(own, "b", image=noise(12, 16, depth=np.uint16))
    dataset = convert()
    assert [written(dataset, name)[0].dtype for name in "ab"] == [np.uint8, np.uint16]
    assert "Depth: 16 bits in 1 of 2 images, 8 in the others, kept" in convert.out


def test_what_is_cut_to_8_bits_is_said(convert, own):
    """16-bit RGB, of which Pillow reads the upper 8; and 16-bit grey beside colours."""
    tifffile = pytest.importorskip("tifffile")
    (own / "images").mkdir()
    tifffile.imwrite(own / "images/a.tif", noise(12, 16, 3, depth=np.uint16), photometric="rgb")
    save(own / "images", "b.png", noise(12, 16, depth=np.uint16))
    for name in "ab":
        save(own / "masks", f"{name}.png", disc())
    dataset = convert()
    np.testing.assert_array_equal(written(dataset, "a")[0], noise(12, 16, 3, depth=np.uint16) >> 8)
    assert f"of 2 images with 16 bits a channel, such as {own / 'images/a.tif'}, the upper 8 are kept" in convert.out


def test_masks_that_need_an_option_are_refused_with_it(refuse, convert, own):
    grey = disc()
    grey[0, :3] = 3, 127, 128
    pairs(own, "a", "b", mask=grey)
    assert re.search(r"a.png is neither black and white.* --threshold 128 if they .* 1.56% grey pixels", refuse())
    np.testing.assert_array_equal(written(convert("--threshold", 128), "a")[1], grey >= 128)


def test_what_masks_mean_is_decided_over_the_test_images_too(refuse, own):
    pairs(own, "a", "b", images="train/images", masks="train/masks")
    pairs(own, "c", images="test/images", masks="test/masks", mask=disc(value=1))
    assert "test/masks/c.png holds the value 1 and " in refuse()


def test_colours_become_labels_and_ignored_pixels_nnunets_ignore_label(convert, own):
    truth = disc(value=1)
    truth[:2] = 2
    pairs(own, "a", "b", mask=np.uint8([[0, 0, 0], [255, 0, 0], [128, 128, 128]])[truth])
    dataset = convert("--colours", "polyp=#ff0000", "--ignore", "#808080")
    assert content(dataset)["labels"] == {"background": 0, "polyp": 1, "ignore": 2}
    np.testing.assert_array_equal(written(dataset, "a")[1], truth)


# Splits


def lay_out_parts(own: Path, *parts: str) -> None:
    for part in parts:
        pairs(own, f"{part}1", f"{part}2", images=f"{part}/images", masks=f"{part}/masks")


def test_the_folders_split_is_fold_0_and_test_stays_apart(convert, own):
    lay_out_parts(own, "train", "val", "test")
    dataset = convert()
    assert folds(dataset) == [{"train": ["train1", "train2"], "val": ["val1", "val2"]}]
    assert content(dataset)["split"] == "the folders' own"
    assert content(dataset)["numTraining"] == 4
    assert stems(dataset / "imagesTs") == ["test1_0000", "test2_0000"]
    assert stems(dataset / "labelsTs") == ["test1", "test2"]


def test_training_and_test_folders_alone_leave_the_split_open(convert, own):
    lay_out_parts(own, "train", "test")
    shutil.rmtree(own / "test/masks")
    dataset = convert()
    assert content(dataset)["split"] == "seeded 7:3 split (seed 0)"
    assert stems(dataset / "imagesTs") == ["test1_0000", "test2_0000"]
    assert not (dataset / "labelsTs").exists()


def test_parts_that_count_from_1_each(convert, own):
    for seed, part in enumerate(("train", "val")):
        pairs(own, "1", images=f"{part}/images", masks=f"{part}/masks", image=noise(12, 16, 3, seed=seed))
    dataset = convert()
    assert folds(dataset) == [{"train": ["train_1"], "val": ["val_1"]}]
    np.testing.assert_array_equal(written(dataset, "val_1")[0], noise(12, 16, 3, seed=1))
    assert "each case's name begins with its part" in convert.out


def test_the_same_image_in_two_parts_is_refused(refuse, own):
    for part in ("train", "val"):
        pairs(own, "1", images=f"{part}/images", masks=f"{part}/masks")
    message = refuse()
    assert "train/images/1.png and " in message
    assert "val/images/1.png are the same case" in message


def test_two_images_of_one_name_in_one_part_are_refused_and_neither_called_superfluous(refuse, own):
    """As where one dataset lies there as PNG and as TIFF, or each class counts from 1."""
    for seed, place in enumerate(("PNG", "TIF")):
        pairs(
            own, "1", "2", images=f"{place}/Original", masks=f"{place}/Ground Truth", image=noise(12, 16, 3, seed=seed)
        )
    message = refuse()
    assert "PNG/Original/1.png and " in message
    assert "TIF/Original/1.png have the same name: convert one folder, or rename one and its mask" in message


def test_a_file_of_validation_names(convert, own):
    pairs(own, "a", "b", "c")
    (own.parent / "val.txt").write_text("b\n")
    dataset = convert("--split", own.parent / "val.txt")
    assert folds(dataset) == [{"train": ["a", "c"], "val": ["b"]}]
    assert content(dataset)["split"] == "as val.txt says"


def test_split_cv_leaves_the_folds_to_nnunet(convert, own):
    pairs(own, *"abcde")
    dataset = convert("--split", "cv")
    assert not (dataset / "splits_final.json").exists()
    assert content(dataset)["split"] == "nnU-Net's own five folds"


PATIENTS = [f"p{patient}_{eye}" for patient in range(5) for eye in ("left", "right")]


def test_split_cv_by_patient(convert, own):
    pairs(own, *PATIENTS)
    for fold in folds(convert("--split", "cv", "--group", r"p\d")):
        assert len(fold["val"]) == 2
        assert fold["val"][0][:2] == fold["val"][1][:2]


def test_names_that_look_like_patients_are_noticed(convert, own):
    pairs(own, *PATIENTS)
    convert()
    assert r"Note: several names share a beginning; if that is one patient, give --group '^p\d+'" in convert.out
    convert("--group", r"^p\d+", "--overwrite")
    assert "Note" not in convert.out
    assert "Fold 0: 6 cases for training, 4 for validation (3 and 2 groups)" in convert.out


def test_a_patient_on_both_sides_of_a_split_is_refused(refuse, own):
    pairs(own, *PATIENTS)
    (own.parent / "val.txt").write_text("p1_left")
    assert "p1 would be in training and validation" in refuse("--group", r"p\d", "--split", own.parent / "val.txt")


# EXIF


ORIENTATION = 0x0112
UPRIGHT = noise(12, 16, 3)
STORED = {  # what a camera stores of it, by orientation
    3: UPRIGHT[::-1, ::-1],
    2: UPRIGHT[:, ::-1],
    6: UPRIGHT[:, ::-1].swapaxes(0, 1),
    8: UPRIGHT[::-1].swapaxes(0, 1),
}


def save_turned(folder: Path, name: str, stored: np.ndarray, orientation: int, kind="png") -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    save(folder, f"{name}.{kind}", np.ascontiguousarray(stored), exif=exif)


@pytest.fixture
def turned(own):
    """Image "a" with an EXIF orientation and its mask, which marks the brighter pixels of the image it is drawn on; and
    "b" without one.
    """

    def turned(orientation: int, drawn_on: np.ndarray, stored=None, kind="png") -> None:
        pairs(own, "b")
        save_turned(own / "images", "a", STORED[orientation] if stored is None else stored, orientation, kind)
        save(own / "masks", "a.png", np.uint8(255 * (drawn_on[..., 0] > 127)))

    return turned


@pytest.mark.parametrize("kind", ["png", "tif"])
@pytest.mark.parametrize("orientation", [6, 8])
@pytest.mark.parametrize("choice", ["apply", "ignore"])
def test_a_mask_of_one_size_says_whether_its_image_is_turned(convert, turned, orientation, choice, kind):
    drawn_on = UPRIGHT if choice == "apply" else STORED[orientation]
    turned(orientation, drawn_on, kind=kind)
    dataset = convert()
    image, label = written(dataset, "a")
    np.testing.assert_array_equal(image, drawn_on)
    np.testing.assert_array_equal(label, drawn_on[..., 0] > 127)
    assert content(dataset)["exif"] == choice


@pytest.mark.parametrize("kind", ["png", "tif"])
@pytest.mark.parametrize("orientation", [2, 3])
@pytest.mark.parametrize("choice", ["apply", "ignore"])
def test_an_image_whose_mask_fits_both_ways_needs_a_choice(refuse, convert, turned, orientation, choice, kind):
    drawn_on = UPRIGHT if choice == "apply" else STORED[orientation]
    turned(orientation, drawn_on, kind=kind)
    message = refuse()
    assert f"images/a.{kind} and " in message
    assert "--exif apply" in message
    assert "--exif ignore" in message
    dataset = convert("--exif", choice)
    image, label = written(dataset, "a")
    np.testing.assert_array_equal(image, drawn_on)
    np.testing.assert_array_equal(label, drawn_on[..., 0] > 127)
    assert content(dataset)["exif"] == choice
    assert f"EXIF: 1 images are to be turned, by --exif {choice}" in convert.out


def test_a_square_image_that_lies_sideways_needs_a_choice(refuse, turned):
    turned(6, UPRIGHT[:, :12], stored=UPRIGHT[:, :12])
    assert "fit turned and not turned" in refuse()


def test_a_mask_with_the_orientation_of_its_image_is_turned_with_it(convert, own):
    pairs(own, "b")
    save_turned(own / "images", "a", STORED[3], 3)
    save_turned(own / "masks", "a", np.uint8(255 * (STORED[3][..., 0] > 127)), 3)
    image, label = written(convert(), "a")
    np.testing.assert_array_equal(image, UPRIGHT)
    np.testing.assert_array_equal(label, UPRIGHT[..., 0] > 127)


def test_images_that_were_turned_and_left_alone_are_told(convert, own):
    pairs(own, "c")
    for name, drawn_on in (("a", UPRIGHT), ("b", STORED[6])):
        save_turned(own / "images", name, STORED[6], 6)
        save(own / "masks", f"{name}.png", np.uint8(255 * (drawn_on[..., 0] > 127)))
    dataset = convert()
    assert content(dataset)["exif"] == "mixed"
    assert [written(dataset, name)[0].shape[:2] for name in "ab"] == [(12, 16), (16, 12)]


def test_an_image_to_test_on_without_a_mask_is_treated_as_those_with_one(convert, own):
    pairs(own, "b", images="train/images", masks="train/masks")
    save_turned(own / "train/images", "a", STORED[6], 6)
    save(own / "train/masks", "a.png", np.uint8(255 * (STORED[6][..., 0] > 127)))
    save_turned(own / "test/images", "t", STORED[3], 3)
    dataset = convert()
    np.testing.assert_array_equal(read(dataset / "imagesTs/t_0000.png"), STORED[3])


# Datasets that nnU-Net has already


def test_masks_of_0_and_255_in_a_raw_dataset_are_repaired(convert, own):
    for name in ("a", "b_0001"):
        save(own / "imagesTr", f"{name}_0000.png", noise(12, 16, 3))
        save(own / "labelsTr", f"{name}.png", disc())
    dataset = convert("--images", own / "imagesTr", "--masks", own / "labelsTr")
    assert stems(dataset / "imagesTr") == ["a_0000", "b_0001_0000"]
    np.testing.assert_array_equal(written(dataset, "b_0001")[0], noise(12, 16, 3))
    np.testing.assert_array_equal(written(dataset, "a")[1], disc(value=1))


def test_a_dataset_is_not_replaced_by_one_made_from_its_own_files(convert, refused, own):
    """What is beside its imagesTr would be gone."""
    pairs(own, "a", "b")
    dataset = convert()
    before = sorted(dataset.rglob("*"))
    folders = ["--images", dataset / "imagesTr", "--masks", dataset / "labelsTr"]
    message = refused("convert", "pairs", *folders, "-d", 7, "--name", "Own", "-np", 1, "--overwrite")
    assert f"lies in {dataset}, which would be replaced: choose another -d or --name" in message
    assert sorted(dataset.rglob("*")) == before


def test_one_folder_given_twice_is_refused(refused, own, raw):
    pairs(own, "a", "b")
    folders = ["--images", own / "images", "--masks", own / "images"]
    assert "is given as --images and as --masks" in refused("convert", "pairs", *folders, "-d", 7, "--name", "Own")


def test_several_processes_write_the_same(convert, own, raw):
    pairs(own, *"abcd")
    alone = convert().rename(raw / "alone")
    dataset = convert("-np", 2)
    files = [file for file in alone.rglob("*") if file.is_file()]
    assert len(files) == 10
    assert all(file.read_bytes() == (dataset / file.relative_to(alone)).read_bytes() for file in files)


def test_the_end_says_what_was_written_and_what_comes_next(convert, own, raw):
    pairs(own, "a", "b")
    convert()
    assert f"Wrote {raw / DATASET}: 2 cases, the images' own sizes\n" in convert.out
    assert "Masks: 0 is background, 255 is label 1\n" in convert.out
    assert convert.out.endswith("  nnUNetv2_train 7 2d 0 -tr nnUNetTrainerVMUNet\n")


SPOILED = {
    "sizes": (
        lambda own: save(own / "masks", "a.png", disc(16, 12)),
        r"masks/a.png is 12x16 pixels, its image \S*images/a.png 16x12",
    ),
    "broken image": (lambda own: (own / "images/c.png").write_bytes(b""), "images/c.png cannot be read as an image"),
    "broken mask": (lambda own: (own / "masks/c.png").write_bytes(b"x"), "masks/c.png cannot be read as an image"),
    "unpaired": (lambda own: (own / "masks/c.png").unlink(), r"1 images have no mask \(\S*images/c.png\)"),
    "one case": (lambda own: [f.unlink() for n in "bc" for f in own.rglob(f"{n}.png")], "a alone cannot be split"),
    "no folder": (shutil.rmtree, "own is no folder"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_bad_folders_are_refused(refuse, own, name):
    pairs(own, "a", "b", "c")
    spoil, words = SPOILED[name]
    spoil(own)
    assert re.search(words, refuse())


def test_a_wrong_file_is_found_before_anything_is_converted(refuse, own, monkeypatch):
    """However late in the folder: headers are compared first, then masks looked at."""
    from nnunet_vmunet.dataset_conversion import picture_dataset

    pairs(own, *"abcdefgh")
    save(own / "masks", "h.png", disc(9, 9))
    monkeypatch.setattr(picture_dataset, "write_cases", lambda *_: pytest.fail("something was converted"))
    monkeypatch.setattr("nnunet_vmunet.dataset_conversion.pairs.write_cases", lambda *_: pytest.fail("converted"))
    assert "masks/h.png is 9x9 pixels" in refuse()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--size", "0"], "--size 0: give a number"),
        (["--split", "nowhere.txt"], "--split nowhere.txt cannot be read"),
        (["--split", "cv"], "3 cases are too few"),
        (["--group", "x"], "--group x finds nothing in a"),
        (["--name", "a/b"], "--name a/b: give a name"),
        (["--images", "x"], "give one folder as -i, or two as --images and --masks"),
        (["--masks", "x", "--images", "y"], "give one folder as -i, or two as --images and --masks"),
        (["--ignore", "7"], "--ignore 7: no mask holds that"),
    ],
    ids=lambda value: "".join(value[:2]) if isinstance(value, list) else "",
)
def test_bad_options_are_refused(refused, own, raw, options, words):
    pairs(own, "a", "b", "c")
    assert words in refused("convert", "pairs", "-i", own, "-d", 7, "--name", "Own", "-np", 1, *options)
    assert not list(raw.iterdir())


def test_no_folder_at_all_is_refused(refused, raw):
    assert "give a folder as -i" in refused("convert", "pairs", "-d", 7, "--name", "Own")
