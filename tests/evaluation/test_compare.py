"""`nnunet-vmunet compare`: cases made so that the answer is known, numbers, outputs, every kind of bad input."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nnunet_vmunet.evaluation import label_metrics, paired_comparison
from nnunet_vmunet.evaluation.compared_models import given_models
from nnunet_vmunet.evaluation.comparison_picture import comparison_figure
from nnunet_vmunet.evaluation.labels_report import evaluate_cases
from nnunet_vmunet.evaluation.model_differences import Comparison

METRICS = ("dice", "iou", "hd95_pixels", "surface_dice")


def square(missing: int = 0, label: int = 1, size: int = 12) -> np.ndarray:
    """100 pixels of the label without the first `missing` of them."""
    mask = np.zeros((size, size), np.uint8)
    inside = np.full(100, label, np.uint8)
    inside[:missing] = 0
    mask[1:11, 1:11] = inside.reshape(10, 10)
    return mask


def dice(missing: int) -> float:
    return 2 * (100 - missing) / (200 - missing)


class Models:
    """Predictions of models and their references, as PNG files in folders beside each other."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def add(self, folder: str, *masks, names=None) -> Path:
        (self.root / folder).mkdir(exist_ok=True)
        for i, mask in enumerate(masks):
            Image.fromarray(mask).save(self.root / folder / f"{names[i] if names else f'case{i}'}.png")
        return self.root / folder

    def options(self, *folders: str) -> list:
        paths = [self.root / folder for folder in folders or ("old", "new")]
        return ["compare", "-p", *paths, "-r", self.root / "references", "-np", 1]


@pytest.fixture
def models(tmp_path) -> Models:
    return Models(tmp_path)


def lesions(models: Models, old: list[int], new: list[int], names=None) -> None:
    """Squares of which the models miss so many pixels."""
    models.add("references", *[square()] * len(old), names=names)
    models.add("old", *map(square, old), names=names)
    models.add("new", *map(square, new), names=names)


def compared(folder: Path) -> tuple[dict, list[dict]]:
    """comparison.json and the rows of comparison.csv."""
    with (folder / "comparison.csv").open(newline="") as file:
        return json.loads((folder / "comparison.json").read_text()), list(csv.DictReader(file))


OLD, NEW = [10, 20, 30, 40, 50, 60, 20, 30], [5, 25, 20, 35, 30, 20, 10, 30]


def test_tables_json_csv_and_picture(run, models):
    lesions(models, OLD, NEW)
    outcome = run(*models.options())
    assert (outcome.code, outcome.err) == (0, "")
    folder = models.root / "comparison"
    assert sorted(file.name for file in folder.iterdir()) == ["comparison.csv", "comparison.json", "comparison.png"]
    found, rows = compared(folder)
    (pair,) = found["comparisons"]
    assert (pair["model_a"], pair["model_b"], found["cases"]) == ("old", "new", 8)
    for metric in METRICS:
        key = metric.removesuffix("_pixels")
        a, b = (np.array([label_metrics(square(m), square())[1][key] for m in missing]) for missing in (OLD, NEW))
        truth = paired_comparison(a, b, smaller_is_better=key == "hd95")
        written = pair["labels"]["each"]["label 1"][metric]
        for name in ("cases", "won", "lost", "tied", "share_won", "p_value", "mean_a", "mean_b"):
            assert written[name] == pytest.approx(getattr(truth, name))
        assert written["difference"]["low"] == pytest.approx(truth.difference.low)
        assert written["better"] == {"b": "new", None: None}[truth.better]
        of_metric = [row for row in rows if row["metric"] == metric]
        assert [row["case"] for row in of_metric] == [f"case{i}" for i in range(8)]
        assert [float(row["value_a"]) for row in of_metric] == pytest.approx(a.tolist())
        assert [float(row["difference"]) for row in of_metric] == pytest.approx((b - a).tolist())
    assert "hd95_mm" not in {row["metric"] for row in rows}
    (row,) = [line for line in outcome.out.splitlines() if line.startswith("label 1  ") and "." in line][:1]
    assert row.split()[2:5] == [f"{100 * np.mean([dice(m) for m in values]):.2f}" for values in (OLD, NEW)] + [
        f"{100 * np.mean([dice(n) - dice(o) for o, n in zip(OLD, NEW, strict=True)]):+.2f}"
    ]


def sentence(models: Models) -> str:
    (found,) = compared(models.root / "comparison")[0]["sentences"]
    return found


def test_no_difference(run, models):
    lesions(models, OLD, OLD)
    assert run(*models.options()).code == 0
    assert sentence(models) == (
        "label 1, Dice: the data does not tell old and new apart (new differs by +0.00 points, +0.00 to +0.00; "
        "better in 0 of 8 cases, worse in 0, p = 1.000)"
    )


