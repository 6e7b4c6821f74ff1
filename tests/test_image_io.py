"""The readers of photographs, alone and through nnU-Net's own preprocessing and export."""

import itertools
import json
import multiprocessing
import os
import random
import time

import numpy as np
import pytest
import torch
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from PIL import Image
from skimage import io
from squares import write_squares

from nnunet_vmunet.dataset_json import READERS
from nnunet_vmunet.errors import InputError
from nnunet_vmunet.image_io import WholeGreyImage2DIO, WholeImage2DIO, WholeRGBAImage2DIO

DATASET_JSON = {"labels": {"background": 0, "lesion": 1}, "channel_names": {"0": "R", "1": "G", "2": "B"}}

SIZES = [(450, 600), (301, 217), (64, 64), (1000, 37), (256, 256), (37, 3000)]


def plans(side: int = 256) -> PlansManager:
    """What nnU-Net's planner writes for photographs of one size, as far as preprocessing and export read it."""
    resampling = {"order_z": 0, "force_separate_z": None}
    configuration = {
        "architecture": {},
        "spacing": [256 / side, 256 / side],
        "normalization_schemes": ["ZScoreNormalization"] * 3,
        "use_mask_for_norm": [False] * 3,
        "preprocessor_name": "DefaultPreprocessor",
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, **resampling},
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, **resampling},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, **resampling},
    }
    return PlansManager(
        {
            "configurations": {"2d": configuration},
            "transpose_forward": [0, 1, 2],
            "transpose_backward": [0, 1, 2],
            "label_manager": "LabelManager",
            "foreground_intensity_properties_per_channel": {str(channel): {} for channel in range(3)},
        }
    )


def preprocess(image: np.ndarray, seg: np.ndarray | None, properties: dict, side: int = 256):
    manager = plans(side)
    run = DefaultPreprocessor(verbose=False).run_case_npy
    return run(image, seg, properties, manager, manager.get_configuration("2d"), DATASET_JSON)


def export(logits: np.ndarray, properties: dict, side: int = 256) -> np.ndarray:
    manager = plans(side)
    labels = manager.get_label_manager(DATASET_JSON)
    return convert_predicted_logits_to_segmentation_with_correct_shape(
        torch.from_numpy(logits), manager, manager.get_configuration("2d"), labels, properties, num_threads_torch=1
    )


def photograph(folder, shape, border: int = 0):
    pixels = np.random.default_rng(0).integers(1, 256, (*shape, 3), dtype=np.uint8)
    if border:
        pixels[:border] = pixels[-border:] = 0
        pixels[:, :border] = pixels[:, -border:] = 0
    Image.fromarray(pixels).save(folder / "photo_0000.png")
    return [str(folder / "photo_0000.png")]


