"""`nnunet-vmunet overlay`, on folders that the test lays out."""

import csv
import os

import numpy as np
import pytest
from PIL import Image
from studies import write_mask

from nnunet_vmunet.overlay import draw, pictures
from nnunet_vmunet.overlay.cases import given_source
from nnunet_vmunet.overlay.panels import MARGIN, PALETTE, PREDICTION
from nnunet_vmunet.overlay.pictures import CAPTION, TITLE

SHAPE = (40, 60)


@pytest.fixture
def three(study, rectangle):
    """Predictions that miss the reference by 0, 10 and 20 of its 20 rows."""
    true = rectangle(SHAPE, (0, 20), (10, 50))
    for name, start in (("good", 0), ("middling", 10), ("bad", 20)):
        study.photograph(name, rectangle(SHAPE, (start, start + 20), (10, 50)), true)
    return study


@pytest.fixture
def titles(monkeypatch) -> list[tuple[str, str]]:
    """Name and Dice as they are written over each picture."""
    drawn = []
    case_picture = draw.case_picture

    def noted(*args):
        figure = case_picture(*args)
        drawn.append(tuple(text.get_text() for text in figure.texts))
        return figure

    monkeypatch.setattr(draw, "case_picture", noted)
    return drawn


def test_every_case_has_a_picture_and_the_worst_lead_the_sheet(three, run):
    outcome = run("overlay", *three.options, "-r", three.references)
    assert (outcome.code, outcome.err) == (0, "")
    assert sorted(os.listdir(three.output)) == ["bad.png", "contact_sheet.png", "good.png", "middling.png"]
    assert outcome.out.endswith("overlay: 3 pictures and contact_sheet.png\n")
    thumbnails = three.draw(overwrite=True)
    assert [(t.name, t.dice) for t in thumbnails] == [("bad", 0), ("middling", 0.5), ("good", 1)]


def test_without_references_cases_come_by_name_and_without_dice(three, run, titles):
    assert run("overlay", *three.options).code == 0
    assert titles == [("bad", ""), ("good", ""), ("middling", "")]
    thumbnails = three.draw(with_references=False, overwrite=True)
    assert [(t.name, t.dice) for t in thumbnails] == [("bad", None), ("good", None), ("middling", None)]


def test_processes_draw_the_same(three):
    three.draw()
    alone = {file.name: file.read_bytes() for file in three.output.iterdir()}
    source = given_source(three.images, three.predictions, three.references)
    draw.draw_cases(source, three.output, num_processes=2, overwrite=True)
    assert {file.name: file.read_bytes() for file in three.output.iterdir()} == alone


def test_dice_in_the_title_is_that_of_evaluate_isic(three, run, titles):
    run("evaluate", "isic", "--native", "-p", three.predictions, "-r", three.references, "-np", 1)
    with (three.predictions / "metrics" / "metrics.csv").open() as file:
        evaluated = {row["case"]: f"Dice {float(row['dsc']):.3f}" for row in csv.DictReader(file)}
    three.draw()
    assert dict(titles) == evaluated


def test_dice_in_the_title_is_that_of_evaluate_labels(study, run, titles):
    random = np.random.default_rng(0)
    reference = random.integers(0, 3, (6, 7, 8)).astype(np.uint8)  # without label 3
    prediction = np.where(random.random(reference.shape) < 0.7, reference, 0).astype(np.uint8)
    study.volume("a", prediction, reference)
    study.dataset_json(labels={"background": 0, "liver": 1, "spleen": 2, "aorta": 3}, file_ending=".nii.gz")
    run("evaluate", "labels", "-p", study.predictions, "-r", study.references, "-np", 1)
    with (study.predictions / "metrics" / "metrics.csv").open() as file:
        (row,) = csv.DictReader(file)
    dice = [float(row[f"{organ} dice"]) for organ in ("liver", "spleen", "aorta") if row[f"{organ} dice"]]
    assert len(dice) == 2
    study.draw()
    assert titles == [("a", f"mean Dice {np.mean(dice):.3f}")]


