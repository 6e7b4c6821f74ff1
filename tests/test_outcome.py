"""benchmarks/outcome.py: its arithmetic, its table, and a trial from generated images to the table."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from nnunet_vmunet.errors import InputError
from nnunet_vmunet.schedule import cosine_lr
from nnunet_vmunet.synthetic_lesions import lesion_photograph

TESTS = Path(__file__).resolve().parent
BENCHMARKS = TESTS.parent / "benchmarks"
TRAINERS = ("nnUNetTrainer", "nnUNetTrainerVMUNet", "nnUNetTrainerVMUNet_paper", "nnUNetTrainerVMUNet_DA")


@pytest.fixture
def load(monkeypatch):
    """Imports a module of the benchmark as the benchmark, or nnU-Net's search, does."""

    def load(name: str):
        for folder in (BENCHMARKS, BENCHMARKS / "outcome_trainers"):
            monkeypatch.syspath_prepend(str(folder))
        there = sys.modules.get(name)
        if there is None or not Path(there.__file__).is_relative_to(BENCHMARKS):
            # Another package is called outcome, which Selenium needs: until the test ends, the name is the benchmark's.
            monkeypatch.setitem(sys.modules, name, None)
            del sys.modules[name]
        return __import__(name)

    return load


@pytest.mark.parametrize(
    ("images", "batch", "steps", "seen"),
    [
        pytest.param(8400, 32, 260, 8320, id="rounded down"),
        pytest.param(3400, 24, 140, 3360, id="a small batch takes more steps"),
        pytest.param(8400, 100, 80, 8000, id="a large batch takes fewer"),
        pytest.param(40, 32, 10, 320, id="one step an epoch at least"),
    ],
)
def test_every_batch_size_sees_the_same_images_but_for_rounding(load, images, batch, steps, seen):
    budget = load("image_budget").ImageBudget(images)
    assert (budget.steps(batch), budget.images_seen(batch)) == (steps, seen)


@pytest.mark.parametrize("small", [False, True])
def test_a_budget_reaches_nnunets_commands(load, monkeypatch, small):
    budget = load("image_budget").ImageBudget(3400, small)
    for name, value in budget.environment().items():
        monkeypatch.setenv(name, value)
    assert load("image_budget").ImageBudget.from_environment() == budget