@pytest.mark.parametrize("border", [0, 9], ids=["plain", "black_border"])
@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_a_photograph_of_any_size_comes_to_256_and_its_mask_back(tmp_path, shape, border):
    reader = WholeImage2DIO()
    image, properties = reader.read_images(photograph(tmp_path, shape, border))
    height, width = shape
    lesion = np.zeros((1, 1, height, width), np.float32)
    lesion[..., height // 4 : height // 2, width // 4 : width // 2] = 1

    data, seg, properties = preprocess(image, lesion, properties)
    assert data.shape == (3, 1, 256, 256)
    assert seg.shape == (1, 1, 256, 256)
    assert set(np.unique(seg)) == {0, 1}
    assert seg.mean() == pytest.approx(lesion.mean(), abs=0.02)

    mask = export(np.concatenate([0.5 - seg, seg - 0.5]).astype(np.float32), properties)
    assert mask.shape == (1, height, width)
    # At most the pixels along the lesion's outline differ after the way there and back.
    assert abs(mask - lesion[0]).mean() < 0.03

    reader.write_seg(mask, str(tmp_path / "mask.png"), properties)
    written = np.asarray(Image.open(tmp_path / "mask.png"))
    assert written.dtype == np.uint8
    np.testing.assert_array_equal(written, mask[0])


@pytest.mark.parametrize("side", [64, 96, 224, 512])
def test_other_training_sizes(tmp_path, side):
    image, properties = WholeImage2DIO().read_images(photograph(tmp_path, (301, 217)))
    data, _, properties = preprocess(image, None, properties, side)
    assert data.shape == (3, 1, side, side)
    assert export(np.zeros((2, 1, side, side), np.float32), properties, side).shape == (1, 301, 217)


def test_a_black_photograph_is_no_trouble(tmp_path):
    Image.new("RGB", (50, 40)).save(tmp_path / "black.png")
    image, properties = WholeImage2DIO().read_images([str(tmp_path / "black.png")])
    assert preprocess(image, None, properties)[0].shape == (3, 1, 256, 256)


@pytest.mark.parametrize("side", [1, 32, 96, 224, 256, 257, 512])
def test_no_height_or_width_is_rounded_to_a_neighbour(side):
    for pixels in range(1, 8001):
        assert compute_new_shape((1, pixels, pixels), (999, *[256 / pixels] * 2), (999, *[256 / side] * 2))[1] == side


@pytest.mark.parametrize(
    ("mode", "expected"), [("RGB", (10, 20, 30)), ("RGBA", (10, 20, 30)), ("L", (18, 18, 18)), ("LA", (18, 18, 18))]
)
def test_every_photograph_comes_with_three_channels(tmp_path, mode, expected):
    Image.new("RGB", (5, 8), (10, 20, 30)).convert(mode).save(tmp_path / "photo.png")
    image, properties = WholeImage2DIO().read_images([str(tmp_path / "photo.png")])
    assert (image.shape, image.dtype) == ((3, 1, 8, 5), np.float32)
    assert tuple(image[:, 0, 2, 2]) == expected
    assert properties == {"spacing": (999, 32, 256 / 5)}


def test_a_label_map_keeps_its_one_channel_and_its_zeros(tmp_path):
    labels = np.array([[0, 1, 2], [2, 0, 0]], np.uint8)
    Image.fromarray(labels).save(tmp_path / "label.png")
    seg, properties = WholeImage2DIO().read_seg(str(tmp_path / "label.png"))
    np.testing.assert_array_equal(seg, labels[None, None])
    assert properties["spacing"] == (999, 128, 256 / 3)


def test_a_coloured_label_map_is_refused(tmp_path):
    Image.new("RGB", (3, 2)).save(tmp_path / "label.png")
    with pytest.raises(InputError, match=r"label\.png has shape \(2, 3, 3\): a label map is a grey image"):
        WholeImage2DIO().read_seg(str(tmp_path / "label.png"))


def test_files_of_one_case_with_unequal_sizes_are_refused(tmp_path):
    files = [str(tmp_path / f"photo_000{i}.png") for i in range(2)]
    for file, size in zip(files, ((5, 4), (6, 4)), strict=True):
        Image.new("RGB", size).save(file)
    with pytest.raises(InputError, match=r"photo_0000\.png is 5x4 pixels, .*photo_0001\.png 6x4: make them equal"):
        WholeImage2DIO().read_images(files)


READER_CLASSES = {1: WholeGreyImage2DIO, 3: WholeImage2DIO, 4: WholeRGBAImage2DIO}
COLOUR, GREY = (10, 20, 30), 18


def test_readers_are_named_by_their_channels():
    assert {channels: cls.__name__ for channels, cls in READER_CLASSES.items()} == READERS
    assert all(cls.channels == channels for channels, cls in READER_CLASSES.items())


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_grey_comes_as_one_channel_however_it_is_stored(tmp_path, mode):
    Image.new("L", (5, 8), GREY).convert(mode).save(tmp_path / "scan.png")
    image, properties = WholeGreyImage2DIO().read_images([str(tmp_path / "scan.png")])
    assert (image.shape, image.dtype) == ((1, 1, 8, 5), np.float32)
    assert np.all(image == GREY)
    assert properties == {"spacing": (999, 32, 256 / 5)}


def test_colours_are_no_grey(tmp_path):
    Image.new("RGB", (5, 8), COLOUR).save(tmp_path / "photo.png")
    with pytest.raises(InputError, match=r"photo\.png is in colour .* nnunet-vmunet convert images -d ID"):
        WholeGreyImage2DIO().read_images([str(tmp_path / "photo.png")])


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("RGBA", (*COLOUR, 77)), ("RGB", (*COLOUR, 255)), ("LA", (GREY, GREY, GREY, 77)), ("L", (GREY, GREY, GREY, 255))],
)
def test_alpha_comes_as_a_fourth_channel_and_is_opaque_where_there_is_none(tmp_path, mode, expected):
    colours = Image.new("RGB", (5, 8), COLOUR) if mode.startswith("RGB") else Image.new("L", (5, 8), GREY)
    image = colours.convert(mode)
    if mode.endswith("A"):
        image.putalpha(77)
    image.save(tmp_path / "cells.png")
    read, _ = WholeRGBAImage2DIO().read_images([str(tmp_path / "cells.png")])
    assert read.shape == (4, 1, 8, 5)
    assert tuple(read[:, 0, 2, 2]) == expected


