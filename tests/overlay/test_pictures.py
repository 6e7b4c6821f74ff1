"""What is where in the picture of a case and on contact sheets."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from nnunet_vmunet.errors import InputError
from nnunet_vmunet.overlay.agreement import areas
from nnunet_vmunet.overlay.panels import MARGIN, PALETTE, PREDICTION, REFERENCE, fitted, label_colours, rendered
from nnunet_vmunet.overlay.pictures import (
    SHEET_COLUMNS,
    SHEET_ROWS,
    THUMBNAIL,
    TITLE,
    Thumbnail,
    case_picture,
    contact_sheets,
    worst_first,
)
from nnunet_vmunet.overlay.stacks import Stack

# Where the first panel begins in a picture without captions.
LEFT, TOP = MARGIN, 2 * MARGIN + TITLE

SHAPE = (400, 600)  # is drawn pixel by pixel


def off_border(places: np.ndarray, rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
    """(n,) pixels from each of (n, 2) places to the border of a rectangle in the panel."""
    (y, x), middle = places.T + 0.5 - [[TOP], [LEFT]], np.mean([rows, columns], axis=1)
    beyond = np.abs([y - middle[0], x - middle[1]]) - np.subtract([rows[1], columns[1]], middle)[:, None]
    outside = np.linalg.norm(np.maximum(beyond, 0), axis=0)
    return np.where((beyond > 0).any(axis=0), outside, -beyond.max(axis=0))


def in_panel(places: np.ndarray, shape=SHAPE) -> np.ndarray:
    """Those of (n, 2) places that are not in title or legend."""
    return places[((places >= (TOP, LEFT)) & (places < np.add(shape, (TOP, LEFT)))).all(axis=1)]


def test_the_image_itself_is_not_changed_by_drawing(study):
    pixels = np.random.default_rng(0).integers(0, 255, (*SHAPE, 3), np.uint8)
    study.photograph("a", np.zeros(SHAPE, np.uint8), image=pixels)
    study.draw(with_references=False)
    picture = study.picture("a")
    assert np.array_equal(picture[TOP : TOP + SHAPE[0], LEFT : LEFT + SHAPE[1]], pixels)
    assert (picture[TOP : TOP + SHAPE[0], :LEFT] == 255).all()


def test_contours_lie_on_the_borders_of_the_masks(study, rectangle, pixels_of):
    predicted, true = ((100, 201), (150, 301)), ((140, 261), (330, 451))
    study.photograph("a", rectangle(SHAPE, *predicted), rectangle(SHAPE, *true))
    study.draw()
    picture = study.picture("a")
    for colour, border, share in ((PREDICTION, predicted, 0.95), (REFERENCE, true, 0.4)):
        places = in_panel(pixels_of(picture, colour))
        assert off_border(places, *border).max() < 1.5
        length = 2 * sum(stop - start for start, stop in border)
        assert length * share < len(places) < length * 2


def test_the_reference_is_dashed_and_the_prediction_solid(study, rectangle, pixels_of):
    study.photograph("a", rectangle(SHAPE, (100, 200), (0, 600)), rectangle(SHAPE, (250, 350), (0, 600)))
    study.draw()
    for colour, row, longest_gap in ((PREDICTION, 100, 1), (REFERENCE, 250, 6)):
        places = in_panel(pixels_of(study.picture("a"), colour))
        columns = np.unique(places[np.abs(places[:, 0] - TOP - row) < 2, 1])
        assert columns.min() < LEFT + 10 and columns.max() > LEFT + 590
        assert np.diff(columns).max() - 1 == pytest.approx(longest_gap - 1, abs=2)
        assert (np.diff(columns) > 1).any() == (colour == REFERENCE)


def test_contours_are_thin(study, rectangle, pixels_of):
    """The skin beside the border stays to be seen."""
    study.photograph("a", rectangle(SHAPE, (100, 300), (150, 450)))
    study.draw(with_references=False)
    panel = study.picture("a")[TOP : TOP + 400, LEFT : LEFT + 600]
    touched = (np.abs(panel.astype(int) - 120) > 3).any(axis=-1)[20:-20, 20:-20]
    assert touched.sum() < 5 * 2 * (200 + 300)


def test_every_label_has_a_colour_wherever_it_is(study, rectangle, pixels_of):
    boxes = {1: ((50, 90), (50, 90)), 2: ((150, 200), (300, 400)), 3: ((300, 350), (450, 550))}
    study.dataset_json(labels={"background": 0, "left": 3, "right": 1, "middle": 2}, file_ending=".png")
    study.photograph("a", sum(label * rectangle(SHAPE, *box) for label, box in boxes.items()))
    study.photograph("b", 2 * rectangle(SHAPE, *boxes[2]))
    study.draw(with_references=False)
    for name in ("a", "b"):
        for colour, label in zip(PALETTE, (3, 1, 2), strict=False):
            places = in_panel(pixels_of(study.picture(name), colour))
            assert len(places) == 0 if name == "b" and label != 2 else off_border(places, *boxes[label]).max() < 1.5


def test_a_region_is_drawn_around_all_its_values(study, rectangle, pixels_of):
    labels = {"background": 0, "whole": [1, 2], "core": [2]}
    study.dataset_json(labels=labels, regions_class_order=[1, 2], file_ending=".png")
    study.photograph("a", rectangle(SHAPE, (100, 300), (100, 400)) + rectangle(SHAPE, (150, 200), (200, 300)))
    study.draw(with_references=False)
    for colour, box in zip(PALETTE, (((100, 300), (100, 400)), ((150, 200), (200, 300))), strict=False):
        assert off_border(in_panel(pixels_of(study.picture("a"), colour)), *box).max() < 1.5


def test_what_the_reference_ignores_is_hatched_and_is_no_border(study, rectangle, pixels_of):
    true = rectangle(SHAPE, (100, 300), (150, 450))
    true[:, 300:] = 2
    study.photograph("a", rectangle(SHAPE, (50, 60), (20, 30)))
    Image.fromarray(true).save(study.references / "a.png")
    study.dataset_json(labels={"background": 0, "lesion": 1, "ignore": 2}, file_ending=".png")
    study.draw()
    picture = study.picture("a")
    places = in_panel(pixels_of(picture, REFERENCE))
    assert off_border(places, (100, 300), (150, 450)).max() < 1.5
    places -= np.array([TOP, LEFT])
    assert 290 < places[:, 1].max() <= 300  # up to what is ignored, and not along it
    assert not ((np.abs(places[:, 1] - 300) < 3) & (places[:, 0] > 110) & (places[:, 0] < 290)).any()
    known, ignored = (picture[TOP + 320 : TOP + 390, LEFT + x : LEFT + x + 200] for x in (50, 350))
    assert (known == 120).all()
    assert 0.1 < (ignored > 120).mean() < 0.4


@pytest.mark.parametrize("side", [100, 256], ids=str)
def test_square_masks_stand_for_the_whole_photograph(study, rectangle, pixels_of, side):
    mask = rectangle((side, side), (side // 4, 3 * side // 4), (0, side // 2))
    study.photograph("a", mask, image=np.full((*SHAPE, 3), 120, np.uint8))
    study.draw(with_references=False)
    places = in_panel(pixels_of(study.picture("a"), PREDICTION))
    # Corners are cut by half a pixel of the mask.
    assert off_border(places, (100, 300), (0, 300)).max() < 1.5 + 0.5 * min(SHAPE) / side


def test_masks_of_another_shape_than_the_photograph_are_refused(study, rectangle):
    study.photograph("a", rectangle((600, 400), (0, 9), (0, 9)), image=np.full((*SHAPE, 3), 120, np.uint8))
    with pytest.raises(InputError, match=r"masks/a.png is 400x600 pixels, its image .*a.png 600x400: give the images"):
        study.draw(with_references=False)
    assert not study.output.exists()


def test_a_prediction_and_a_reference_of_different_sizes_are_refused(study, rectangle):
    study.photograph("a", rectangle(SHAPE, (0, 9), (0, 9)), rectangle((40, 60), (0, 9), (0, 9)))
    with pytest.raises(InputError, match=r"masks/a.png is 600x400 pixels, its reference .*a_segmentation.png 60x40"):
        study.draw()


def test_photographs_lie_as_their_camera_was_held(study, rectangle, pixels_of):
    study.photograph("a", rectangle((600, 400), (100, 200), (50, 150)))
    sideways = Image.new("RGB", (600, 400), (120, 120, 120))
    sideways.putpixel((0, 0), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # its right edge belongs at the bottom
    sideways.save(study.images / "a.jpg", exif=exif)
    study.draw(with_references=False)
    places = in_panel(pixels_of(study.picture("a"), PREDICTION), (600, 400))
    assert off_border(places, (100, 200), (50, 150)).max() < 1.5


def test_three_grey_channels_are_red_green_and_blue(study, rectangle):
    mask = rectangle(SHAPE, (0, 9), (0, 9))
    study.photograph("a", mask, image="NAME_0000.png")
    for channel, grey in enumerate((200, 100, 50)):
        Image.new("L", SHAPE[::-1], grey).save(study.images / f"a_000{channel}.png")
    study.draw(with_references=False)
    assert study.picture("a")[TOP + 200, LEFT + 300].tolist() == [200, 100, 50]


def test_pictures_of_16_bits_use_the_whole_range_of_greys(study, rectangle):
    study.photograph("a", rectangle(SHAPE, (0, 9), (0, 9)), image="NAME_0000.png")
    ramp = np.tile(np.linspace(0, 4095, SHAPE[1]).astype(np.uint16), (SHAPE[0], 1))
    Image.fromarray(ramp).save(study.images / "a_0000.png")
    study.draw(with_references=False)
    row = study.picture("a")[TOP + 200, LEFT : LEFT + 600, 0].astype(int)
    assert row[10] < 10 and row[-10] > 245 and abs(row[300] - 128) < 4


@pytest.mark.parametrize(
    ("shape", "pixel_size", "size"),
    [
        ((450, 600), (1, 1), (450, 600)),
        ((4000, 6000), (1, 1), (640, 960)),
        ((6000, 4000), (1, 1), (900, 600)),
        ((64, 64), (1, 1), (480, 480)),
        ((100, 480), (3, 1), (300, 480)),
        ((512, 40), (0.8, 4), (512, 200)),
    ],
    ids=str,
)
def test_sizes_fit_the_box_and_pixels_become_square(shape, pixel_size, size):
    assert fitted(shape, pixel_size, box=(900, 960), smallest=480) == size


def legend_texts(labels, with_reference: bool, counts) -> list[str]:
    masks = np.zeros((len(counts), 40, 60), np.uint8)
    stack = Stack(np.zeros((*masks.shape, 3), np.uint8), masks, masks if with_reference else None, (1, 1))
    (legend,) = case_picture("a", stack, [0], labels, counts).legends
    return [text.get_text() for text in legend.get_texts()]


def test_the_legend_gives_the_dice_of_every_label_that_is_there():
    counts = np.zeros((2, 3, 3), int)
    counts[:, 0] = (4, 4, 3)  # predicted, in the reference, both
    counts[1, 2] = (5, 0, 0)
    labels = {"liver": (1,), "_$x$": (2,), "_$aorta$": (3,)}
    assert legend_texts(labels, True, counts) == ["prediction", "reference", "liver: 0.750", "_$aorta$: 0.000"]
    assert legend_texts(labels, False, counts) == ["liver", "_$aorta$"]
    assert legend_texts(labels, False, 0 * counts) == []


@pytest.mark.parametrize("slices", [1, 3])
def test_many_labels_have_a_legend_that_stays_inside_the_picture(slices):
    labels = {f"the name of organ {i}": (i,) for i in range(1, 15)}
    masks = np.zeros((slices, 40, 60), np.uint8)
    stack = Stack(np.zeros((*masks.shape, 3), np.uint8), masks, masks, (1, 1))
    figure = case_picture("a", stack, list(range(slices)), labels, np.ones((slices, 14, 3), int))
    box = figure.legends[0].get_window_extent()
    assert len(figure.legends[0].get_texts()) == 16
    assert 0 <= box.x0 < box.x1 <= figure.bbox.width
    assert 0 <= box.y0 < box.y1 <= min(axes.bbox.y0 for axes in figure.axes)


MANY = {f"organ {i}": (i,) for i in range(1, 118)}


def many_labels(chosen: list[int]) -> Figure:
    """Two slices; the labels 1 to 60 lie in the first, 58 to 100 in the second, the others nowhere."""
    masks = np.zeros((2, 60, 100), np.uint8)
    for number, present in ((0, range(1, 61)), (1, range(58, 101))):
        for i, label in enumerate(present):
            masks[number, 6 * (i // 10) + 1 : 6 * (i // 10) + 5, 10 * (i % 10) + 1 : 10 * (i % 10) + 8] = label
    stack = Stack(np.zeros((*masks.shape, 3), np.uint8), masks, masks, (1, 1))
    return case_picture("a", stack, chosen, MANY, areas(masks, masks, MANY))


def test_of_many_labels_those_are_listed_that_can_be_seen():
    figure = many_labels([0])
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts[:3] == ["prediction", "reference", "1  organ 1: 1.000"]
    assert texts[-2:] == ["60  organ 60: 1.000", "40 more in other slices"]
    assert len(texts) == 2 + 60 + 1
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == [str(i) for i in range(1, 61)]
    box = legend.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.width and 0 <= box.y0 < box.y1 <= axes.bbox.y0


def test_a_number_stands_inside_its_label():
    (axes,) = many_labels([0]).axes
    scale = axes.bbox.width / 100
    for i, text in enumerate(axes.texts):
        x, y = np.array(text.get_position()) / scale
        assert 10 * (i % 10) + 1 < x < 10 * (i % 10) + 8
        assert 6 * (i // 10) + 1 < y < 6 * (i // 10) + 5


def test_each_of_many_labels_has_a_colour_of_its_own():
    colours = label_colours(MANY, False)
    assert colours[: len(PALETTE)] == PALETTE
    rgb = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in colours])
    apart = np.abs(rgb[:, None] - rgb[None]).sum(axis=-1) + 999 * np.eye(len(rgb))
    assert apart.min() > 12
    assert len(label_colours({str(i): (i,) for i in range(1, 256)}, False)) == 255


def test_long_names_lose_their_middle_beside_the_dice(study, rectangle):
    name = "patient_" + 12 * "0123456789" + "_left"
    mask = np.zeros((1, *SHAPE), np.uint8)
    stack = Stack(np.zeros((*mask.shape, 3), np.uint8), mask, mask, (1, 1))
    for drawn_name in (name, "patient_7"):
        shown, dice = case_picture(drawn_name, stack, [0], {"mask": (1,)}, np.ones((1, 1, 3), int)).texts
        assert dice.get_text() == "Dice 1.000"
        assert shown.get_window_extent().x1 < dice.get_window_extent().x0
        if drawn_name == name:
            assert shown.get_text().startswith("patient_0") and shown.get_text().endswith("_left")
            assert "…" in shown.get_text()
        else:
            assert shown.get_text() == drawn_name


@pytest.mark.parametrize("name", ["$x_1$ ^{2", "Läsion-Ø", "a b"])
def test_names_are_written_as_they_are(study, rectangle, name):
    study.photograph(name, rectangle((40, 60), (5, 9), (5, 9)))
    study.draw(with_references=False)
    assert (study.picture(name)[:TOP] < 100).any()


def thumbnail(name: str, dice: float | None = None, colour=(120, 120, 120), shape=(60, 90)) -> Thumbnail:
    return Thumbnail(name, np.full((*shape, 3), colour, np.uint8), dice)


def names(thumbnails: list[Thumbnail]) -> list[str]:
    return [thumbnail.name for thumbnail in thumbnails]


def test_the_worst_comes_first_and_what_is_undefined_last():
    cases = {"a": 0.9, "b": np.nan, "c": 0.0, "d": 0.5, "e": 1.0}
    assert names(worst_first([thumbnail(*case) for case in cases.items()])) == ["c", "d", "a", "e", "b"]


def test_equals_come_by_name():
    assert names(worst_first([thumbnail(name, 0.5) for name in "cab"])) == ["a", "b", "c"]
    assert names(worst_first([thumbnail(name) for name in "cab"])) == ["a", "b", "c"]


def test_thumbnails_are_laid_out_in_reading_order(pixels_of):
    colours = ["#ff0000", "#00ff00", "#0000ff", "#ffff00", "#ff00ff"]
    thumbnails = [thumbnail(c, 0.5, [int(c[i : i + 2], 16) for i in (1, 3, 5)]) for c in colours]
    sheet = rendered(dict(contact_sheets(thumbnails, "five cases"))["contact_sheet.png"])
    places = [pixels_of(sheet, colour) for colour in colours]
    assert [len(place) for place in places] == [60 * 90] * 5
    top, left = np.array([place.min(axis=0) for place in places]).T
    assert top[0] == top[1] == top[2] < top[3] == top[4]
    assert left[0] == left[3] < left[1] == left[4] < left[2]


@pytest.mark.parametrize(
    ("number", "files"),
    [
        (1, ["contact_sheet.png"]),
        (25, ["contact_sheet.png"]),
        (26, ["contact_sheet_1.png", "contact_sheet_2.png"]),
        (226, [f"contact_sheet_{page:02d}.png" for page in range(1, 11)]),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else "",
)
def test_many_cases_make_pages(number, files):
    sheets = contact_sheets([thumbnail(f"case_{i}", 0.5) for i in range(number)], "cases")
    assert [name for name, _ in sheets] == files


def test_a_page_is_of_a_size_that_can_be_looked_at():
    thumbnails = [thumbnail(f"case_{i}", 0.5, shape=THUMBNAIL) for i in range(SHEET_COLUMNS * SHEET_ROWS)]
    ((_, sheet),) = contact_sheets(thumbnails, "cases")
    assert max(rendered(sheet).shape) < 1500


def test_captions_give_name_and_dice_and_do_not_meet():
    long = "patient_" + 8 * "0123456789"
    ((_, sheet),) = contact_sheets([thumbnail("a", np.nan), thumbnail(long, 0.9), thumbnail("$b", None)], "cases")
    captions = [(axes.get_title("left"), axes.get_title("right")) for axes in sheet.axes]
    assert captions[0] == ("a", "-") and captions[2] == ("$b", "")
    assert captions[1][0].startswith("patient_") and "…" in captions[1][0] and captions[1][1] == "0.900"
    left, right = (next(text for text in sheet.axes[1].findobj(Text) if text.get_text() == c) for c in captions[1])
    assert left.get_window_extent().x1 < right.get_window_extent().x0
