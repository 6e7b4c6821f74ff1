"""What masks mean: every common way to draw labels, decided over a whole dataset, and what may mean several things."""

import numpy as np
import pytest
from PIL import Image

from nnunet_vmunet.dataset_conversion.mask_coding import MaskOptions, decide_coding
from nnunet_vmunet.dataset_conversion.masks import survey_mask
from nnunet_vmunet.errors import InputError

# The truth that most of these masks are drawn from: background, two labels, and what is to be ignored.
TRUTH = np.array([[0, 1, 1, 0], [0, 2, 2, 0], [0, 0, 3, 3]], np.uint8)
LESION = (TRUTH == 1).astype(np.uint8)
RED, GREEN, GREY = (255, 0, 0), (0, 255, 0), (128, 128, 128)


def drawn(truth: np.ndarray, *values) -> Image.Image:
    """Grey values, or colours, in place of 0, 1, 2, ..."""
    return Image.fromarray(np.array(values, np.uint8 if np.max(values) < 256 else np.uint16)[truth])


def palette(truth: np.ndarray, *colours) -> Image.Image:
    image = Image.fromarray(truth).convert("P")
    image.putpalette([channel for colour in colours for channel in colour])
    return image


def one_bit(truth: np.ndarray) -> Image.Image:
    return Image.fromarray(truth.astype(bool))


@pytest.fixture
def decide(tmp_path):
    """Save the masks, decide what they mean and read them; the labels, their names and the line come back."""

    def decide(*masks: Image.Image, ending="png", **options):
        files = [tmp_path / f"mask{number}.{ending}" for number, _ in enumerate(masks)]
        for mask, file in zip(masks, files, strict=True):
            mask.save(file)
        coding, line = decide_coding([survey_mask(file) for file in files], MaskOptions(**options))
        return [coding.read(file) for file in files], coding.names, line

    return decide


BINARY = {
    "0_1": drawn(LESION, 0, 1),
    "0_255": drawn(LESION, 0, 255),
    "16_bit": drawn(LESION, 0, 65535),
    "1_bit": one_bit(LESION),
    "rgb": drawn(LESION, 0, 255).convert("RGB"),
    "rgba": drawn(LESION, 0, 255).convert("RGBA"),
    "grey_alpha": drawn(LESION, 0, 255).convert("LA"),
    "palette": palette(LESION, (0, 0, 0), (255, 255, 255)),
    "inverted_palette": palette(1 - LESION, (255, 255, 255), (0, 0, 0)),
}


@pytest.mark.parametrize("mask", BINARY.values(), ids=BINARY)
def test_black_and_white_in_every_form(decide, mask):
    (labels,), names, _ = decide(mask)
    np.testing.assert_array_equal(labels, LESION)
    assert names == {"background": 0, "label 1": 1}


def test_one_mask_may_be_black_all_over(decide):
    labels, _, _ = decide(drawn(LESION, 0, 255), drawn(0 * LESION, 0, 255), drawn(LESION, 0, 255))
    assert [found.any() for found in labels] == [True, False, True]


@pytest.mark.parametrize("white", [1, 255])
def test_1_bit_masks_beside_others(decide, white):
    """As in PH2, where one mask of twelve is RGB; and beside 0 and 1, of which 1-bit masks are read as 0 and 255."""
    labels, _, _ = decide(one_bit(LESION), drawn(1 - LESION, 0, white).convert("RGB"))
    np.testing.assert_array_equal(labels, [LESION, 1 - LESION])


def test_the_foreground_may_have_a_name(decide):
    for mask in (drawn(LESION, 0, 255), drawn(LESION, 0, 1)):
        (labels,), names, line = decide(mask, labels="polyp=1")
        np.testing.assert_array_equal(labels, LESION)
        assert names == {"background": 0, "polyp": 1}
        assert "is polyp (label 1)" in line


def test_grey_label_maps(decide):
    labels, names, _ = decide(drawn(TRUTH, 0, 1, 2, 3), drawn(0 * TRUTH, 0))
    np.testing.assert_array_equal(labels, [TRUTH, 0 * TRUTH])
    assert names == {"background": 0, "label 1": 1, "label 2": 2, "label 3": 3}
    assert decide(drawn(TRUTH, 0, 1, 2, 3), labels="a=1,b=2,c=3")[1] == {"background": 0, "a": 1, "b": 2, "c": 3}
    assert decide(drawn(TRUTH, 0, 1, 2, 3), labels="3")[1] == names