def test_a_difference_in_one_case(run, models):
    lesions(models, OLD, [0, *OLD[1:]])
    assert run(*models.options()).code == 0
    assert sentence(models).startswith("label 1, Dice: the data does not tell old and new apart (new differs by +0.66 ")
    assert sentence(models).endswith("better in 1 of 8 cases, worse in 0, p = 1.000)")


@pytest.mark.parametrize(("old", "new", "better"), [(20, 10, "new"), (10, 20, "old")], ids=["better", "worse"])
def test_a_constant_shift(run, models, old, new, better):
    lesions(models, [old] * 8, [new] * 8)
    outcome = run(*models.options())
    other, points = {"new": "old", "old": "new"}[better], f"{100 * (dice(10) - dice(20)):.2f}"
    assert sentence(models) == (
        f"label 1, Dice: {better} is better than {other} by {points} points ({points} to {points}; 8 of 8 cases, "
        "p = 0.008)"
    )
    assert sentence(models) in outcome.out and "Too few" not in outcome.out


def test_five_cases_are_too_few_which_is_said(run, models):
    lesions(models, [20] * 5, [10] * 5)
    outcome = run(*models.options())
    assert "does not tell old and new apart" in sentence(models)
    assert "Too few: 5 cases tell nothing apart, even if all differ alike: p is 0.062 at best" in outcome.out


def two_labels(first: int, second: int) -> np.ndarray:
    return np.hstack([square(first, 1), square(second, 2)])


def test_labels_and_the_mean_over_them(run, models):
    """The first label differs by little in all cases, the second is undefined in one of them."""
    references = [two_labels(0, 0)] * 6 + [two_labels(0, 100)]
    models.add("references", *references)
    models.add("old", *[two_labels(20, 10)] * 6, two_labels(20, 100))
    models.add("new", *[two_labels(10, 10)] * 6, two_labels(10, 100))
    outcome = run(*models.options())
    (pair,) = compared(models.root / "comparison")[0]["comparisons"]
    first, second = (pair["labels"]["each"][name]["dice"] for name in ("label 1", "label 2"))
    assert (first["cases"], first["p_value"], first["p_adjusted"]) == (7, 2 / 2**7, 4 / 2**7)
    assert (second["cases"], second["undefined_for_both"], second["tied"]) == (6, 1, 6)
    gain = dice(10) - dice(20)
    assert pair["labels"]["mean"]["dice"]["difference"]["value"] == pytest.approx((6 * gain / 2 + gain) / 7)
    assert (first["better"], second["better"], pair["labels"]["mean"]["dice"]["better"]) == ("new", None, "new")
    assert [line.split(",")[0] for line in outcome.out.splitlines() if ", Dice: " in line] == [
        "label 1",
        "label 2",
        "mean over labels",
    ]
    assert "p = 0.031 adjusted for 2 tests" in outcome.out


def test_six_cases_are_too_few_for_three_labels(run, models):
    masks = [np.hstack([square(0, label) for label in (1, 2, 3)])] * 6
    for folder in ("references", "old", "new"):
        models.add(folder, *masks)
    outcome = run(*models.options())
    assert "Too few: 6 cases tell no single label apart" in outcome.out
    assert "p is 0.031 at best, and 0.094 adjusted for 3 tests" in outcome.out


def test_what_one_model_misses_or_finds_where_nothing_is_stands_apart(run, models):
    """HD95 is undefined for who misses the lesion, Dice for who rightly finds none."""
    empty = square(100)
    models.add("references", square(), empty, square())
    models.add("old", square(100), empty, square())
    models.add("new", square(), square(90), square())
    outcome = run(*models.options())
    each = compared(models.root / "comparison")[0]["comparisons"][0]["labels"]["each"]["label 1"]
    counts = ("cases", "defined_for_a_alone", "defined_for_b_alone", "undefined_for_both")
    assert [each["dice"][name] for name in counts] == [2, 0, 1, 0]
    assert [each["hd95_pixels"][name] for name in counts] == [1, 0, 1, 1]
    assert each["hd95_pixels"]["difference"]["low"] is None
    assert "Left out: cases in which it is defined for A alone / the other alone / neither" in outcome.out


def test_nothing_defined(run, models):
    for folder in ("references", "old", "new"):
        models.add(folder, *[square(100)] * 2)
    (models.root / "old" / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "lesion": 1}}))
    assert run(*models.options()).code == 0
    assert sentence(models) == "lesion, Dice: no case in which it is defined for both old and new"


