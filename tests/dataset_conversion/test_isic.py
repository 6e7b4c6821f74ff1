"""`nnunet-vmunet convert isic17|isic18`: every form of release, every kind of bad input."""

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from interruption import conversion_under_way, wait_until_all_ended
from PIL import Image
from release_layouts import PARTS, Pictures

from nnunet_vmunet.image_io import WholeImage2DIO

DATASET = "Dataset118_ISIC2018"


@pytest.fixture
def convert(run, releases, raw):
    """Convert the release that the test laid out, in this process; the dataset's folder comes back."""

    def convert(*options, source="isic18", dataset=DATASET) -> Path:
        outcome = run("convert", source, "-i", releases.root, "-d", 118, "-np", 1, *options)
        assert (outcome.code, outcome.err) == (0, "")
        convert.out = outcome.out
        return raw / dataset

    return convert


@pytest.fixture
def refuse(refused, releases, raw):
    """Convert what must be refused; the error message comes back, and nnUNet_raw is as it was."""

    def refuse(*options, source="isic18") -> str:
        before = sorted(raw.rglob("*"))
        message = refused("convert", source, "-i", releases.root, "-d", 118, "-np", 1, *options)
        assert sorted(raw.rglob("*")) == before
        return message

    return refuse


def names(folder: Path) -> list[str]:
    return sorted(f.name for f in folder.iterdir())


def dataset_json(dataset: Path) -> dict:
    return json.loads((dataset / "dataset.json").read_text())


def folds(dataset: Path) -> list[dict]:
    return json.loads((dataset / "splits_final.json").read_text())


@pytest.mark.parametrize("year", [2017, 2018])
def test_official_release_of_real_photographs(shared, convert, releases, year):
    images, masks = (releases.root / name for name in PARTS[year, "Training"])
    images.mkdir()
    masks.mkdir()
    photographs = shared / "data/dermoscopy"
    for file in sorted(photographs.glob("*.jpg")):
        shutil.copy(file, images)
        shutil.copy(photographs / f"{file.stem}_segmentation.png", masks)

    dataset = convert(source=f"isic{year % 100}", dataset=f"Dataset118_ISIC{year}")

    cases = ["ISIC_0024311", "ISIC_0027001", "ISIC_0027533"]
    assert names(dataset) == ["dataset.json", "imagesTr", "labelsTr", "splits_final.json"]
    assert names(dataset / "imagesTr") == [f"{case}_0000.png" for case in cases]
    assert names(dataset / "labelsTr") == [f"{case}.png" for case in cases]
    for case in cases:
        image = np.asarray(Image.open(dataset / "imagesTr" / f"{case}_0000.png"))
        label = np.asarray(Image.open(dataset / "labelsTr" / f"{case}.png"))
        assert (image.shape, image.dtype) == ((256, 256, 3), np.uint8)
        assert (label.shape, label.dtype) == ((256, 256), np.uint8)
        assert np.unique(label).tolist() == [0, 1]
        # The lesion's share of the picture survives the resizing, and so does the picture's brightness.
        truth = np.asarray(Image.open(photographs / f"{case}_segmentation.png")) > 0
        assert label.mean() == pytest.approx(truth.mean(), abs=2e-3)
        assert image.mean() == pytest.approx(np.asarray(Image.open(photographs / f"{case}.jpg")).mean(), abs=0.05)


def test_real_photographs_as_the_authors_archive(shared, convert, releases):
    photographs = sorted((shared / "data/dermoscopy").glob("*.jpg"))
    for part, files in (("train", photographs[:2]), ("val", photographs[2:])):
        images, masks = releases.root / part / "images", releases.root / part / "masks"
        images.mkdir(parents=True)
        masks.mkdir()
        for file in files:
            Image.open(file).save(images / f"{file.stem}.png")
            shutil.copy(file.parent / f"{file.stem}_segmentation.png", masks / f"{file.stem}.png")
    assert folds(convert()) == [{"train": ["ISIC_0024311", "ISIC_0027001"], "val": ["ISIC_0027533"]}]