def test_named_values_with_gaps_are_renumbered_and_said(decide):
    (labels,), names, line = decide(drawn(TRUTH, 0, 50, 100, 255), labels="cup=255,rim=100,disc=50")
    np.testing.assert_array_equal(labels, TRUTH)
    assert names == {"background": 0, "disc": 1, "rim": 2, "cup": 3}
    assert line == "Masks: 0 is background, 50 is disc (label 1), 100 is rim (label 2), 255 is cup (label 3)"


def test_the_background_may_be_white(decide):
    """As in sets of optic discs and cups: 255 around, 128 the disc, 0 the cup."""
    truth = np.minimum(TRUTH, 2)
    (labels,), names, _ = decide(drawn(truth, 255, 128, 0), labels="background=255,disc=128,cup=0")
    np.testing.assert_array_equal(labels, np.array([0, 2, 1])[truth])  # numbered by their values
    assert names == {"background": 0, "cup": 1, "disc": 2}


@pytest.mark.parametrize("form", ["RGB", "RGBA", "P"])
def test_colours(decide, form):
    mask = drawn(TRUTH, (0, 0, 0), RED, GREEN, GREY)
    mask = mask.convert(form, palette=Image.Palette.ADAPTIVE) if form == "P" else mask.convert(form)
    (labels,), names, line = decide(mask, colours="tool=#00ff00,polyp=#FF0000", ignore="#808080")
    np.testing.assert_array_equal(labels, np.array([0, 2, 1, 3])[TRUTH])
    assert names == {"background": 0, "tool": 1, "polyp": 2, "ignore": 3}
    assert "#00ff00 is tool (label 1)" in line


def test_colours_where_the_background_has_one_too_and_a_mask_has_none(decide):
    labels, _, _ = decide(
        drawn(LESION, (255, 255, 255), RED), drawn(0 * LESION, 255), colours="background=#ffffff,polyp=#ff0000"
    )
    np.testing.assert_array_equal(labels, [LESION, 0 * LESION])


def test_palettes_whose_indices_are_the_labels(decide):
    """As in Pascal VOC, which draws what is to be ignored with index 255."""
    colours = [(0, 0, 0), RED, GREEN, *[(1, 2, 3)] * 252, GREY]
    masks = [palette(np.array([0, 1, 2, 255], np.uint8)[TRUTH], *colours), palette(np.minimum(TRUTH, 1), *colours)]
    labels, names, line = decide(*masks, ignore="255")
    np.testing.assert_array_equal(labels, [TRUTH, np.minimum(TRUTH, 1)])
    assert names == {"background": 0, "label 1": 1, "label 2": 2, "ignore": 3}
    assert line.startswith("Masks: palettes, whose indices are the labels")


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_grey_masks_by_a_threshold(decide, ending):
    disc = (np.add.outer(np.arange(-20, 20) ** 2, np.arange(-20, 20) ** 2) < 200).astype(np.uint8)
    soft = drawn(disc, 0, 255).resize((60, 60), Image.Resampling.BILINEAR)
    (labels,), names, line = decide(soft, ending=ending, threshold=128, labels="lesion=1")
    difference = labels != (np.asarray(soft) >= 128)
    assert difference.mean() <= (0 if ending == "png" else 0.005)
    assert names == {"background": 0, "lesion": 1}
    assert "128 and above is lesion" in line
    assert "were grey" in line


def test_a_jpeg_of_black_and_white_in_three_channels_has_no_colours(decide):
    """As masks often come that somebody saved as JPEG."""
    disc = (np.add.outer(np.arange(-20, 20) ** 2, np.arange(-20, 20) ** 2) < 200).astype(np.uint8)
    (labels,), _, line = decide(drawn(disc, 0, 255).convert("RGB"), ending="jpg", threshold=128)
    assert (labels != disc).mean() <= 0.005
    assert "were grey" in line


def test_a_jpeg_with_a_slight_tint_is_grey(decide):
    disc = (np.add.outer(np.arange(-20, 20) ** 2, np.arange(-20, 20) ** 2) < 200).astype(np.uint8)
    (labels,), _, _ = decide(drawn(disc, (4, 0, 2), (250, 255, 248)), ending="jpg", threshold=128)
    assert (labels != disc).mean() <= 0.005