def test_smaller_distances_win(run, models):
    lesions(models, [30] * 7, [10] * 7)
    run(*models.options())
    hd95 = compared(models.root / "comparison")[0]["comparisons"][0]["labels"]["each"]["label 1"]["hd95_pixels"]
    assert hd95["difference"]["value"] < 0
    assert (hd95["won"], hd95["better"]) == (7, "new")


def test_each_of_several_models_is_compared_with_the_first(run, models):
    lesions(models, [20] * 7, [10] * 7)
    models.add("newest", *[square(20)] * 7)
    outcome = run(*models.options("old", "new", "newest"))
    found, rows = compared(models.root / "comparison")
    assert [(pair["model_a"], pair["model_b"]) for pair in found["comparisons"]] == [("old", "new"), ("old", "newest")]
    (new, newest) = (pair["labels"]["each"]["label 1"]["dice"] for pair in found["comparisons"])
    assert (new["p_value"], new["p_adjusted"], new["better"]) == (2 / 2**7, 4 / 2**7, "new")
    assert (newest["p_value"], newest["better"]) == (1, None)
    assert len(rows) == 2 * 7 * len(METRICS)
    assert "C  newest" in outcome.out and "Labels, Dice, percent: C - A" in outcome.out


def test_regions_and_labels(run, models):
    lesions(models, [20] * 7, [10] * 7)
    content = {"labels": {"background": 0, "whole": [1, 2], "core": 2}, "regions_class_order": [1, 2]}
    (models.root / "old" / "dataset.json").write_text(json.dumps(content))
    outcome = run(*models.options())
    found, rows = compared(models.root / "comparison")
    assert list(found["comparisons"][0]["regions"]["each"]) == ["whole", "core"]
    assert list(found["comparisons"][0]["labels"]["each"]) == ["label 1", "core"]
    assert {(row["kind"], row["name"]) for row in rows} == {
        ("region", "whole"),
        ("region", "core"),
        ("label", "label 1"),
        ("label", "core"),
    }
    assert "mean over regions, Dice: new is better than old" in outcome.out


SLICES = [f"patient{patient:03d}_slice{number}" for patient in range(7) for number in range(3)]


def test_a_patient_counts_once_if_asked(run, models):
    """Each patient's three slices differ by 10, 10 and 40 pixels' worth."""
    lesions(models, [50] * 21, [40, 40, 10] * 7, names=SLICES)
    outcome = run(*models.options())
    assert r"Cases of one patient are not independent" in outcome.out and r"--group '^patient\d+'" in outcome.out
    outcome = run(*models.options(), "--group", r"patient\d+")
    found, rows = compared(models.root / "comparison")
    lesion = found["comparisons"][0]["labels"]["each"]["label 1"]["dice"]
    assert (found["cases"], found["groups"], lesion["cases"], lesion["won"]) == (21, 7, 7, 7)
    assert lesion["p_value"] == 2 / 2**7
    assert lesion["mean_b"] == pytest.approx(np.mean([dice(40), dice(40), dice(10)]))
    assert (len(rows), rows[0]["group"]) == (21 * len(METRICS), "patient000")
    assert "7 of 7 groups" in sentence(models) and "not independent" not in outcome.out


def test_undefined_slices_of_a_patient_are_left_out_and_counted(run, models):
    lesions(models, [50] * 21, [40, 40, 10] * 7, names=SLICES)
    for folder in ("references", "old", "new"):
        models.add(folder, square(100), names=SLICES[:1])
    run(*models.options(), "--group", r"patient\d+")
    lesion = compared(models.root / "comparison")[0]["comparisons"][0]["labels"]["each"]["label 1"]["dice"]
    assert (lesion["cases"], lesion["undefined_for_both"]) == (7, 1)
    expected = np.mean([np.mean([dice(40), dice(10)]), *[np.mean([dice(40), dice(40), dice(10)])] * 6])
    assert lesion["mean_b"] == pytest.approx(expected)


def test_a_case_that_a_model_lacks_is_named_or_left_out(run, refused, models):
    lesions(models, OLD, NEW)
    (models.root / "new" / "case3.png").unlink()
    assert "references/case3.png has no prediction in" in refused(*models.options())
    outcome = run(*models.options(), "--chill")
    assert "Left out: 1 cases that a model lacks, such as case3 (--chill)" in outcome.out
    found, _ = compared(models.root / "comparison")
    assert (found["cases"], found["left_out"]) == (7, ["case3"])


def test_models_of_no_common_case_are_refused(refused, models):
    lesions(models, OLD, NEW)
    for i in range(8):
        (models.root / ("new", "old")[i % 2] / f"case{i}.png").unlink()
    assert "has no case in common" in refused(*models.options(), "--chill")