def test_dataset_json_tells_nnunet_how_to_read_it(convert, releases):
    releases.official(training=3)
    content = dataset_json(convert())
    assert content["channel_names"] == {"0": "R", "1": "G", "2": "B"}
    assert content["labels"] == {"background": 0, "lesion": 1}
    assert content["numTraining"] == 3
    assert content["file_ending"] == ".png"
    assert content["overwrite_image_reader_writer"] == "WholeImage2DIO"


def test_validation_joins_training_and_test_stays_apart(convert, releases):
    releases.official(training=4, validation=2, test=3)
    dataset = convert()
    assert dataset_json(dataset)["numTraining"] == 6
    assert names(dataset / "labelsTr") == [f"ISIC_{i:07d}.png" for i in range(6)]
    assert names(dataset / "imagesTs") == [f"ISIC_{i:07d}_0000.png" for i in (6, 7, 8)]
    assert names(dataset / "labelsTs") == [f"ISIC_{i:07d}.png" for i in (6, 7, 8)]
    assert sorted(folds(dataset)[0]["train"] + folds(dataset)[0]["val"]) == [f"ISIC_{i:07d}" for i in range(6)]


def test_test_release_without_masks_gives_images_only(convert, releases):
    releases.official(training=2, test=2)
    shutil.rmtree(releases.part("Test")[1])
    dataset = convert()
    assert (dataset / "imagesTs").exists()
    assert not (dataset / "labelsTs").exists()
    assert "2 cases in imagesTs, without masks" in convert.out


def test_what_lies_beside_the_images_in_a_release_is_ignored(convert, releases):
    releases.official(2017, training=2)
    images, masks = releases.part("Training", 2017)
    Pictures().photograph(0).save(images / "ISIC_0000000_superpixels.png")
    for name in ("metadata.csv", "ATTRIBUTION.txt", "LICENSE.txt", ".DS_Store", "._ISIC_0000000.jpg"):
        (images / name).touch()
    (masks / "._ISIC_0000000_segmentation.png").touch()
    dataset = convert(source="isic17", dataset="Dataset118_ISIC2017")
    assert len(names(dataset / "imagesTr")) == 2


def nest_in_itself(folder: Path) -> None:
    inner = folder / folder.name
    folder.rename(folder.with_name("moving"))
    folder.mkdir()
    folder.with_name("moving").rename(inner)


@pytest.mark.parametrize("which", [0, 1], ids=["images", "masks"])
def test_mirrors_that_nest_a_folder_inside_itself(convert, releases, which):
    releases.official(training=2)
    nest_in_itself(releases.part("Training")[which])
    assert dataset_json(convert())["numTraining"] == 2


def test_mirrors_that_wrap_the_release_in_folders(convert, releases):
    releases.official(training=2)
    wrapped = releases.root / "isic" / "2018"
    wrapped.mkdir(parents=True)
    for folder in releases.part("Training"):
        folder.rename(wrapped / folder.name)
    (releases.root / "__MACOSX" / "ISIC2018_Task1-2_Training_Input").mkdir(parents=True)
    assert dataset_json(convert())["numTraining"] == 2


def test_masks_may_be_called_segmentation_with_a_capital(convert, releases):
    releases.official(training=2)
    for mask in releases.part("Training")[1].iterdir():
        mask.rename(mask.with_name(mask.name.replace("_segmentation", "_Segmentation")))
    assert len(names(convert() / "labelsTr")) == 2


def test_the_archives_split_is_fold_0(convert, releases):
    releases.archive(train=2, val=1)
    dataset = convert()
    assert folds(dataset) == [{"train": ["ISIC_0000000", "ISIC_0000001"], "val": ["ISIC_0000002"]}]
    assert dataset_json(dataset)["split"] == "the authors' archive's own split"


def test_official_folders_get_a_seeded_split_that_is_called_that(convert, releases):
    releases.official(training=7, validation=3)
    dataset = convert()
    [fold] = folds(dataset)
    assert (len(fold["train"]), len(fold["val"])) == (7, 3)
    note = "seeded 7:3 split (seed 0); the paper's own split was never published"
    assert dataset_json(dataset)["split"] == note
    assert note in convert.out