@pytest.mark.parametrize("channels", READER_CLASSES)
def test_16_bits_stay_16_bits(tmp_path, channels):
    pixels = np.random.default_rng(0).integers(1, 2**16, (8, 5, *([channels] if channels > 1 else [])), dtype=np.uint16)
    io.imsave(tmp_path / "deep.tif", pixels, check_contrast=False)
    image, _ = READER_CLASSES[channels]().read_images([str(tmp_path / "deep.tif")])
    np.testing.assert_array_equal(image[:, 0].transpose(1, 2, 0).squeeze(), pixels)


def test_16_bit_grey_png_keeps_its_depth_in_three_channels_too(tmp_path):
    pixels = np.arange(1000, 1040, dtype=np.uint16).reshape(8, 5)
    Image.fromarray(pixels).save(tmp_path / "xray.png")
    for cls, channels in ((WholeGreyImage2DIO, 1), (WholeImage2DIO, 3)):
        image, _ = cls().read_images([str(tmp_path / "xray.png")])
        np.testing.assert_array_equal(image[:, 0], np.stack([pixels] * channels))


def test_real_heart_slices_keep_16_bits(shared):
    file = next((shared / "data" / "acdc" / "images").glob("*.png"))
    image, _ = WholeGreyImage2DIO().read_images([str(file)])
    assert image.shape[:2] == (1, 1)
    assert len(np.unique(image)) > 256


def test_real_cells_have_four_channels(shared):
    file = next((shared / "data" / "dsb2018" / "images").glob("*.png"))
    image, _ = WholeRGBAImage2DIO().read_images([str(file)])
    assert image.shape[:2] == (4, 1)
    np.testing.assert_array_equal(image[:, 0], np.maximum(np.asarray(Image.open(file)), 1).transpose(2, 0, 1))


@pytest.fixture
def raw(tmp_path):
    """A raw dataset of one 8×5 image, of as many files as asked for, whose dataset.json names these channels."""

    def make(channels: int, files: int = 1) -> list[str]:
        (tmp_path / "imagesTr").mkdir()
        description = {"channel_names": {str(c): f"c{c}" for c in range(channels)}, "labels": {"background": 0, "a": 1}}
        (tmp_path / "dataset.json").write_text(json.dumps(description))
        images = [str(tmp_path / "imagesTr" / f"case_{i:04d}.png") for i in range(files)]
        for image in images:
            Image.new("L", (5, 8), GREY).save(image)
        return images

    return make


@pytest.mark.parametrize(("named", "cls"), READER_CLASSES.items())
def test_a_raw_dataset_is_read_by_the_reader_of_its_channels(raw, named, cls):
    assert cls().read_images(raw(named))[0].shape[0] == named