def test_empty_masks_have_no_contour_and_no_dice(study, rectangle, titles):
    empty, full = np.zeros(SHAPE, np.uint8), rectangle(SHAPE, (5, 20), (5, 20))
    for name, pair in {"both": (empty, empty), "prediction": (empty, full), "reference": (full, empty)}.items():
        study.photograph(name, *pair)
    assert [t.name for t in study.draw()] == ["prediction", "reference", "both"]
    assert dict(titles) == {"both": "Dice -", "prediction": "Dice 0.000", "reference": "Dice 0.000"}


def test_what_the_reference_ignores_does_not_count(study, rectangle, titles):
    true = rectangle(SHAPE, (0, 20), (0, 60))
    true[20:] = 2
    study.photograph("a", rectangle(SHAPE, (0, 40), (0, 60)))
    write_mask(study.references / "a.png", true)
    study.dataset_json(labels={"background": 0, "lesion": 1, "ignore": 2}, file_ending=".png")
    study.draw()
    assert titles == [("a", "Dice 1.000")]


def test_a_prediction_of_several_pages_is_refused(study, rectangle, refused):
    study.photograph("a", rectangle(SHAPE, (0, 20), (0, 60)))
    page = Image.open(study.predictions / "a.png")
    page.save(study.predictions / "a.tif", save_all=True, append_images=[page])
    (study.predictions / "a.png").unlink()
    assert "masks/a.tif holds several pages" in refused("overlay", *study.options)


def test_a_prediction_with_the_ignore_label_is_refused(study, rectangle, refused):
    study.photograph("a", 2 * rectangle(SHAPE, (0, 40), (0, 60)))
    study.dataset_json(labels={"background": 0, "lesion": 1, "ignore": 2}, file_ending=".png")
    assert "masks/a.png holds the unknown label values 2" in refused("overlay", *study.options)


@pytest.mark.parametrize(
    "labels",
    [
        {"background": 0, "liver": 1, "spleen": 2},
        {"background": "0", "liver": "1", "spleen": "2"},
        {"0": "background", "1": "liver", "2": "spleen"},
        {"background": 0, "liver": [1, 2], "spleen": "2"},
    ],
    ids=["names", "strings", "old style", "regions"],
)
def test_every_form_of_labels_is_drawn(study, rectangle, run, labels, monkeypatch):
    legends = []
    entries = pictures._entries
    monkeypatch.setattr(pictures, "_entries", lambda *a: legends.append(entries(*a)) or legends[-1])
    prediction = rectangle(SHAPE, (0, 20), (0, 30)) + rectangle(SHAPE, (5, 15), (10, 20))
    study.photograph("a", prediction)
    write_mask(study.references / "a.png", prediction)
    study.dataset_json(labels=labels, regions_class_order=[1, 2], file_ending=".png")
    outcome = run("overlay", *study.options, "-r", study.references)
    assert (outcome.code, outcome.err) == (0, "")
    assert [text for text, _ in legends[0]] == ["prediction", "reference", "liver: 1.000", "spleen: 1.000"]


@pytest.mark.parametrize("flat", [(40, 60), (40, 60, 1), (1, 40, 60)], ids=str)
def test_2d_nifti_is_drawn_as_its_one_picture(study, rectangle, run, pixels_of, flat):
    mask = rectangle((40, 60), (5, 30), (10, 50)).reshape(flat)
    study.volume("a", mask, image=(100 * mask).astype(np.int16))
    outcome = run("overlay", *study.options)
    assert (outcome.code, outcome.err) == (0, "")
    drawn = pixels_of(study.picture("a")[: -2 * TITLE], PREDICTION)  # without the legend
    assert sorted(np.ptp(drawn, axis=0) / 8) == pytest.approx([25, 40], abs=1)  # 60 pixels are drawn as 480