def soften(mask: Path) -> np.ndarray:
    """As the authors' archive has been resized: grey along the edges."""
    soft = Image.open(mask).resize((64, 64), Image.Resampling.BILINEAR)
    soft.save(mask)
    Image.open(mask.parent.parent / "images" / mask.name).resize((64, 64)).save(
        mask.parent.parent / "images" / mask.name
    )
    return np.asarray(soft)


def test_the_archives_grey_masks_are_taken_at_128_and_counted(convert, releases):
    releases.archive(train=2, val=1)
    masks = {file.stem: soften(file) for file in releases.root.glob("*/masks/*.png")}
    dataset = convert("--size", "native")
    for name, soft in masks.items():
        label = np.asarray(Image.open(dataset / f"labelsTr/{name}.png"))
        np.testing.assert_array_equal(label, soft >= 128)
    grey = sum(int(((mask != 0) & (mask != 255)).sum()) for mask in masks.values())
    assert grey > 0
    assert f"Masks: 128 and above is lesion; {grey} of {3 * 64 * 64} pixels (" in convert.out
    assert dataset_json(dataset)["labels"] == {"background": 0, "lesion": 1}
    assert dataset_json(dataset)["release"] == "isic18"


def test_coloured_masks_in_the_archive_are_refused(refuse, releases):
    releases.archive(train=2, val=1)
    Pictures().photograph(0).save(releases.root / "train/masks/ISIC_0000000.png")
    assert "ISIC_0000000.png is a mask with colours" in refuse()


def test_a_mask_of_0_and_1_in_the_archive_is_read_as_that(convert, releases):
    """Beside masks of 0 and 255; the authors' code would see an empty one."""
    releases.archive(train=2, val=1)
    file = releases.root / "train/masks/ISIC_0000000.png"
    truth = np.asarray(Image.open(file)) // 255
    Image.fromarray(truth).save(file)
    label = np.asarray(Image.open(convert("--size", "native") / "labelsTr/ISIC_0000000.png"))
    np.testing.assert_array_equal(label, truth)


@pytest.mark.parametrize(("source", "year"), [("isic17", 2017), ("isic18", 2018)])
def test_a_dataset_says_which_release_it_is_and_how_it_was_made(convert, releases, source, year):
    releases.official(year, training=3)
    content = dataset_json(convert(source=source, dataset=f"Dataset118_ISIC{year}"))
    assert (content["release"], content["size"], content["exif"]) == (source, 256, "none")


def test_polyps_in_folders_of_the_release_are_not_the_release(convert, releases):
    releases.official(training=3)
    for folder, ending in zip(releases.part("Training"), (".jpg", "_segmentation.png"), strict=True):
        first(folder).rename(folder / f"polyp_1{ending}")
    content = dataset_json(convert("--size", "native"))
    assert "release" not in content
    assert content["size"] == "native"


