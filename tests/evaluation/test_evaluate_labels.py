"""`nnunet-vmunet evaluate labels`: every kind of label and file, numbers, outputs, every kind of bad input."""

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nnunetv2.evaluation.evaluate_predictions import compute_metrics
from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from nnunetv2.imageio.tif_reader_writer import Tiff3DIO
from PIL import Image

from nnunet_vmunet.evaluation import label_metrics, outputs

SPACING = (3.0, 0.5, 0.8)  # z, y, x


def blobs(seed: int, shape=(20, 24), labels: int = 3) -> np.ndarray:
    """A box of each label, in a place that varies a little with the seed."""
    random, image = np.random.RandomState(seed), np.zeros(shape, np.uint8)
    for label in range(1, labels + 1):
        start = [random.randint(2) for _ in shape[:-1]] + [(label - 1) * shape[-1] // labels + random.randint(2)]
        image[tuple(slice(s, s + max(2, shape[-1] // labels - 2)) for s in start)] = label
    return image


def evaluated(folder: Path) -> tuple[dict, list[dict]]:
    """metrics.json and the rows of metrics.csv."""
    with (folder / "metrics.csv").open(newline="") as file:
        return json.loads((folder / "metrics.json").read_text()), list(csv.DictReader(file))


def means(folder: Path, group: str = "labels", metric: str = "dice") -> dict[str, float]:
    each = evaluated(folder)[0]["mean_over_cases"][group]["each"]
    return {name: found[metric]["value"] for name, found in each.items()}


@pytest.fixture
def two_volumes(pairs):
    """The third label is in no prediction of the second, and the fourth in no file."""
    pairs.add("a.nii.gz", blobs(0, (6, 20, 24)), blobs(1, (6, 20, 24)), spacing_zyx=SPACING)
    pairs.add("b.nii.gz", blobs(2, (6, 20, 24), 2), blobs(3, (6, 20, 24)), spacing_zyx=SPACING)
    pairs.dataset_json(labels={"background": 0, "one": 1, "two": 2, "three": 3, "four": 4}, file_ending=".nii.gz")
    return pairs


def test_table_json_csv_and_picture_of_volumes(run, two_volumes):
    outcome = run("evaluate", "labels", *two_volumes.options)
    assert (outcome.code, outcome.err) == (0, "")
    folder = two_volumes.predictions / "metrics"
    assert sorted(f.name for f in folder.iterdir()) == ["metrics.csv", "metrics.json", "metrics.png"]
    found, rows = evaluated(folder)
    assert (found["task"], found["cases"]) == ("labels", 2)
    assert found["settings"]["tolerance"] == {"value": 2, "unit": "mm"}
    assert [row["case"] for row in rows] == ["a", "b"]

    names = {"one": 1, "two": 2, "three": 3, "four": 4}
    maps = [(blobs(0, (6, 20, 24)), blobs(1, (6, 20, 24))), (blobs(2, (6, 20, 24), 2), blobs(3, (6, 20, 24)))]
    each = found["mean_over_cases"]["labels"]["each"]
    assert list(each) == list(names)
    for name, label in names.items():
        in_mm, in_voxels = ([label_metrics(*pair, s, [label])[label] for pair in maps] for s in (SPACING, None))
        truths = {m: [case[m] for case in in_mm] for m in ("dice", "iou", "surface_dice")}
        truths |= {"hd95_mm": [c["hd95"] for c in in_mm], "hd95_pixels": [c["hd95"] for c in in_voxels]}
        for metric, truth in truths.items():
            written = [float(row[f"{name} {metric}"] or "nan") for row in rows]
            assert written == pytest.approx(truth, nan_ok=True)
            assert each[name][metric]["excluded"] == np.isnan(truth).sum()
            defined = [value for value in truth if not np.isnan(value)]
            assert each[name][metric]["value"] == (pytest.approx(np.mean(defined)) if defined else None)
    # Missed in the second volume: Dice 0 there, and no distance.
    assert (each["three"]["dice"]["excluded"], each["three"]["hd95_mm"]["excluded"]) == (0, 1)
    assert float(rows[1]["three dice"]) == float(rows[1]["three surface_dice"]) == 0
    assert [each["four"][metric]["excluded"] for metric in ("dice", "hd95_mm", "surface_dice")] == [2, 2, 2]
    mean = found["mean_over_cases"]["labels"]["mean"]["dice"]["value"]
    assert mean == pytest.approx(np.mean([each[name]["dice"]["value"] for name in ("one", "two", "three")]))
    assert mean in [pytest.approx(float(line.split()[1]) / 100, abs=1e-4) for line in lines(outcome.out, "mean ")]
    (four, _) = lines(outcome.out, "four")
    assert four.split()[1] == "-" and four.endswith("2 / 2 / 2")


def lines(out: str, start: str) -> list[str]:
    return [line for line in out.splitlines() if line.startswith(start)]


def test_over_all_pixels_every_pixel_weighs_the_same(run, pairs):
    """A large object found whole, a small one missed."""
    large, small, none = np.ones((20, 20)), np.pad(np.ones((4, 5)), 5), np.zeros((14, 15))
    pairs.add("a.png", large, large)
    pairs.add("b.png", none, small)
    outcome = run("evaluate", "labels", *pairs.options)
    found, _ = evaluated(pairs.predictions / "metrics")
    assert means(pairs.predictions / "metrics") == {"label 1": 0.5}
    pooled = found["all_pixels"]["labels"]["each"]["label 1"]
    assert pooled["dice"]["value"] == pytest.approx(2 * 400 / 820)
    assert pooled["iou"]["value"] == pytest.approx(400 / 420)
    assert (pooled["dice"]["low"], pooled["dice"]["high"]) == (0, 1)
    row = lines(outcome.out, "label 1")[1]
    assert row.split()[2:] == ["97.56", "0.0-100.0", "95.24", "0.0-100.0", "400", "420"]
    assert not lines(outcome.out, "mean")  # over one label


FORMS = {
    "names": {"background": 0, "right": 1, "wall": 2, "left": 3},
    "strings": {"background": "0", "right": "1", "wall": "2", "left": "3"},
    "old style": {"0": "background", "1": "right", "2": "wall", "3": "left"},
    "another order": {"left": 3, "background": 0, "wall": 2, "right": 1},
}


@pytest.mark.parametrize(
    ("form", "ending"),
    [
        *((form, ending) for form in FORMS for ending in (".png", ".nii.gz")),
        *(("names", ending) for ending in (".bmp", ".tif", ".nii", ".nrrd", ".mha")),
    ],
)
def test_every_form_of_labels_in_every_kind_of_file(run, pairs, form, ending):
    """`evaluate synapse` once called the first label aorta, whatever its name."""
    shape = (20, 24) if ending in (".png", ".bmp", ".tif") else (5, 20, 24)
    pairs.add(f"a{ending}", blobs(0, shape), blobs(1, shape))
    pairs.dataset_json(labels=FORMS[form], file_ending=ending)
    outcome = run("evaluate", "labels", *pairs.options)
    assert (outcome.code, outcome.err) == (0, "")
    truth = label_metrics(blobs(0, shape), blobs(1, shape))
    expected = {name: truth[label]["dice"] for label, name in ((1, "right"), (2, "wall"), (3, "left"))}
    assert means(pairs.predictions / "metrics") == pytest.approx(expected)
    assert "paper" not in outcome.out and "aorta" not in outcome.out


@pytest.mark.parametrize("flat", [(20, 24), (20, 24, 1)], ids=str)
def test_2d_nifti(run, pairs, flat):
    for folder, seed in ((pairs.predictions, 0), (pairs.references, 1)):
        folder.mkdir()
        nib.save(nib.Nifti1Image(blobs(seed).reshape(flat), np.diag([0.5, 0.8, 4, 1])), folder / "a.nii.gz")
    assert run("evaluate", "labels", *pairs.options).code == 0
    truth = label_metrics(blobs(0), blobs(1), (0.5, 0.8))
    expected = {f"label {label}": found["hd95"] for label, found in truth.items()}
    assert means(pairs.predictions / "metrics", metric="hd95_mm") == pytest.approx(expected)
    expected = {f"label {label}": found["surface_dice"] for label, found in truth.items()}
    assert means(pairs.predictions / "metrics", metric="surface_dice") == pytest.approx(expected)


@pytest.mark.parametrize("spacing", [None, SPACING], ids=["voxels", "mm"])
def test_tiffs_of_several_pages_are_volumes_as_nnunet_writes_them(run, pairs, spacing):
    for folder, seed in ((pairs.predictions, 0), (pairs.references, 1)):
        folder.mkdir()
        labels = blobs(seed, (6, 20, 24))
        if spacing:
            Tiff3DIO().write_seg(labels, str(folder / "a.tif"), {"spacing": spacing})
        else:
            Image.fromarray(labels[0]).save(
                folder / "a.tif", save_all=True, append_images=[Image.fromarray(page) for page in labels[1:]]
            )
    assert run("evaluate", "labels", *pairs.options).code == 0
    truth = label_metrics(blobs(0, (6, 20, 24)), blobs(1, (6, 20, 24)), spacing)
    expected = {f"label {label}": found["hd95"] for label, found in truth.items()}
    metric = "hd95_mm" if spacing else "hd95_pixels"
    assert means(pairs.predictions / "metrics", metric=metric) == pytest.approx(expected)
    expected = {f"label {label}": found["surface_dice"] for label, found in truth.items()}
    assert means(pairs.predictions / "metrics", metric="surface_dice") == pytest.approx(expected)


@pytest.mark.parametrize("spacing", [None, [1, 1], [1, 1, 0], "3", [1, 1, "1"]], ids=str)
def test_a_json_without_spacing_is_named(run, refused, pairs, spacing):
    """Beside several pages: what lies beside one, such as an annotation, is no business of ours."""
    pairs.add("a.tif", blobs(0), blobs(1))
    (pairs.references / "a.json").write_text(json.dumps({"spacing": spacing}))
    assert run("evaluate", "labels", *pairs.options).code == 0
    for folder in (pairs.predictions, pairs.references):
        page = Image.fromarray(blobs(0))
        page.save(folder / "a.tif", save_all=True, append_images=[page])
    assert "references/a.json holds the spacing" in refused("evaluate", "labels", *pairs.options)


REGIONS = {"background": 0, "whole": [1, 2, 3], "core": ["2", "3"], "enhancing": 3}


def test_regions_and_the_labels_that_they_are_made_of(run, pairs):
    pairs.add("a.png", blobs(0), blobs(1))
    pairs.dataset_json(labels=REGIONS, regions_class_order=[1, 2, 3], file_ending=".png")
    outcome = run("evaluate", "labels", *pairs.options)
    assert (outcome.code, outcome.err) == (0, "")
    folder = pairs.predictions / "metrics"
    named = label_metrics(blobs(0), blobs(1), labels={"whole": (1, 2, 3), "core": (2, 3), "enhancing": (3,)})
    assert means(folder, "regions") == pytest.approx({name: found["dice"] for name, found in named.items()})
    plain = label_metrics(blobs(0), blobs(1))
    expected = {name: plain[label]["dice"] for label, name in ((1, "label 1"), (2, "label 2"), (3, "enhancing"))}
    assert means(folder, "labels") == pytest.approx(expected)
    assert outcome.out.index("Regions, mean over cases") < outcome.out.index("Labels, mean over cases")
    header = list(evaluated(folder)[1][0])
    assert len(header) == len(set(header)) == 1 + 5 * 8  # enhancing is both, and stands there once


def test_a_regions_name_may_be_what_a_label_would_be_called(run, pairs):
    pairs.add("a.png", blobs(0), blobs(1))
    labels = {"background": 0, "label 1": [1, 2], "label 3": 3}
    pairs.dataset_json(labels=labels, regions_class_order=[1, 3], file_ending=".png")
    assert run("evaluate", "labels", *pairs.options).code == 0
    found = means(pairs.predictions / "metrics", "labels")
    assert list(found) == ["label image value 1", "label 2", "label 3"]


def test_what_the_reference_ignores_is_left_out_on_both_sides(run, pairs):
    reference, prediction = blobs(1), blobs(0)
    reference[:, 18:] = 4
    pairs.add("a.png", prediction, reference)
    pairs.dataset_json(labels=FORMS["names"] | {"ignore": 4}, file_ending=".png")
    outcome = run("evaluate", "labels", *pairs.options)
    assert "What the reference ignores (label 4) is left out on both sides" in outcome.out
    found, rows = evaluated(pairs.predictions / "metrics")
    for name, label in (("right", 1), ("wall", 2), ("left", 3)):
        known = reference != 4
        p, r = prediction[known] == label, reference[known] == label
        assert int(rows[0][f"{name} pred_pixels"]) == p.sum()
        assert float(rows[0][f"{name} dice"]) == pytest.approx(2 * (p & r).sum() / (p.sum() + r.sum()))
    assert found["settings"]["ignore_label"] == 4
    assert list(found["mean_over_cases"]["labels"]["each"]) == ["right", "wall", "left"]


@pytest.mark.parametrize("ending", [".png", ".nii.gz"])
@pytest.mark.parametrize("labels", [FORMS["names"], FORMS["names"] | {"ignore": 4}, REGIONS], ids=len)
def test_dice_and_iou_are_those_of_nnunets_own_summary(run, pairs, labels, ending):
    shape, reader = ((20, 24), NaturalImage2DIO()) if ending == ".png" else ((5, 20, 24), SimpleITKIO())
    reference = blobs(1, shape)
    if "ignore" in labels:
        reference[..., 18:] = labels["ignore"]
    pairs.add(f"a{ending}", blobs(0, shape), reference)
    pairs.dataset_json(labels=labels, regions_class_order=[1, 2, 3], file_ending=ending)
    assert run("evaluate", "labels", *pairs.options).code == 0
    group = "regions" if "whole" in labels else "labels"
    files = (str(folder / f"a{ending}") for folder in (pairs.references, pairs.predictions))
    asked = [(1, 2, 3), (2, 3), 3] if group == "regions" else [1, 2, 3]
    summary = compute_metrics(*files, reader, asked, labels.get("ignore"))["metrics"]
    for metric, of_nnunet in (("dice", "Dice"), ("iou", "IoU")):
        found = means(pairs.predictions / "metrics", group, metric)
        assert list(found.values()) == [summary[values][of_nnunet] for values in asked]


def test_a_prediction_never_holds_the_ignore_label(refused, pairs):
    pairs.add("a.png", blobs(0, labels=4), blobs(1, labels=4))
    pairs.dataset_json(labels=FORMS["names"] | {"ignore": 4}, file_ending=".png")
    message = refused("evaluate", "labels", *pairs.options)
    assert "predictions/a.png holds the unknown label values 4: the labels are 0, 1, 2, 3" in message


def test_black_and_white_masks(run, pairs):
    pairs.add("a.png", 255 * (blobs(0, labels=1) > 0), blobs(1, labels=1))
    assert run("evaluate", "labels", *pairs.options).code == 0
    found = means(pairs.predictions / "metrics")
    assert found == pytest.approx({"label 1": label_metrics(blobs(0, labels=1), blobs(1, labels=1))[1]["dice"]})


def test_the_tolerance_is_the_users(run, pairs):
    square = np.pad(np.ones((12, 12)), 9)
    pairs.add("a.png", np.roll(square, 3, axis=0), square)
    fractions = []
    for tolerance in (0, 2, 3):
        outcome = run("evaluate", "labels", *pairs.options, "--tolerance", tolerance)
        assert f"within {tolerance} pixels of the other" in outcome.out
        fractions += means(pairs.predictions / "metrics", metric="surface_dice").values()
    assert fractions[0] < fractions[1] < fractions[2] == 1


@pytest.mark.parametrize("ending", [".png", ".tif", ".nii.gz"])
@pytest.mark.parametrize("model", ["nnUNetTrainerVMUNet__nnUNetPlans__2d", "nnUNetTrainer__nnUNetPlans__3d_fullres"])
def test_a_trained_fold(run, trained, ending, model):
    shape = (5, 20, 24) if ending == ".nii.gz" else (20, 24)
    fold = trained("Dataset003_Heart", ending, FORMS["names"], model)
    for name, seed in (("a", 0), ("b", 2)):
        fold.add(name, blobs(seed, shape), blobs(seed + 1, shape))
    fold.add("c", None, blobs(4, shape))  # trained on, not validated
    fold.split("a", "b")
    trainer, _, configuration = model.split("__")
    outcome = run("evaluate", "labels", "-d", 3, "-f", 0, "-tr", trainer, "-c", configuration, "-np", 1)
    assert (outcome.code, outcome.err) == (0, "")
    found, rows = evaluated(fold.validation / "metrics")
    assert [row["case"] for row in rows] == ["a", "b"]
    assert found["settings"]["dataset"] == "Dataset003_Heart"
    assert list(found["settings"]["labels"]) == ["right", "wall", "left"]


def test_two_processes_find_what_one_finds(run, two_volumes, tmp_path):
    for number in (1, 2):
        run("evaluate", "labels", *two_volumes.options, "-np", number, "-o", tmp_path / str(number))
    for file in ("metrics.csv", "metrics.json"):
        assert (tmp_path / "1" / file).read_text() == (tmp_path / "2" / file).read_text()


def test_a_real_scan_with_an_absent_organ(run, shared, pairs):
    """13 organs of 3 mm, shifted by one voxel; the oesophagus is in neither."""
    file = shared / "data" / "abdomen_ct" / "label0001.nii.gz"
    image = nib.load(file)
    labels = np.asarray(image.dataobj).astype(np.uint8)
    for folder, values in ((pairs.references, labels), (pairs.predictions, np.roll(labels, 1, axis=0))):
        folder.mkdir()
        nib.save(nib.Nifti1Image(values, image.affine), folder / "case1.nii.gz")
    pairs.dataset_json(labels={"background": 0} | {f"organ {i}": i for i in range(1, 14)}, file_ending=".nii.gz")
    assert run("evaluate", "labels", *pairs.options, "--tolerance", 3).code == 0
    folder = pairs.predictions / "metrics"
    assert {name for name, value in means(folder).items() if value is None} == {"organ 5"}
    assert {value for value in means(folder, metric="hd95_mm").values() if value is not None} == {3}
    assert {value for value in means(folder, metric="hd95_pixels").values() if value is not None} == {1}
    assert {value for value in means(folder, metric="surface_dice").values() if value is not None} == {1}


@pytest.mark.parametrize("labels", [1, 3, 13, 14, 117])
def test_the_picture_holds_every_label(run, pairs, labels, monkeypatch):
    """Many lie in a block or two, under each other, so that the picture stays one that a screen shows."""
    drawn = []
    for name in ("_draw_upright", "_draw_lying"):
        draw = getattr(outputs, name)
        monkeypatch.setattr(
            outputs, name, lambda axes, panel, *a, draw=draw, **k: drawn.append(panel) or draw(axes, panel, *a, **k)
        )
    shape = (40, 4 * labels)
    pairs.add("a.png", blobs(0, shape, labels), blobs(1, shape, labels))
    pairs.dataset_json(labels={"background": 0} | {f"organ {i}": i for i in range(1, labels + 1)}, file_ending=".png")
    assert run("evaluate", "labels", *pairs.options).code == 0
    assert [name for panel in drawn for name in panel.values if panel.ylabel == "Dice, percent"] == [
        f"organ {i}" for i in range(1, labels + 1)
    ]
    width, height = Image.open(pairs.predictions / "metrics" / "metrics.png").size
    assert 600 <= width <= 3500 and 500 <= height <= 3500


BLANK = np.zeros((8, 8), np.uint8)


@pytest.mark.parametrize(
    ("prediction", "reference", "message"),
    [
        (None, BLANK, "references/b.png has no prediction in"),
        (BLANK, None, "predictions/b.png has no reference in"),
        (BLANK, np.zeros((8, 9)), "predictions/b.png is 8x8 pixels, its reference"),
        (BLANK + 7, BLANK, "predictions/b.png holds the unknown label values 7: the labels are 0, 1, 2, 3"),
        (BLANK, BLANK + 255, "references/b.png holds the unknown label values 255"),
        (np.zeros((8, 8, 3)), BLANK, "predictions/b.png is an image of mode RGB"),
    ],
    ids=["no prediction", "no reference", "shapes", "unknown value", "white", "colours"],
)
def test_bad_input_is_refused_in_one_line(refused, pairs, prediction, reference, message):
    pairs.add("a.png", blobs(0), blobs(1))
    pairs.add("b.png", prediction, reference)
    pairs.dataset_json(labels=FORMS["names"], file_ending=".png")
    assert message in refused("evaluate", "labels", *pairs.options)
    assert not list((pairs.predictions / "metrics").glob("*"))


def test_a_dataset_json_that_nothing_can_mean_is_named(refused, pairs):
    pairs.add("a.png", blobs(0), blobs(1))
    pairs.dataset_json(labels={"background": 0, "lesion": 1.5})
    assert 'dataset.json gives label "lesion" as 1.5' in refused("evaluate", "labels", *pairs.options)


def test_a_prediction_that_lies_elsewhere_is_refused(refused, two_volumes):
    file = two_volumes.predictions / "a.nii.gz"
    image = nib.load(file)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), image.affine @ np.diag([-1, 1, 1, 1])), file)
    assert f"{file} lies up to" in refused("evaluate", "labels", *two_volumes.options)


def test_pictures_and_volumes_are_not_mixed(refused, pairs):
    pairs.add("a.png", blobs(0), blobs(1))
    pairs.add("b.nii.gz", blobs(0, (2, 20, 24)), blobs(1, (2, 20, 24)))
    assert "are a picture and a volume" in refused("evaluate", "labels", *pairs.options)


@pytest.mark.parametrize("tolerance", [-1, "nan", "inf"])
def test_a_tolerance_that_is_none_is_refused(refused, pairs, tolerance):
    pairs.add("a.png", blobs(0), blobs(1))
    assert "give a number from 0" in refused("evaluate", "labels", *pairs.options, "--tolerance", tolerance)