def test_many_labels_are_taken_where_it_is_said_how_many(decide):
    many = np.arange(118, dtype=np.uint8).reshape(2, 59)
    with pytest.raises(InputError, match=r"--threshold 128 .*, or --labels 117 if these are 117 labels"):
        decide(Image.fromarray(many))
    (labels,), names, _ = decide(Image.fromarray(many), labels="117")
    np.testing.assert_array_equal(labels, many)
    assert names["label 117"] == 117


def test_a_threshold_with_pixels_to_ignore(decide):
    (labels,), names, _ = decide(drawn(TRUTH, 10, 200, 250, 100), threshold=150, ignore="100")
    np.testing.assert_array_equal(labels, np.array([0, 1, 1, 2])[TRUTH])
    assert names == {"background": 0, "label 1": 1, "ignore": 2}


def test_threshold_1_takes_1_and_255_for_the_same(decide):
    labels, _, _ = decide(drawn(LESION, 0, 1), drawn(LESION, 0, 255), one_bit(LESION), threshold=1)
    np.testing.assert_array_equal(labels, [LESION] * 3)


@pytest.mark.parametrize(
    ("values", "ignored", "number"),
    [((0, 1, 2, 255), "255", 3), ((0, 255, 255, 128), "128", 2), ((0, 1, 2, 7), "7", 3)],
    ids=str,
)
def test_the_ignore_label_is_the_one_above_all(decide, values, ignored, number):
    (labels,), names, _ = decide(drawn(TRUTH, *values), ignore=ignored)
    assert names["ignore"] == number == max(names.values())
    np.testing.assert_array_equal(labels == number, TRUTH == 3)


def test_at_another_size_the_label_with_most_of_the_area_wins(tmp_path):
    file = tmp_path / "mask.png"
    drawn(np.array([[0, 0, 1, 2], [0, 1, 1, 2]], np.uint8), 0, 1, 2).save(file)
    coding, _ = decide_coding([survey_mask(file)], MaskOptions())
    np.testing.assert_array_equal(coding.read(file, 1), [[1]])  # 3 of 8 pixels, as 0 has: of equal ones the highest
    np.testing.assert_array_equal(coding.read(file, 2), [[0, 2], [1, 2]])


LABELS = drawn(TRUTH, 0, 1, 2, 3)
COLOURS = drawn(TRUTH, (0, 0, 0), RED, GREEN, GREY)