def test_other_labels_are_refused(refused, models):
    lesions(models, OLD, NEW)
    for folder, name in (("old", "lesion"), ("new", "polyp")):
        (models.root / folder / "dataset.json").write_text(json.dumps({"labels": {"background": 0, name: 1}}))
    assert "new/dataset.json name other labels" in refused(*models.options())


def test_a_label_that_one_model_alone_predicts_counts_for_both(run, models):
    """Without a dataset.json, the files of all models say which labels there are."""
    models.add("references", *[two_labels(0, 0)] * 6)
    models.add("old", *[two_labels(0, 100)] * 6)
    models.add("new", *[two_labels(0, 0)] * 6)
    run(*models.options())
    second = compared(models.root / "comparison")[0]["comparisons"][0]["labels"]["each"]["label 2"]["dice"]
    assert (second["mean_a"], second["mean_b"], second["won"]) == (0, 1, 6)


@pytest.mark.parametrize(
    ("folders", "message"),
    [(["old"], "old is one folder: give two or more"), (["old", "new", "old"], "old is given twice")],
    ids=["one", "twice"],
)
def test_two_different_folders_are_wanted(refused, models, folders, message):
    lesions(models, OLD, NEW)
    assert message in refused(*models.options(*folders))


@pytest.mark.parametrize("options", ["", "-p P Q", "-r R", "-d 1", "-p P Q -r R -d 1 -f 0"])
def test_folders_or_trained_folds(refused, options):
    assert "as -p and the references as -r, or trained folds" in refused("compare", *options.split())


def test_a_picture_beside_predictions_is_no_case(run, models):
    lesions(models, OLD, NEW)
    for _ in range(2):
        assert run(*models.options(), "-o", models.root / "old").code == 0
    assert (models.root / "old" / "comparison.png").exists()


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (("old", "new"), ["old", "new"]),
        (("results/a/fold_0/validation", "results/b/fold_0/validation"), ["a", "b"]),
        (("a/x/one", "b/x/two"), ["a/x/one", "b/x/two"]),
    ],
    ids=["beside", "nested", "different"],
)
def test_names_are_what_tells_folders_apart(tmp_path, folders, names):
    for folder in (*folders, "references"):
        (tmp_path / folder).mkdir(parents=True)
        Image.fromarray(square()).save(tmp_path / folder / "a.png")
    found = given_models([tmp_path / folder for folder in folders], tmp_path / "references")
    assert [model.name for model in found] == names


def test_a_folder_within_another_goes_by_its_whole_path(tmp_path):
    for folder in ("a", "a/b", "references"):
        (tmp_path / folder).mkdir()
        Image.fromarray(square()).save(tmp_path / folder / "case.png")
    found = given_models([tmp_path / "a", tmp_path / "a" / "b"], tmp_path / "references")
    assert all(model.name.endswith(end) for model, end in zip(found, ("/a", "/a/b"), strict=True))


LESION = {"background": 0, "lesion": 1}


def fold_of(trained, trainer: str, missing: dict[str, int], fold: int | str = 0, plans: str = "nnUNetPlans"):
    """A trained fold whose predictions miss so many pixels."""
    found = trained("Dataset118_ISIC2018", ".png", LESION, f"{trainer}__{plans}__2d", fold=fold)
    for name, pixels in missing.items():
        found.add(name, square(pixels), square())
    return found


def test_two_trainers(run, trained):
    cases = "abcdefg"
    fold_of(trained, "nnUNetTrainer", dict.fromkeys(cases, 20))
    fold = fold_of(trained, "nnUNetTrainerVMUNet", dict.fromkeys(cases, 10))
    fold.split(*cases)
    outcome = run("compare", "-d", 118, "-f", 0, "-tr", "nnUNetTrainer", "nnUNetTrainerVMUNet", "-np", 1)
    assert (outcome.code, outcome.err) == (0, "")
    found, _ = compared(fold.model.parent / "comparison")
    assert "lesion, Dice: nnUNetTrainerVMUNet is better than nnUNetTrainer by 5.85 points" in found["sentences"][0]
    (part,) = found["settings"]["models"]["nnUNetTrainer"]
    assert part["dataset"] == "Dataset118_ISIC2018" and part["predictions"].endswith("fold_0/validation")


def test_fold_all_is_told_to_say_little(run, trained):
    for trainer in "XY":
        fold_of(trained, trainer, {"a": 1, "b": 2}, "all")
    outcome = run("compare", "-d", 118, "-f", "all", "-tr", "X", "Y", "-np", 1)
    assert "Note: fold all was validated on cases that it was trained on" in outcome.out