def save_turned(file: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.open(file).save(file, exif=exif, quality=95)


@pytest.mark.parametrize("choice", ["apply", "ignore"])
def test_an_image_that_its_file_says_to_turn_by_180_degrees_needs_a_choice(convert, refuse, releases, choice):
    releases.official(training=2)
    image = first(releases.part("Training")[0])
    save_turned(image, 3)
    assert "ISIC_0000000.jpg and " in refuse()
    dataset = convert("--size", "native", "--exif", choice)
    stored = np.asarray(Image.open(image))
    expected = stored[::-1, ::-1] if choice == "apply" else stored
    np.testing.assert_array_equal(np.asarray(Image.open(dataset / "imagesTr/ISIC_0000000_0000.png")), expected)
    assert dataset_json(dataset)["exif"] == choice


def test_an_image_is_left_alone_where_its_mask_was_drawn_on_the_stored_pixels(convert, releases):
    releases.official(training=2)
    image = first(releases.part("Training")[0])
    save_turned(image, 6)
    dataset = convert("--size", "native")
    assert np.shape(Image.open(dataset / "imagesTr/ISIC_0000000_0000.png")) == (45, 60, 3)
    assert dataset_json(dataset)["exif"] == "ignore"


def test_split_cv_leaves_the_folds_to_nnunet(convert, releases):
    releases.official(training=5)
    dataset = convert("--split", "cv")
    assert not (dataset / "splits_final.json").exists()
    assert dataset_json(dataset)["split"] == "nnU-Net's own five folds"


@pytest.mark.parametrize(("size", "shape"), [("256", (256, 256)), ("32", (32, 32)), ("native", (45, 60))])
def test_size(convert, releases, size, shape):
    releases.official(training=2)
    dataset = convert("--size", size)
    assert np.asarray(Image.open(dataset / "imagesTr/ISIC_0000001_0000.png")).shape == (*shape, 3)
    assert np.asarray(Image.open(dataset / "labelsTr/ISIC_0000001.png")).shape == shape


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (3, 4)], ids=str)
def test_tiny_images_are_what_nnunet_reads(convert, releases, size):
    releases.official(training=2, pictures=Pictures(size))
    dataset = convert("--size", "native")
    image, properties = WholeImage2DIO().read_images([str(dataset / "imagesTr/ISIC_0000001_0000.png")])
    label, label_properties = WholeImage2DIO().read_seg(str(dataset / "labelsTr/ISIC_0000001.png"))
    assert image.shape == (3, 1, *size[::-1])
    assert label.shape == (1, 1, *size[::-1])
    assert properties == label_properties


def test_the_end_says_what_was_written_and_what_comes_next(convert, releases, raw):
    releases.official(training=3)
    convert()
    assert f"Wrote {raw / DATASET}: 3 cases, 256x256 pixels" in convert.out
    assert convert.out.endswith(
        "Next:\n"
        "  nnunet-vmunet register    (once per environment)\n"
        "  nnUNetv2_plan_and_preprocess -d 118 -c 2d --verify_dataset_integrity\n"
        "  nnUNetv2_train 118 2d 0 -tr nnUNetTrainerVMUNet\n"
    )


def test_an_older_split_among_the_preprocessed_files_is_told(convert, releases, raw):
    releases.archive(train=2, val=1)
    older = raw.parent / "preprocessed" / DATASET
    older.mkdir(parents=True)
    (older / "splits_final.json").write_text('[{"train": ["ISIC_0000002"], "val": ["ISIC_0000000"]}]')
    convert()
    assert f"Delete {older} first: its splits_final.json differs" in convert.out


def test_several_processes_write_the_same(convert, releases, raw, run):
    releases.official(training=4, test=2)
    alone = convert().rename(raw / "alone")
    outcome = run("convert", "isic18", "-i", releases.root, "-d", 118, "-np", 2)
    assert outcome.code == 0
    written = [f for f in alone.rglob("*") if f.is_file()]
    assert len(written) == 14
    assert all(f.read_bytes() == (raw / DATASET / f.relative_to(alone)).read_bytes() for f in written)


def test_overwrite_replaces_the_dataset(convert, releases):
    releases.official(training=3)
    convert()
    for folder in releases.part("Training"):
        sorted(folder.iterdir())[-1].unlink()
    assert len(names(convert("--overwrite") / "imagesTr")) == 2


def test_overwrite_by_a_bad_release_keeps_the_dataset(convert, refuse, releases):
    releases.official(training=2)
    dataset = convert()
    sorted(releases.part("Training")[0].iterdir())[-1].write_bytes(b"")
    refuse("--overwrite")
    assert len(names(dataset / "imagesTr")) == 2


def first(folder: Path) -> Path:
    return sorted(folder.iterdir())[0]


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-200])