REFUSED = {
    "1_beside_255": (
        [drawn(LESION, 0, 1), drawn(LESION, 0, 255)],
        {},
        r"mask0.png holds the value 1 and \S*mask1.png 255: give --threshold 1 .* or --ignore 255",
    ),
    "gap": ([drawn(TRUTH, 0, 1, 3, 0)], {}, r"0 \(8 pixels\), 1 \(2\), 3 \(2\): give --labels 'NAME=1,NAME=3'"),
    "one_value_2": ([drawn(LESION, 0, 2)], {}, "give --labels 'NAME=2'"),
    "no_background": ([drawn(np.minimum(TRUTH, 2), 3, 1, 2)], {}, "and background=VALUE if that is not 0"),
    "void_255": ([drawn(TRUTH, 0, 1, 2, 255)], {}, "--ignore 255 if 255 is to be left out"),
    "few_greys": ([drawn(TRUTH, 0, 255, 250, 3)], {}, "33.33% grey pixels|--threshold 128 if .* 33.33% grey pixels"),
    "unknown_value": ([LABELS], {"labels": "a=1,b=2"}, r"mask0.png also holds 3 \(2 pixels\): name all"),
    "all_black": ([drawn(0 * TRUTH, 0)] * 2, {}, "mask0.png and all other masks hold background alone"),
    "all_white": ([drawn(0 * TRUTH, 255)] * 2, {}, "hold the same value in every pixel, 255"),
    "colours": ([COLOURS], {}, r"is a mask with colours, #000000 \(6 pixels\), #00ff00 \(2\), .*--colours 'polyp"),
    "unknown_colour": (
        [COLOURS],
        {"colours": "polyp=#ff0000,tool=#00ff00"},
        r"also holds #808080 \(2 pixels\): name all of it with --colours",
    ),
    "photograph": (
        [Image.effect_noise((64, 64), 99).convert("RGB"), drawn(LESION, 0, 255)],
        {},
        r"mask0.png is not black and white: \d\d\.\d\d% of all masks' pixels are grey.*give --threshold 128",
    ),
    "threshold_of_colours": ([COLOURS], {"threshold": 128}, "has|give --colours instead of --threshold"),
    "threshold_above_all": ([drawn(LESION, 0, 90)], {"threshold": 128}, r"no pixel is at or above it.* 90 \(2\)"),
    "threshold_below_all": ([drawn(LESION, 50, 90)], {"threshold": 2}, "no pixel is below it"),
    "threshold_beside_0_1": (
        [drawn(LESION, 0, 1), drawn(LESION, 3, 254)],
        {"threshold": 128},
        "mask0.png holds 0 and 1",
    ),
    "threshold_0": ([drawn(LESION, 0, 9)], {"threshold": 0}, "--threshold 0: give a grey value from 1"),
    "threshold_two_labels": ([drawn(LESION, 0, 9)], {"threshold": 1, "labels": "a=1,b=2"}, "makes one label"),
    "ignore_absent": ([LABELS], {"ignore": "200"}, "--ignore 200: no mask holds that"),
    "ignore_colour_of_greys": ([LABELS], {"ignore": "#ff0000"}, "#ff0000: these masks have no colours"),
    "palettes_differ": (
        [palette(LESION, (0, 0, 0), RED), palette(LESION, (0, 0, 0), GREEN)],
        {},
        "mask1.png draws index 1 of its palette in #00ff00, .*mask0.png in #ff0000: .*--colours",
    ),
    "palette_without_black": (
        [palette(LESION, RED, GREEN)],
        {},
        "draws index 0 of its palette in #ff0000, not in black",
    ),
    "palette_beside_colours": ([palette(LESION, (0, 0, 0), RED), COLOURS], {}, "is a mask with colours"),
    "fractions": ([Image.fromarray(LESION * np.float32(0.5))], {}, "no whole numbers"),
    "labels_and_colours": ([COLOURS], {"labels": "a=1", "colours": "a=#ff0000"}, "leave out --labels"),
    "no_equals": ([LABELS], {"labels": "polyp"}, "write NAME=VALUE"),
    "named_twice": ([LABELS], {"labels": "a=1,a=2"}, "a is there twice"),
    "value_twice": ([LABELS], {"labels": "a=1,b=1"}, "a and b have the same value"),
    "background_named": ([LABELS], {"labels": "a=0,b=1,c=2,d=3"}, "0 is the background, not a: say what the backgr"),
    "black_named": ([COLOURS], {"colours": "a=#000000,b=#ff0000"}, "#000000 is the background, not a"),
    "ignored_and_named": ([LABELS], {"labels": "3", "ignore": "3"}, "3 is both label 3 and --ignore"),
    "background_ignored": ([COLOURS], {"colours": "a=#ff0000", "ignore": "#000000"}, "is both background and --ignore"),
    "label_ignore": ([LABELS], {"labels": "ignore=3"}, "an option of its own, --ignore 3"),
    "no_number": ([LABELS], {"labels": "a=x"}, "x is no grey value"),
    "too_many": ([LABELS], {"labels": "255"}, "give 1 to 254 labels"),
    "no_colour": ([COLOURS], {"colours": "a=red"}, "red is no colour: write it as #ff0000"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_may_mean_several_things_is_refused(decide, name):
    masks, options, words = REFUSED[name]
    with pytest.raises(InputError, match=words):
        decide(*masks, ending="tif" if name == "fractions" else "png", **options)


def test_jpeg_masks_are_refused_with_the_share_of_grey(decide):
    disc = (np.add.outer(np.arange(-20, 20) ** 2, np.arange(-20, 20) ** 2) < 200).astype(np.uint8)
    with pytest.raises(InputError, match=r"mask0.jpg is not black and white: \d+\.\d\d% .* give --threshold 128"):
        decide(drawn(disc, 0, 255), ending="jpg")


def test_a_jpeg_of_colours_is_refused_with_the_most_frequent(decide):
    mask = COLOURS.resize((64, 64), Image.Resampling.BILINEAR)
    with pytest.raises(InputError, match=r"mask0.jpg is a mask with colours, #\w{6} \(\d+ pixels\).* others"):
        decide(mask, ending="jpg")