def test_several_folds_are_pooled_and_plans_may_differ_too(run, trained):
    for trainer, plans, pixels in (("nnUNetTrainer", "nnUNetPlans", 20), ("X", "nnUNetVMUNetPlans", 10)):
        for fold, cases in enumerate(("abcd", "efgh")):
            last = fold_of(trained, trainer, dict.fromkeys(cases, pixels), fold, plans)
    folds = [{"train": [], "val": list(cases)} for cases in ("abcd", "efgh")]
    (last.preprocessed / "splits_final.json").write_text(json.dumps(folds))
    models = ("-tr", "nnUNetTrainer", "X", "-pl", "nnUNetPlans", "nnUNetVMUNetPlans")
    assert run("compare", "-d", 118, "-f", 0, 1, *models, "-np", 1).code == 0
    found, _ = compared(last.model.parent / "comparison")
    assert (found["cases"], found["settings"]["baseline"]) == (8, "nnUNetTrainer__nnUNetPlans")
    assert found["comparisons"][0]["model_b"] == "X__nnUNetVMUNetPlans"


def test_folds_of_other_splits_are_refused(refused, trained):
    fold_of(trained, "X", {"a": 1, "b": 1})
    fold = fold_of(trained, "Y", {"a": 1, "c": 1})
    command = ("compare", "-d", 118, "-f", 0, "-tr", "X", "Y", "-np", 1)
    message = refused(*command)
    assert "fold_0/validation/b.png has no counterpart in" in message
    assert "give --chill to compare the 1 common cases of 3" in message
    fold.split("a", "c")
    assert "gt_segmentations/c.png has no prediction in" in refused(*command)


def test_a_case_in_two_folds_is_refused(refused, trained):
    for trainer in "XY":
        for fold in (0, 1):
            fold_of(trained, trainer, {"a": 1}, fold)
    message = refused("compare", "-d", 118, "-f", 0, 1, "-tr", "X", "Y")
    assert "fold_0/validation/a.png are the same case: give folds with validation cases of their own" in message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("-tr X", "-tr, -pl and -c name one model: name two or more"),
        ("-tr X Y -pl P Q R", "-tr names 2 for 3 models: name one for all, or one for each"),
        ("-tr X X", "X__nnUNetPlans__2d is given twice"),
    ],
)
def test_models_are_named_one_for_all_or_one_for_each(refused, options, message):
    assert message in refused("compare", "-d", 118, "-f", 0, *options.split())


def figure_of(models: Models, folders=("old", "new")):
    found = given_models([models.root / folder for folder in folders], models.root / "references")
    cases = [case for model in found for case in model.cases().values()]
    evaluation = evaluate_cases(cases, None, tolerance=2, num_processes=1)
    return comparison_figure(Comparison(found, sorted(found[0].cases()), evaluation, None))


def test_in_the_picture_the_worst_losses_are_named_first(models):
    lesions(models, [10] * 50, [*range(30), *[5] * 20])
    (axes,) = figure_of(models).axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == [*(f"case{i}" for i in range(29, 9, -1)), "30 more"]


@pytest.mark.parametrize(
    ("cases", "labels", "panels"), [(1, 1, 1), (5, 1, 1), (40, 2, 3), (45, 3, 4), (800, 1, 1), (45, 13, 9)]
)
def test_the_picture_stays_one_that_a_screen_shows(tmp_path, cases, labels, panels):
    """Drawn from values alone: writing thousands of files would take longer."""
    figure = comparison_figure(random_comparison(cases, labels))
    assert sum(axes.axison for axes in figure.axes) == panels
    width, height = 150 * figure.get_size_inches()
    assert 600 <= width <= 3500 and 200 <= height <= 3500


class RandomEvaluation:
    """Dice and the others of two models, without files."""

    has_spacing = False

    def __init__(self, cases: int, labels: int) -> None:
        self.groups = {"labels": {f"organ {i}": (i,) for i in range(labels)}}
        self._values = np.random.RandomState(0).uniform(0.5, 1, (2 * cases, labels, 5))

    def values(self, kind: str) -> np.ndarray:
        return self._values


def random_comparison(cases: int, labels: int) -> Comparison:
    models = [type("Model", (), {"name": name})() for name in ("old", "new")]
    return Comparison(models, [f"case{i:04d}" for i in range(cases)], RandomEvaluation(cases, labels), None)


def test_neither_torch_nor_matplotlib_is_loaded_before_it_is_needed():
    code = "import sys, nnunet_vmunet.evaluation.comparison; print({'torch', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
