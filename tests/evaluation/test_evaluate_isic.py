"""`nnunet-vmunet evaluate isic` on folders of masks: numbers, outputs, every kind of bad input."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nnunet_vmunet import __version__
from nnunet_vmunet.evaluation import isic_metrics

METRICS = ["miou", "dsc", "acc", "sen", "spe"]


def disc(radius: float, shift: int = 0, size: int = 256) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - size / 2
    return (y**2 + (x - shift) ** 2 < radius**2).astype(np.uint8)


@pytest.fixture
def three_masks(pairs):
    for i, (radius, shift) in enumerate(((30, 5), (60, 0), (90, 20))):
        pairs.add(f"ISIC_{i}.png", 255 * disc(radius, shift), disc(radius))
    return pairs


def evaluated(folder: Path) -> tuple[dict, list[dict]]:
    """metrics.json and the rows of metrics.csv."""
    with (folder / "metrics.csv").open(newline="") as file:
        return json.loads((folder / "metrics.json").read_text()), list(csv.DictReader(file))


def test_table_json_csv_and_picture(run, three_masks):
    outcome = run("evaluate", "isic", *three_masks.options)
    assert (outcome.code, outcome.err) == (0, "")
    folder = three_masks.predictions / "metrics"
    assert sorted(f.name for f in folder.iterdir()) == ["metrics.csv", "metrics.json", "metrics.png"]
    found, rows = evaluated(folder)

    predictions, references = (
        np.stack([np.array(Image.open(f)) for f in sorted(folder.glob("*.png"))])
        for folder in (three_masks.predictions, three_masks.references)
    )
    pooled = isic_metrics(predictions, references)
    each = [isic_metrics(p, r) for p, r in zip(predictions, references, strict=True)]
    for metric in METRICS:
        values = [image[metric] for image in each]
        assert found["all_pixels"][metric]["value"] == pytest.approx(pooled[metric], rel=1e-14)
        assert found["mean_over_images"][metric]["value"] == pytest.approx(np.mean(values), rel=1e-14)
        for average in ("all_pixels", "mean_over_images"):
            estimate = found[average][metric]
            assert min(values) - 1e-12 <= estimate["low"] < estimate["value"]
            assert estimate["value"] < estimate["high"] <= max(values) + 1e-12
        assert [float(row[metric]) for row in rows] == pytest.approx(values)
        assert f"{100 * pooled[metric]:.2f}" in outcome.out
    assert [row["case"] for row in rows] == ["ISIC_0", "ISIC_1", "ISIC_2"]
    assert sum(int(row["true_positives"]) for row in rows) == np.count_nonzero(predictions & references)

    assert (found["version"], found["images"], found["paper"]) == (__version__, 3, None)
    assert found["settings"]["size"] == [256, 256]
    assert found["settings"]["intervals"]["level"] == 0.95
    assert "paper" not in outcome.out
    assert Image.open(folder / "metrics.png").size[0] > 600


def test_a_second_run_says_the_same_and_replaces_the_first(run, three_masks):
    first = run("evaluate", "isic", *three_masks.options)
    folder = three_masks.predictions / "metrics"
    before = (folder / "metrics.json").read_text()
    assert run("evaluate", "isic", *three_masks.options).out == first.out
    assert (folder / "metrics.json").read_text() == before


def test_two_processes_find_what_one_finds(run, three_masks, tmp_path):
    for number in (1, 2):
        run("evaluate", "isic", *three_masks.options, "-np", number, "-o", tmp_path / str(number))
    assert (tmp_path / "1" / "metrics.csv").read_text() == (tmp_path / "2" / "metrics.csv").read_text()


def test_outputs_beside_png_predictions_are_no_predictions(run, three_masks):
    for _ in range(2):
        assert run("evaluate", "isic", *three_masks.options, "-o", three_masks.predictions).code == 0
    assert evaluated(three_masks.predictions)[0]["images"] == 3


def test_at_256_pixels_every_image_weighs_the_same_and_natively_by_its_pixels(run, pairs, tmp_path):
    # A large image found whole, a small one missed.
    pairs.add("large.png", disc(256, size=512), disc(256, size=512))
    pairs.add("small.png", np.zeros((64, 64)), disc(32, size=64))
    run("evaluate", "isic", *pairs.options)
    at_256, _ = evaluated(pairs.predictions / "metrics")
    run("evaluate", "isic", *pairs.options, "--native", "-o", tmp_path / "native")
    native, _ = evaluated(tmp_path / "native")
    assert at_256["all_pixels"]["sen"]["value"] == pytest.approx(1 / 2, abs=0.01)
    assert native["all_pixels"]["sen"]["value"] == pytest.approx(64 / 65, abs=0.001)
    assert native["settings"]["size"] == "native"


def test_an_image_without_lesion_is_left_out_of_the_mean_and_counted(run, three_masks):
    three_masks.add("healthy.png", np.zeros((256, 256)), np.zeros((256, 256)))
    outcome = run("evaluate", "isic", *three_masks.options)
    found, rows = evaluated(three_masks.predictions / "metrics")
    mean = found["mean_over_images"]
    assert [mean[metric]["excluded"] for metric in ("miou", "dsc", "acc", "sen", "spe")] == [1, 1, 0, 1, 0]
    assert mean["dsc"]["value"] == pytest.approx(np.mean([float(row["dsc"]) for row in rows if row["dsc"]]))
    assert [row["case"] for row in rows if row["dsc"] == ""] == ["healthy"]
    assert "left out of the mean over images: IoU 1, Dice 1, Sensitivity 1" in outcome.out


def test_one_image_has_no_interval(run, pairs):
    pairs.add("only.png", disc(20), disc(30))
    assert run("evaluate", "isic", *pairs.options).code == 0
    estimate = evaluated(pairs.predictions / "metrics")[0]["all_pixels"]["dsc"]
    assert (estimate["low"], estimate["high"]) == (None, None)
    assert estimate["value"] > 0


@pytest.mark.parametrize(("dataset", "figure"), [("isic17", "80.23"), ("isic18", "81.35")])
def test_the_papers_row_on_request(run, three_masks, dataset, figure):
    outcome = run("evaluate", "isic", *three_masks.options, "--paper", dataset)
    (row,) = (line for line in outcome.out.splitlines() if line.startswith("paper, "))
    assert row.split()[1:3] == [dataset.upper(), figure]
    paper = evaluated(three_masks.predictions / "metrics")[0]["paper"]
    assert (paper["dataset"], paper["unit"], str(paper["miou"])) == (dataset, "percent", figure)


def test_a_trained_fold_by_its_id(run, trained):
    fold = trained("Dataset118_ISIC2018", ".png", {"background": 0, "lesion": 1}, release="isic18", split="seeded 7:3")
    fold.debug(inference_allowed_mirroring_axes=(0, 1))
    fold.add("ISIC_1", disc(30, 3), disc(30))
    fold.add("ISIC_2", disc(50), disc(50))
    fold.add("ISIC_3", None, disc(50))  # trained on, not validated
    fold.split("ISIC_1", "ISIC_2")
    outcome = run("evaluate", "isic", "-d", 118, "-f", 0, "-np", 1)
    assert (outcome.code, outcome.err) == (0, "")
    assert "paper, ISIC18" in outcome.out
    assert (
        "Differs from the paper's protocol: split: seeded 7:3 (the paper: never published as a list); mirroring: 4 "
        "mirrored views averaged (the paper: none); checkpoint: checkpoint_final, unless --val_best was given (the "
        "paper: the one of lowest loss on the evaluated part)\n"
    ) in outcome.out
    found, rows = evaluated(fold.validation / "metrics")
    assert found["settings"]["dataset"] == "Dataset118_ISIC2018"
    assert [row["case"] for row in rows] == ["ISIC_1", "ISIC_2"]
    # nnU-Net takes every .png directly in that folder for a prediction.
    assert sorted(f.name for f in fold.validation.glob("*.png")) == ["ISIC_1.png", "ISIC_2.png"]


def test_the_papers_trainer_leaves_the_split_as_the_only_difference(run, trained):
    fold = trained("Dataset118_ISIC2018", ".png", {"background": 0, "lesion": 1}, release="isic18", split="seeded 7:3")
    fold.debug(inference_allowed_mirroring_axes=None, deciding_loss="val_losses")
    fold.add("ISIC_1", disc(30, 3), disc(30))
    out = run("evaluate", "isic", "-d", 118, "-f", 0, "-np", 1).out
    line = "Differs from the paper's protocol: split: seeded 7:3 (the paper: never published as a list)\n"
    assert line in out


@pytest.mark.parametrize("release", [None, "synapse", 18, ["isic18"]], ids=str)
def test_a_name_is_no_release(run, trained, release):
    """Polyps converted as if they were ISIC are compared with nothing."""
    fold = trained("Dataset118_ISIC2018", ".png", {"background": 0, "polyp": 1}, release=release)
    fold.add("a", disc(30, 3), disc(30))
    outcome = run("evaluate", "isic", "-d", 118, "-f", 0, "-np", 1)
    assert outcome.code == 0
    assert "paper" not in outcome.out


def test_predictions_beside_a_converted_datasets_json_have_the_papers_row(run, three_masks):
    labels = {"0": "background", "1": "lesion"}
    three_masks.dataset_json(labels=labels, release="isic17", file_ending=".png")
    out = run("evaluate", "isic", *three_masks.options, "--native").out
    assert "paper, ISIC17" in out
    assert (
        "Differs from the paper's protocol: size: the images' own (the paper: 256x256). Not known: split (the paper: "
        "never published as a list); mirroring (the paper: none); checkpoint (the paper: the one of lowest loss on the "
        "evaluated part)\n"
    ) in out
    found, _ = evaluated(three_masks.predictions / "metrics")
    assert found["settings"]["protocol"]["size"] == "the images' own"


@pytest.mark.parametrize("axes", ["None", "()"])
def test_a_trainer_that_does_not_mirror_is_as_the_paper_is(run, trained, axes):
    fold = trained("Dataset118_ISIC2018", ".png", {"background": 0, "lesion": 1}, release="isic18")
    fold.debug(inference_allowed_mirroring_axes=axes)
    fold.add("a", disc(30, 3), disc(30))
    out = run("evaluate", "isic", "-d", 118, "-f", 0, "-np", 1).out
    assert "paper, ISIC18" in out
    assert "mirroring" not in out and "size: " not in out


@pytest.mark.parametrize(
    ("content", "has"),
    [
        ({"labels": {"background": 0, "lesion": 1, "hair": 2}}, "2 labels"),
        ({"labels": {"0": "background", "1": "lesion", "2": "hair"}}, "2 labels"),
        ({"labels": {"background": 0, "lesion": 1, "ignore": 2}}, "an ignore label"),
        ({"labels": {"background": 0, "lesion": [1, 2]}, "regions_class_order": [1]}, "regions"),
    ],
    ids=["classes", "old style", "ignore", "regions"],
)
def test_labels_of_other_tasks_are_refused(refused, three_masks, content, has):
    three_masks.dataset_json(file_ending=".png", **content)
    message = refused("evaluate", "isic", *three_masks.options)
    assert f"dataset.json has {has}, and ISIC's protocol knows one lesion" in message
    assert "nnunet-vmunet evaluate labels" in message
    assert not (three_masks.predictions / "metrics").exists()


def test_references_under_the_releases_names(run, shared, pairs):
    masks = sorted((shared / "data" / "dermoscopy").glob("*_segmentation.png"))
    assert len(masks) == 3
    for mask in masks:
        labels = np.array(Image.open(mask))
        pairs.add(mask.name.replace("_segmentation", ""), np.roll(labels > 0, 10, axis=1), None)
        pairs.add(mask.name, None, labels)
    assert run("evaluate", "isic", *pairs.options).code == 0
    found, rows = evaluated(pairs.predictions / "metrics")
    assert [row["case"] for row in rows] == ["ISIC_0024311", "ISIC_0027001", "ISIC_0027533"]
    assert 0.8 < found["mean_over_images"]["dsc"]["value"] < 1


BLANK = np.zeros((8, 8), np.uint8)


@pytest.mark.parametrize(
    ("prediction", "reference", "message"),
    [
        (None, BLANK, "references/b.png has no prediction in"),
        (BLANK, None, "predictions/b.png has no reference in"),
        (BLANK, np.zeros((8, 9)), "predictions/b.png is 8x8 pixels, its reference"),
        (BLANK + 7, BLANK, "predictions/b.png holds the unknown label values 7: the labels are 0, 1, 255"),
        (BLANK, np.arange(64).reshape(8, 8), "unknown label values 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 52 more"),
        (BLANK, np.array([[0, 1, 255]]), r"references/b.png holds the values \[1, 255\] besides 0"),
        (np.zeros((8, 8, 3)), BLANK, "predictions/b.png is an image of mode RGB"),
    ],
    ids=["no prediction", "no reference", "shapes", "unknown value", "many values", "1 and 255", "colours"],
)
def test_bad_input_is_refused_in_one_line(refused, three_masks, prediction, reference, message):
    three_masks.add("b.png", prediction, reference)
    assert re.search(message, refused("evaluate", "isic", *three_masks.options))
    assert not list((three_masks.predictions / "metrics").glob("*"))


def test_a_file_that_is_cut_off_is_named(refused, three_masks):
    file = three_masks.predictions / "ISIC_1.png"
    file.write_bytes(file.read_bytes()[:100])
    assert f"{file} cannot be read as an image" in refused("evaluate", "isic", *three_masks.options)


def test_volumes_are_no_lesion_masks(refused, pairs):
    pairs.add("ct.nii.gz", np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8))
    assert "ct.nii.gz has shape (4, 4, 4): a lesion mask is one picture" in refused("evaluate", "isic", *pairs.options)


def test_an_output_that_cannot_be_written_is_told_before_anything_is_read(refused, three_masks, tmp_path):
    (tmp_path / "file").write_text("")
    (three_masks.predictions / "ISIC_1.png").write_bytes(b"")
    message = refused("evaluate", "isic", *three_masks.options, "-o", tmp_path / "file")
    assert f"{tmp_path / 'file'} cannot be written, make room or choose another place" in message


def test_no_process_is_refused(refused, three_masks):
    assert "-np 0: give at least 1 process" in refused("evaluate", "isic", *three_masks.options, "-np", 0)
