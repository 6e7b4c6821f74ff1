"""`nnunet-vmunet evaluate synapse` on folders of volumes: both conventions, outputs, every kind of bad input."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from nnunet_vmunet.dataset_conversion.synapse import _split_text
from nnunet_vmunet.dataset_conversion.synapse_benchmark import CASES, published_fold
from nnunet_vmunet.evaluation import paper, synapse_metrics
from nnunet_vmunet.organs import BTCV_ORGANS, SYNAPSE_ORGANS

ORGANS = ["aorta", "gallbladder", "left kidney", "right kidney", "liver", "pancreas", "spleen", "stomach"]
SPACING = (3.0, 0.5, 0.5)

# Of the outputs, with the arguments of synapse_metrics that give the same.
CONVENTIONS = (("paper_convention", "paper", " paper_convention"), ("undefined_excluded", "nan", ""))
METRICS = (("dice", "dice", None), ("hd95_voxels", "hd95", None), ("hd95_mm", "hd95", SPACING))


def volume(seed: int, organs=range(1, 9)) -> np.ndarray:
    """A cube for each organ, each in a place of its own that varies a little with the seed."""
    labels = np.zeros((12, 40, 20), np.uint8)
    random = np.random.RandomState(seed)
    for organ in organs:
        start = (organ - 1) // 4 * 6 + random.randint(2), (organ - 1) % 4 * 10 + random.randint(3), random.randint(6)
        labels[tuple(slice(s, s + side) for s, side in zip(start, (4, 6, 8), strict=True))] = organ
    return labels


@pytest.fixture
def two_volumes(pairs):
    """The gallbladder is in no prediction, and not in the second reference; the aorta is in no second file."""
    pairs.add("case1.nii.gz", volume(0, (1, 3, 4, 5, 6, 7, 8)), volume(1), spacing_zyx=SPACING)
    pairs.add("case2.nii.gz", volume(2, (3, 4, 5, 6, 7, 8)), volume(3, (3, 4, 5, 6, 7)), spacing_zyx=SPACING)
    return pairs


def evaluated(folder: Path) -> tuple[dict, list[dict]]:
    """metrics.json and the rows of metrics.csv."""
    with (folder / "metrics.csv").open(newline="") as file:
        return json.loads((folder / "metrics.json").read_text()), list(csv.DictReader(file))


def labels_of(pairs) -> list[tuple[np.ndarray, np.ndarray]]:
    """Prediction and reference of each case."""
    folders = (sorted(folder.glob("*.nii.gz")) for folder in (pairs.predictions, pairs.references))
    return [
        tuple(sitk.GetArrayFromImage(sitk.ReadImage(str(f))) for f in files) for files in zip(*folders, strict=True)
    ]


def test_both_conventions_in_voxels_and_millimetres(run, two_volumes):
    outcome = run("evaluate", "synapse", *two_volumes.options)
    assert (outcome.code, outcome.err) == (0, "")
    folder = two_volumes.predictions / "metrics"
    assert sorted(f.name for f in folder.iterdir()) == ["metrics.csv", "metrics.json", "metrics.png"]
    found, rows = evaluated(folder)
    assert list(found["paper_convention"]["organs"]) == list(found["undefined_excluded"]["organs"]) == ORGANS

    for convention, empty, suffix in CONVENTIONS:
        for metric, key, spacing in METRICS:
            each = [synapse_metrics(*files, spacing, empty=empty) for files in labels_of(two_volumes)]
            means = []
            for label, organ in enumerate(ORGANS, start=1):
                values = np.array([case[label][key] for case in each])
                means.append(np.nanmean(values) if np.isfinite(values).any() else np.nan)
                estimate = found[convention]["organs"][organ][metric]
                assert estimate["excluded"] == np.isnan(values).sum()
                assert estimate["value"] == (None if np.isnan(means[-1]) else pytest.approx(means[-1]))
                written = [float(row[f"{organ} {metric}{suffix}"] or "nan") for row in rows]
                assert written == pytest.approx(values.tolist(), nan_ok=True)
            assert found[convention]["mean"][metric]["value"] == pytest.approx(np.nanmean(means))


def test_empty_masks_by_hand(run, two_volumes):
    run("evaluate", "synapse", *two_volumes.options)
    found, rows = evaluated(two_volumes.predictions / "metrics")
    assert [row["gallbladder pred_voxels"] for row in rows] == ["0", "0"]
    assert [row["gallbladder reference_voxels"] for row in rows] == [str(4 * 6 * 8), "0"]
    # Missed in one volume; in the other there was none and none was predicted.
    paper, honest = (found[c]["organs"]["gallbladder"] for c in ("paper_convention", "undefined_excluded"))
    assert (paper["dice"]["value"], paper["hd95_mm"]["value"], paper["dice"]["excluded"]) == (0, 0, 0)
    assert (honest["dice"]["value"], honest["dice"]["excluded"]) == (0, 1)
    assert (honest["hd95_mm"]["value"], honest["hd95_mm"]["excluded"]) == (None, 2)
    # Predicted in the second volume, where there was none: that volume scores 1 or 0.
    first, second = (float(row["stomach dice paper_convention"]) for row in rows)
    assert second == 1
    assert found["paper_convention"]["organs"]["stomach"]["dice"]["value"] == pytest.approx((first + 1) / 2)
    assert found["undefined_excluded"]["organs"]["stomach"]["dice"]["value"] == pytest.approx(first / 2)


def test_the_tables_name_the_convention_and_the_papers_figures(run, two_volumes):
    assert "paper: Dice" not in run("evaluate", "synapse", *two_volumes.options).out
    out = run("evaluate", "synapse", *two_volumes.options, "--paper", "synapse").out
    papers, honest = out.index("The paper's convention: "), out.index("Undefined excluded: ")
    assert papers < out.index("paper: Dice") < honest
    rows = [line for line in out.splitlines() if line.startswith("gallbladder")]
    assert rows[0].split()[-1] == "69.41"
    assert rows[1].split()[-3:] == ["1", "/", "2"]
    mean = next(line for line in out.splitlines() if line.startswith("mean"))
    assert mean.split()[-2:] == ["81.08", "19.21"]
    lines = out[: out.index("Wrote")].splitlines()
    assert max(len(line) for line in lines if "the paper" not in line) <= 120


def test_the_picture_has_two_panels(run, two_volumes):
    run("evaluate", "synapse", *two_volumes.options)
    width, height = Image.open(two_volumes.predictions / "metrics" / "metrics.png").size
    assert width > 1000 and height > 900


def test_two_processes_find_what_one_finds(run, two_volumes, tmp_path):
    for number in (1, 2):
        run("evaluate", "synapse", *two_volumes.options, "-np", number, "-o", tmp_path / str(number))
    assert (tmp_path / "1" / "metrics.csv").read_text() == (tmp_path / "2" / "metrics.csv").read_text()


def test_unit_spacing_is_said_not_to_be_millimetres(run, pairs):
    pairs.add("case1.nii.gz", volume(0), volume(1))
    assert "mm are voxels here" in run("evaluate", "synapse", *pairs.options).out


@pytest.mark.parametrize("change", ["spacing", "origin", "direction"])
def test_a_prediction_that_lies_elsewhere_is_refused(refused, two_volumes, change):
    """A mirrored prediction must not be scored as if it lay on its reference."""
    file = two_volumes.predictions / "case1.nii.gz"
    image = sitk.ReadImage(str(file))
    if change == "spacing":
        image.SetSpacing((1, 1, 1))
    elif change == "origin":
        image.SetOrigin((0, 0, 2))
    else:
        image.SetDirection((-1, 0, 0, 0, 1, 0, 0, 0, 1))
    sitk.WriteImage(image, str(file))
    message = refused("evaluate", "synapse", *two_volumes.options)
    assert f"{file} lies up to" in message and str(two_volumes.references / "case1.nii.gz") in message


WRITTEN = ["Aorta", "gallbladder", "Kidney_left", "kidney (right)", "liver", "pancreas", "spleen", "Stomach"]
EIGHT = {"background": 0} | {organ: label for label, organ in enumerate(WRITTEN, start=1)}
THIRTEEN = {"background": 0} | {organ: label for label, organ in enumerate(BTCV_ORGANS, start=1)}


@pytest.mark.parametrize(
    "labels",
    [EIGHT, {organ: str(label) for organ, label in EIGHT.items()}, {str(v): k for k, v in EIGHT.items()}],
    ids=["names", "strings", "old style"],
)
def test_the_organs_are_called_as_in_the_dataset_json(run, two_volumes, labels):
    two_volumes.dataset_json(labels=labels, file_ending=".nii.gz", release="synapse")
    out = run("evaluate", "synapse", *two_volumes.options).out
    found, _ = evaluated(two_volumes.predictions / "metrics")
    assert list(found["undefined_excluded"]["organs"]) == WRITTEN
    (row, _) = (line for line in out.splitlines() if line.startswith("Kidney_left"))
    assert row.split()[-1] == "86.16"


def test_the_papers_columns_are_the_organs_that_the_converter_writes():
    assert tuple(paper.SYNAPSE_DICE) == SYNAPSE_ORGANS


def test_btcvs_thirteen_organs_have_no_mean_in_the_paper(run, two_volumes):
    two_volumes.dataset_json(labels=THIRTEEN, file_ending=".nii.gz", release="synapse")
    out = run("evaluate", "synapse", *two_volumes.options).out
    liver, mean = (next(line for line in out.splitlines() if line.startswith(row)) for row in ("liver", "mean"))
    assert liver.split()[-1] == "94.17"
    assert mean.split()[-2:] == ["-", "-"]


@pytest.mark.parametrize(
    "content",
    [
        {"labels": {"0": "background", "1": "Anterior", "2": "Posterior"}},
        {"labels": {"background": "0", "Anterior": "1", "Posterior": "2"}},
        {"labels": {"background": 0, **{organ: i for i, organ in enumerate(sorted(ORGANS, reverse=True), start=1)}}},
        {"labels": EIGHT | {"ignore": 9}},
        {"labels": EIGHT | {"kidneys": [3, 4]}, "regions_class_order": list(range(1, 10))},
    ],
    ids=["old style", "strings", "another order", "ignore", "regions"],
)
def test_labels_that_are_not_synapses_are_refused(refused, two_volumes, content):
    """They were printed as aorta and so on, with the paper's figures beside them."""
    two_volumes.dataset_json(file_ending=".nii.gz", **content)
    message = refused("evaluate", "synapse", *two_volumes.options)
    assert "dataset.json has other labels than Synapse's" in message and "nnunet-vmunet evaluate labels" in message
    assert not (two_volumes.predictions / "metrics").exists()