def test_our_learning_rate_falls_once_within_the_budget(load, monkeypatch):
    class Planned:
        """In place of one of our trainers."""

        configuration_manager = SimpleNamespace(batch_size=32)

        def _plan_for_vmunet(self) -> None:
            self.num_iterations_per_epoch = "one pass"

    monkeypatch.setenv("OUTCOME_IMAGES", "8400")
    trainer = type("Trainer", (load("trainers").WithBudget, Planned), {})()
    trainer._plan_for_vmunet()
    assert trainer.num_epochs * trainer.num_iterations_per_epoch == 260
    rates = [cosine_lr(epoch, 1e-3, trainer.t_max) for epoch in range(trainer.num_epochs)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == 1e-3
    assert rates[-1] < 5e-5


def test_stock_nnunet_gets_the_budget_before_its_learning_rate_is_scheduled(load, monkeypatch):
    trainers = load("trainers")
    trainer = object.__new__(trainers.nnUNetTrainer_outcome)
    trainer.configuration_manager = SimpleNamespace(batch_size=100)
    found = []
    monkeypatch.setattr(
        trainers.nnUNetTrainer,
        "initialize",
        lambda self: found.append((self.num_epochs, self.num_iterations_per_epoch)),
    )
    monkeypatch.setenv("OUTCOME_IMAGES", "8400")
    trainer.initialize()
    assert found == [(10, 8)]


def test_only_the_papers_trainer_validates_whole_in_each_epoch_as_it_chooses_by_that(load):
    trainers = load("trainers")
    batches = {
        name: getattr(trainers, f"{name}_outcome").num_val_iterations_per_epoch
        for name in TRAINERS
        if name != "nnUNetTrainer"
    }
    assert batches == {
        "nnUNetTrainerVMUNet": 1,
        "nnUNetTrainerVMUNet_paper": trainers.nnUNetTrainerVMUNet.num_val_iterations_per_epoch,
        "nnUNetTrainerVMUNet_DA": 1,
    }


def estimate(value, low, high) -> dict:
    return {"value": value, "low": low, "high": high}


def metrics(dice: float) -> dict:
    of_label = {"dice": estimate(dice, dice - 0.1, dice + 0.1), "iou": estimate(None, None, None)}
    return {"mean_over_cases": {"labels": {"each": {"lesion": of_label}, "mean": of_label}}}


def pair(value, low, high, better) -> dict:
    found = {"dice": {"difference": estimate(value, low, high), "better": better}}
    return {"labels": {"each": {"lesion": found}, "mean": found}}


def test_a_column_says_whether_it_is_told_apart_from_the_baseline(load):
    table = load("outcome_table")
    trained = {name: {"steps": 260, "images": 8320, "minutes": 7.25} for name in ("A", "B", "C", "D")}
    comparison = {
        "comparisons": [pair(0.021, 0.01, 0.032, "B"), pair(-0.02, -0.04, 0.001, None), pair(-0.05, -0.06, -0.04, "A")]
    }
    of_each = {name: metrics(0.8) for name in trained}
    rows = {(row.what, row.measure): row for row in table.outcome_rows(trained, of_each, comparison)}
    printed = {key: [table.cell(row, column) for column in row.values] for key, row in rows.items()}
    assert printed == {
        ("training", "steps"): ["260"] * 4,
        ("training", "images seen"): ["8320"] * 4,
        ("training", "time (min)"): ["7.25"] * 4,
        ("lesion", "Dice (%)"): ["80.0 (70.0 to 90.0)"] * 4,
        ("lesion", "IoU (%)"): [],  # undefined
        ("lesion", "Dice, difference to A (points)"): [
            "+2.1 (+1.0 to +3.2), better",
            "-2.0 (-4.0 to +0.1), not told apart",
            "-5.0 (-6.0 to -4.0), worse",
        ],
    }


def test_volumes_become_a_raw_dataset_with_a_split(load, tmp_path):
    outcome = load("outcome")
    data = next(data for data in outcome.DATA_SETS if data.is_volumes)
    run = outcome.Outcome(tmp_path / "out", tmp_path, data, outcome.ImageBudget(8))
    with pytest.raises(InputError, match=r"holds no \.nii\.gz"):
        run._write_volumes()
    for part in ("images", "labels"):
        (tmp_path / data.folder / part).mkdir(parents=True)
        for case in range(4):
            (tmp_path / data.folder / part / f"case_{case}.nii.gz").write_text(f"{part} {case}")
    run._write_volumes()
    raw = tmp_path / "out" / "nnUNet_raw" / data.nnunet_name
    assert (raw / "imagesTr" / "case_2_0000.nii.gz").read_text() == "images 2"
    assert (raw / "labelsTr" / "case_2.nii.gz").read_text() == "labels 2"
    assert json.loads((raw / "dataset.json").read_text())["labels"] == {"background": 0, "anterior": 1, "posterior": 2}
    (fold,) = json.loads((raw / "splits_final.json").read_text())
    assert sorted(fold["train"] + fold["val"]) == [f"case_{case}" for case in range(4)]


def test_trainings_of_other_settings_are_not_taken_for_these(load, tmp_path):
    outcome = load("outcome")
    outcome.settle(tmp_path, {"share": 1.0, "small": False})
    outcome.settle(tmp_path, {"share": 1.0, "small": False})
    with pytest.raises(InputError, match="give another folder as -o"):
        outcome.settle(tmp_path, {"share": 0.25, "small": False})


def test_a_command_that_fails_names_its_log(load, tmp_path, monkeypatch):
    outcome = load("outcome")
    monkeypatch.setattr(load("whole_trainings"), "run", lambda command, environment, log: 3)
    run = outcome.Outcome(tmp_path, tmp_path, outcome.DATA_SETS[0], outcome.ImageBudget(8))
    with pytest.raises(InputError, match=r"nnunet-vmunet ended with exit code 3: .*register\.txt says why"):
        run.run()
    assert not (tmp_path / "done").exists()


@pytest.mark.slow
def test_a_trial_ends_with_a_table_and_is_not_run_again(tmp_path):
    pictures = tmp_path / "data" / "isic2018_256"
    for part in ("images", "masks"):
        (pictures / part).mkdir(parents=True)
    for case in range(8):
        photograph, mask = lesion_photograph(np.random.default_rng(case), 64, 64)
        photograph.save(pictures / "images" / f"ISIC_{case}.jpg")
        mask.save(pictures / "masks" / f"ISIC_{case}_segmentation.png")
    output = tmp_path / "out"
    options = ["-i", tmp_path / "data", "-o", output, "--only", "isic", "--small"]
    finished = subprocess.run(
        [sys.executable, TESTS / "benchmark_twice.py", "outcome", *options],
        env={**os.environ, "nnUNet_def_n_proc": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    first, again = finished.stdout.split("AGAIN")
    heading = f"| | | {' | '.join(TRAINERS)} |"
    assert heading in first
    assert first[first.index(heading) :].strip() == again[again.index(heading) :].strip()
    written = json.loads((output / "ISIC2018.json").read_text())
    rows = {(row["what"], row["measure"]): row["values"] for row in written["rows"]}
    assert set(rows["lesion", "Dice (%)"]) == set(TRAINERS)
    assert set(rows["lesion", "Dice, difference to nnUNetTrainer (points)"]) == set(TRAINERS[1:])
    assert all(minutes > 0 for minutes in rows["training", "time (min)"].values())
    plans = output / "nnUNet_preprocessed" / "Dataset901_ISIC2018" / "nnUNetVMUNetPlansPaper.json"
    assert json.loads(plans.read_text())["configurations"]["2d"]["patch_size"] == [64, 64]
    assert not list(output.rglob("checkpoint_*.pth"))