@pytest.mark.parametrize(("named", "asked"), [(1, 3), (3, 1), (4, 3), (3, 4)])
def test_a_raw_dataset_of_other_channels_names_the_reader_to_write(raw, tmp_path, named, asked):
    with pytest.raises(InputError) as refused:
        READER_CLASSES[asked]().read_images(raw(named))
    assert f"{tmp_path / 'dataset.json'} names {named} channel" in str(refused.value)
    assert f"its reader {READERS[asked]} gives {asked}: " in str(refused.value)
    assert f'write "overwrite_image_reader_writer": "{READERS[named]}" there' in str(refused.value)


def test_two_files_give_twice_the_channels(raw):
    assert WholeGreyImage2DIO().read_images(raw(2, files=2))[0].shape[0] == 2


def test_two_channels_in_one_file_have_no_reader(raw):
    with pytest.raises(InputError, match=r"names 2 channels and its reader WholeImage2DIO gives 3: name as many there"):
        WholeImage2DIO().read_images(raw(2))


@pytest.mark.parametrize("ending", [".jpg", ".JPEG"])
def test_masks_are_no_jpeg(tmp_path, ending):
    file = tmp_path / f"case{ending}"
    Image.new("L", (5, 8)).save(file)
    before = file.read_bytes()
    reader = WholeImage2DIO()
    with pytest.raises(InputError, match="would be a JPEG file, which changes the labels"):
        reader.read_seg(str(file))
    with pytest.raises(InputError, match="would be a JPEG file, which changes the labels"):
        reader.write_seg(np.ones((1, 8, 5)), str(file), {})
    assert file.read_bytes() == before


def test_only_lossless_files_are_read():
    assert ".png" in WholeImage2DIO.supported_file_endings
    assert ".jpg" not in WholeImage2DIO.supported_file_endings


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_mask_is_complete_or_not_there_whenever_its_writing_is_killed(tmp_path):
    file = tmp_path / "Läsion 1.png"
    masks = np.random.default_rng(0).integers(0, 250, (2, 1, 500, 500))
    WholeImage2DIO().write_seg(masks[0], str(file), {})

    def write_for_ever(order):
        for mask in itertools.cycle(order):
            WholeImage2DIO().write_seg(mask, str(file), {})

    moments = random.Random(0)
    interrupted, seen = 0, set()
    for kill in range(25):
        earlier, deadline = file.stat().st_mtime_ns, time.monotonic() + 30
        process = multiprocessing.get_context("fork").Process(
            target=write_for_ever, args=(masks[:: 1 if kill % 2 else -1],)
        )
        process.start()
        while file.stat().st_mtime_ns == earlier and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.05))
        process.kill()
        process.join()
        written = np.asarray(Image.open(file))
        equal = [i for i, mask in enumerate(masks) if np.array_equal(written, mask[0])]
        assert len(equal) == 1
        seen.update(equal)
        assert [found.name for found in tmp_path.glob("*.png")] == [file.name]  # none that tools would take for a mask
        interrupted += len(list(tmp_path.iterdir())) > 1
        os.remove(file)
        WholeImage2DIO().write_seg(masks[0], str(file), {})
        assert list(tmp_path.iterdir()) == [file]  # and what a kill left is gone when the case is predicted again
    assert interrupted  # some of the kills did hit the writing
    assert seen == {0, 1}


def test_nnunets_planning_ends_in_the_line_and_with_code_2(nnunet):
    write_squares(
        nnunet.raw / "Dataset908_Grey",
        cases=2,
        channel_names={"0": "grey"},
        overwrite_image_reader_writer="WholeImage2DIO",
    )
    log = nnunet.folder / "log.txt"
    planning = nnunet.start("nnUNetv2_plan_and_preprocess", "-d", "908", "-c", "2d", "-npfp", "1", log=log)
    assert planning.wait() == 2
    *before, last = log.read_text().splitlines()
    assert last.startswith("nnunet-vmunet: error: ")
    assert 'write "overwrite_image_reader_writer": "WholeGreyImage2DIO" there' in last
    assert "Traceback" not in "".join(before)