# What may be wrong with an otherwise good release of 3 cases: what spoils it, and what the one line must name.
SPOILED = {
    "no_training_images": (
        lambda images, masks: shutil.rmtree(images),
        ["lacks ISIC2018_Task1-2_Training_Input", "ISIC2018_Task1_Training_GroundTruth is there", "download it"],
    ),
    "no_training_masks": (lambda images, masks: shutil.rmtree(masks), ["lacks ISIC2018_Task1_Training_GroundTruth"]),
    "empty_images": (
        lambda images, masks: [file.unlink() for file in images.iterdir()],
        ["ISIC2018_Task1-2_Training_Input holds no images", "extract the release again"],
    ),
    "image_without_mask": (
        lambda images, masks: first(masks).unlink(),
        ["ISIC_0000000.jpg has no mask in", "ISIC2018_Task1_Training_GroundTruth"],
    ),
    "mask_without_image": (
        lambda images, masks: first(images).unlink(),
        ["ISIC_0000000_segmentation.png has no image in", "ISIC2018_Task1-2_Training_Input"],
    ),
    "unequal_sizes": (
        lambda images, masks: Pictures((50, 45)).mask(0).save(first(masks)),
        ["ISIC_0000000_segmentation.png is 50x45 pixels", "ISIC_0000000.jpg 60x45"],
    ),
    "mask_not_binary": (
        lambda images, masks: Pictures().photograph(0).convert("L").save(first(masks)),
        ["ISIC_0000000_segmentation.png is no binary mask", "other values", "JPEG compression", "download"],
    ),
    "image_truncated": (
        lambda images, masks: truncate(first(images)),
        ["ISIC_0000000.jpg cannot be read as an image", "download it again"],
    ),
    "mask_truncated": (
        lambda images, masks: truncate(first(masks)),
        ["ISIC_0000000_segmentation.png cannot be read as an image"],
    ),
    "image_empty_file": (
        lambda images, masks: first(images).write_bytes(b""),
        ["ISIC_0000000.jpg cannot be read as an image"],
    ),
    "image_is_a_web_page": (
        lambda images, masks: first(images).write_text("<html>404</html>"),
        ["ISIC_0000000.jpg cannot be read as an image"],
    ),
    "image_twice": (
        lambda images, masks: Pictures().photograph(0).save(images / "ISIC_0000000.png"),
        ["ISIC_0000000.jpg", "ISIC_0000000.png", "are the same case"],
    ),
    "only_one_case": (
        lambda images, masks: [f.unlink() for folder in (images, masks) for f in sorted(folder.iterdir())[1:]],
        ["ISIC_0000000 alone cannot be split"],
    ),
}


@pytest.mark.parametrize("spoil", SPOILED)
def test_bad_releases_are_refused(refuse, releases, spoil):
    releases.official(training=3)
    change, expected = SPOILED[spoil]
    change(*releases.part("Training"))
    message = refuse()
    for words in expected:
        assert words in message


def test_validation_images_without_masks_are_refused(refuse, releases):
    releases.official(training=2, validation=1)
    shutil.rmtree(releases.part("Validation")[1])
    assert "lacks ISIC2018_Task1_Validation_GroundTruth" in refuse()


def test_test_masks_without_images_are_refused(refuse, releases):
    releases.official(training=2, test=1)
    shutil.rmtree(releases.part("Test")[0])
    assert "lacks ISIC2018_Task1-2_Test_Input" in refuse()


def test_the_same_case_in_training_and_test_is_refused(refuse, releases):
    releases.official(training=3, test=1)
    for folder, ending in zip(releases.part("Test"), (".jpg", "_segmentation.png"), strict=True):
        first(folder).rename(folder / f"ISIC_0000001{ending}")
    assert "are the same case" in refuse()


def test_the_archives_train_and_val_sharing_a_case_is_refused(refuse, releases):
    releases.archive(train=2, val=1)
    for folder in (releases.root / "val" / "images", releases.root / "val" / "masks"):
        (folder / "ISIC_0000002.png").rename(folder / "ISIC_0000001.png")
    message = refuse()
    assert "train/images/ISIC_0000001.png and " in message
    assert "val/images/ISIC_0000001.png are the same case" in message


@pytest.mark.parametrize("part", ["train/images", "train/masks", "val/images", "val/masks"])
def test_an_archive_that_lacks_a_folder_is_refused(refuse, releases, part):
    releases.archive()
    shutil.rmtree(releases.root / part)
    assert f"lacks {part}" in refuse()