@pytest.mark.parametrize("release", [None, "synapse"])
def test_a_trained_fold_shows_the_paper_where_a_converter_made_it_of_synapse(run, trained, release):
    split = published_split_text()
    fold = trained("Dataset027_Synapse", ".nii.gz", EIGHT, release=release, split=split)
    fold.add("case1", volume(0), volume(1))
    fold.split("case1")
    outcome = run("evaluate", "synapse", "-d", 27, "-f", 0, "-np", 1)
    assert (outcome.code, outcome.err) == (0, "")
    assert ("paper: Dice" in outcome.out) == (release is not None)
    assert (evaluated(fold.validation / "metrics")[0]["paper"] is not None) == (release is not None)
    if release:
        assert (
            "Differs from the paper's protocol: checkpoint: checkpoint_final, unless --val_best was given (the paper: "
            "the one of lowest training loss). Not known: mirroring (the paper: none)\n"
        ) in outcome.out


def published_split_text() -> str:
    """What `convert synapse` writes of all 30 volumes."""
    return _split_text(published_fold(CASES))


def test_a_real_scan_against_a_shifted_copy(run, shared, pairs):
    image = sitk.ReadImage(str(shared / "data" / "abdomen_ct" / "label0001.nii.gz"))
    raw = sitk.GetArrayFromImage(image)
    reference = np.zeros_like(raw)
    for label, of_btcv in enumerate((8, 4, 3, 2, 6, 11, 1, 7), start=1):
        reference[raw == of_btcv] = label
    pairs.add("case1.nii.gz", np.roll(reference, 1, axis=1), reference, spacing_zyx=image.GetSpacing()[::-1])
    assert run("evaluate", "synapse", *pairs.options).code == 0
    found, _ = evaluated(pairs.predictions / "metrics")
    for organ in found["paper_convention"]["organs"].values():
        # One voxel of 3 mm along one axis.
        assert (organ["hd95_voxels"]["value"], organ["hd95_mm"]["value"]) == (1, 3)
        assert 0.6 < organ["dice"]["value"] < 1