def test_volumes_are_drawn_upright_whatever_the_files_axes(study, pixels_of):
    """A liver on the patient's right and a spleen on the left, behind: RAS, LPS and a permuted file look the same."""
    organs = np.zeros((40, 30, 20), np.uint8)  # towards right, anterior, superior
    organs[25:36, 10:25, 8:16] = 1
    organs[5:12, 3:10, 8:16] = 2
    mm = np.diag([2.0, 2.0, 5.0, 1.0])
    to_left_and_back = np.array([[-1, 0, 0, 39], [0, -1, 0, 29], [0, 0, 1, 0], [0, 0, 0, 1]])
    first_axis_up = np.array([[0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    study.volume("ras", organs, affine=mm)
    study.volume("lps", organs[::-1, ::-1], affine=mm @ to_left_and_back)
    study.volume("sra", organs.transpose(2, 0, 1), affine=mm @ first_axis_up)
    study.draw(with_references=False, slices=1)
    panel = slice(2 * MARGIN + TITLE + CAPTION, 2 * MARGIN + TITLE + CAPTION + 360)  # 480 wide, as 40 x 30 voxels
    drawn = study.picture("ras")[panel]
    liver, spleen = (pixels_of(drawn, colour) for colour in PALETTE[:2])
    assert liver[:, 1].max() < 480 / 2 < spleen[:, 1].min()
    assert liver[:, 0].mean() < 360 / 2 < spleen[:, 0].min()
    for name in ("lps", "sra"):
        assert np.array_equal(study.picture(name)[panel], drawn)


def test_ct_is_drawn_in_a_soft_tissue_window_unless_told(study):
    hounsfield = np.full((40, 30, 4), 40, np.int16)
    hounsfield[:20] = -1000
    study.volume("a", np.zeros_like(hounsfield, np.uint8), image=hounsfield)

    def grey_on_the_patients_right() -> int:
        return int(study.picture("a")[250, 120, 0])  # the image's x grows to the right, which is on the left

    study.draw(with_references=False, slices=1)
    assert grey_on_the_patients_right() == 128
    study.draw(with_references=False, slices=1, window=(0, 400), overwrite=True)
    assert grey_on_the_patients_right() == 26


@pytest.mark.parametrize("slices", [1, 3, 6])
def test_the_picture_of_a_volume_grows_with_its_slices(study, slices):
    study.volume("a", np.ones((30, 30, 10), np.uint8))
    study.draw(with_references=False, slices=slices)
    height, width = study.picture("a").shape[:2]
    assert width // 480 == min(slices, 4)
    assert height // 480 == -(-slices // 4)


def test_what_is_not_predicted_is_told(three, run):
    (three.predictions / "good.png").unlink()
    outcome = run("overlay", *three.options, "-r", three.references)
    assert outcome.code == 0
    assert "masks, so not drawn: good\n" in outcome.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--slices", 0], "--slices 0: give 1 to 100"),
        (["--window", 240, -160], "--window 240 -160: give the lower intensity first"),
        (["--window", 0, 100], "is a photograph, drawn as it is: leave out --window"),
        (["-np", 0], "-np 0: give at least 1 process"),
        (["-d", 118], "give -i and -p, with or without -r, or a trained fold as -d and -f"),
        (["-i", "gone"], "gone is no folder: give the folder of images as -i"),
        (["-p", "gone"], "gone is no folder: give one of label images as -p"),
        (["-r", "gone"], "gone is no folder: give one of label images as -r"),
    ],
    ids=str,
)
def test_options_that_cannot_be_used_are_refused_in_one_line(three, refused, options, message):
    assert message in refused("overlay", *three.options, *options)
    assert not three.output.exists()


@pytest.mark.parametrize("folder", ["images", "predictions", "references"])
def test_nothing_is_written_over_what_is_read(three, refused, folder):
    place = getattr(three, folder)
    before = sorted(os.listdir(place))
    for output in (place, place.parent):
        arguments = (*three.options, "-r", three.references, "-o", output, "--overwrite")
        assert "which is read: choose another folder for -o" in refused("overlay", *arguments)
    assert sorted(os.listdir(place)) == before


def test_overwriting_replaces_nothing_but_an_earlier_overlay(three, refused):
    three.output.mkdir()
    (three.output / "thesis.png").write_text("years of work")
    assert "is not empty: give --overwrite" in refused("overlay", *three.options)
    assert "holds thesis.png, which no overlay wrote" in refused("overlay", *three.options, "--overwrite")
    assert os.listdir(three.output) == ["thesis.png"]


def test_a_broken_image_is_named_and_nothing_is_left_behind(three, refused):
    (three.images / "good.jpg").write_bytes(b"no image")
    assert "good.jpg cannot be read as an image" in refused("overlay", *three.options)
    assert sorted(os.listdir(three.output.parent)) == ["images", "masks", "truth"]