@pytest.mark.parametrize(("source", "year", "other"), [("isic18", 2017, "isic17"), ("isic17", 2018, "isic18")])
def test_the_other_years_release_is_refused(refuse, releases, source, year, other):
    releases.official(year, training=2)
    message = refuse(source=source)
    assert f"holds ISIC {year}'s release" in message
    assert f"nnunet-vmunet convert {other}" in message


def test_an_archive_named_after_the_other_year_is_refused(refuse, releases):
    releases.archive()
    (releases.root / "isic17").mkdir()
    for part in ("train", "val"):
        (releases.root / part).rename(releases.root / "isic17" / part)
    assert "isic17 is named after ISIC 2017: use `nnunet-vmunet convert isic17`" in refuse()


def test_both_forms_of_release_in_one_folder_are_refused(refuse, releases):
    releases.official(training=2)
    releases.archive()
    assert "give one of them as -i" in refuse()


def test_two_copies_of_a_folder_are_refused(refuse, releases):
    releases.official(training=2)
    for copy in ("a", "b"):
        shutil.copytree(releases.part("Training")[0], releases.root / copy / "ISIC2018_Task1-2_Training_Input")
    assert "are the same part of the release" in refuse()


def test_a_folder_that_is_not_there_is_refused(refuse, releases):
    releases.root.rmdir()
    assert f"{releases.root} is no folder" in refuse()


def test_an_empty_folder_is_refused(refuse, releases):
    message = refuse()
    assert "ISIC2018_Task1-2_Training_Input and ISIC2018_Task1_Training_GroundTruth" in message
    assert "give their parent folder as -i" in message


def test_an_existing_dataset_is_refused_without_overwrite(convert, refuse, releases):
    releases.official(training=2)
    convert()
    assert f"{DATASET} is not empty: give --overwrite" in refuse()


def test_an_id_under_another_name_is_refused(refuse, releases, raw):
    releases.official(training=2)
    (raw / "Dataset118_Other").mkdir()
    assert "-d 118 is taken by" in refuse()


@pytest.mark.parametrize("options", [["-np", 0], ["--size", 0], ["--size", "large"], ["--split", "cv"]], ids=str)
def test_bad_options_are_refused(refuse, releases, options):
    releases.official(training=2)
    assert " ".join(map(str, options)) in refuse(*options)


def test_unset_variables_are_refused(refuse, releases, monkeypatch):
    releases.official(training=2)
    monkeypatch.delenv("nnUNet_raw")
    assert "nnUNet_raw is not set" in refuse()


def test_a_bad_file_met_by_several_processes_leaves_nothing(releases, raw, refused):
    releases.official(training=12)
    truncate(releases.part("Training")[0] / "ISIC_0000007.jpg")
    message = refused("convert", "isic18", "-i", releases.root, "-d", 118, "-np", 2)
    assert "ISIC_0000007.jpg cannot be read" in message
    assert names(raw) == []


@pytest.fixture
def under_way(releases, raw):
    """A process that has written some of its 60 cases, with two workers."""
    releases.official(training=60, pictures=Pictures((900, 700)))
    process = conversion_under_way(raw, "isic18", "-i", releases.root, "-d", 118, "-np", 2, "--size", "native")
    yield process
    process.stderr.close()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="counts processes in /proc")
def test_a_killed_conversion_leaves_no_dataset_and_no_processes(under_way, convert, raw):
    under_way.kill()
    under_way.wait()
    assert all(name.startswith(".partial-") for name in names(raw))
    wait_until_all_ended(under_way.pid)
    # The next conversion takes the leftovers away.
    convert("--size", "8")
    assert names(raw) == [DATASET]


def test_ctrl_c_leaves_nothing(under_way, raw):
    os.killpg(under_way.pid, signal.SIGINT)
    under_way.wait(timeout=30)
    assert names(raw) == []
    assert b"Process SpawnProcess" not in under_way.stderr.read()