@pytest.mark.parametrize(
    ("prediction", "reference", "message"),
    [
        (None, volume(0), "references/b.nii.gz has no prediction in"),
        (volume(0), None, "predictions/b.nii.gz has no reference in"),
        (volume(0), volume(0)[:5], "predictions/b.nii.gz has 20x40x12 voxels,"),
        (volume(0), volume(0) + 4, "references/b.nii.gz holds the unknown label values 9, 10, 11, 12: the labels are"),
        (volume(0) + np.float32(0.5), volume(0), "predictions/b.nii.gz holds the unknown label values 0.5, 1.5,"),
        (volume(0) - np.int16(1), volume(0), "predictions/b.nii.gz holds the unknown label values -1: the labels"),
    ],
    ids=["no prediction", "no reference", "shapes", "thirteen organs", "halves", "negative"],
)
def test_bad_input_is_refused_in_one_line(refused, two_volumes, prediction, reference, message):
    two_volumes.add("b.nii.gz", prediction, reference)
    assert message in refused("evaluate", "synapse", *two_volumes.options)
    assert not list((two_volumes.predictions / "metrics").glob("*"))


@pytest.mark.parametrize("kept", [0.01, 0.5, 0.99], ids=str)
def test_a_volume_that_is_cut_off_is_named(refused, two_volumes, kept):
    """SimpleITK reads most of these without a word, and what they lack as background."""
    file = two_volumes.references / "case2.nii.gz"
    content = file.read_bytes()
    file.write_bytes(content[: int(kept * len(content))])
    assert f"{file} cannot be read as a volume" in refused("evaluate", "synapse", *two_volumes.options)


@pytest.mark.parametrize(("name", "shape"), [("a.png", (8, 9)), ("a.nii", (8, 9)), ("a.nii", (2, 8, 9, 7))], ids=str)
def test_what_is_no_volume_is_refused(refused, pairs, name, shape):
    blank = np.zeros(shape, np.uint8)
    pairs.add(name, blank, blank, spacing_zyx=(1,) * len(shape))
    reason = {2: "its shape is 9x8", 4: "values per voxel"}[len(shape)] if name == "a.nii" else "is a picture"
    message = refused("evaluate", "synapse", *pairs.options)
    assert name in message and reason in message
