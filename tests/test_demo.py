"""The demo's own part: what it generates, what it makes of the commands' results. A slow test runs it whole."""

import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from nnunet_vmunet import demo
from nnunet_vmunet.cli import main
from nnunet_vmunet.synthetic_lesions import lesion_photograph

HELD_OUT = ("ISIC_0000003", "ISIC_0000004", "ISIC_0000005")  # after the three photographs of the release below


@pytest.fixture
def commands(monkeypatch):
    """Small photographs, and commands that do nothing, but for a prediction that is right in these parts of its cases.

    Call it with the parts, and get the list of the commands that have run.
    """
    monkeypatch.setattr(demo, "RELEASE", {"Training": 2, "Validation": 1})
    monkeypatch.setattr(demo, "RELEASE_SIZES", ((90, 60),))
    monkeypatch.setattr(demo, "HELD_OUT_SIZES", ((90, 60), (60, 90), (80, 80)))
    ran = []

    def install(shares) -> list[str]:
        def run(command, cwd: Path, **_):
            ran.append(Path(command[0]).name)
            if command[1] == "predict":
                (cwd / "masks").mkdir()
                for share, name in zip(shares, HELD_OUT, strict=True):
                    lesion = np.array(Image.open(cwd / "truth" / f"{name}_segmentation.png")) > 0
                    found = lesion & (lesion.cumsum().reshape(lesion.shape) <= share * lesion.sum())
                    Image.fromarray(found.astype(np.uint8)).save(cwd / "masks" / f"{name}.png")
            return SimpleNamespace(returncode=0)

        monkeypatch.setattr(subprocess, "run", run)
        return ran

    return install


def test_the_predictions_are_drawn_and_scored(commands, tmp_path, capsys):
    ran = commands(shares=(1, 0.9, 0.8))
    assert main(["demo", "-o", str(tmp_path / "demo")]) == 0
    assert "nnUNetv2_train" in ran
    dice = [2 * share / (1 + share) for share in (1, 0.9, 0.8)]
    printed = capsys.readouterr().out
    for name, value in zip(HELD_OUT, dice, strict=True):
        assert float(printed.split(f"{name}  Dice ")[1].split()[0]) == pytest.approx(value, abs=0.01)
    pictures = {file.stem for file in (tmp_path / "demo" / "overlay").iterdir()}
    assert pictures == {*HELD_OUT, "contact_sheet"}


def test_a_bad_model_fails(commands, tmp_path, capsys):
    commands(shares=(1, 0.5, 0))
    assert main(["demo", "-o", str(tmp_path / "demo")]) == 2
    assert str(tmp_path / "demo") in capsys.readouterr().err


def test_a_command_that_fails_is_named(tmp_path, capsys, commands, monkeypatch):
    commands(shares=())
    monkeypatch.setattr(
        subprocess, "run", lambda command, **_: SimpleNamespace(returncode=3 * ("nnUNetv2_train" in command[0]))
    )
    assert main(["demo", "-o", str(tmp_path / "demo")]) == 2
    assert "nnUNetv2_train ended with exit code 3" in capsys.readouterr().err


def test_an_earlier_demo_is_replaced_on_request(commands, tmp_path):
    ran = commands(shares=(1, 1, 1))
    assert main(["demo", "-o", str(tmp_path / "demo")]) == 0
    (tmp_path / "demo" / "left over").touch()
    assert main(["demo", "-o", str(tmp_path / "demo"), "--overwrite"]) == 0
    assert ran.count("nnUNetv2_train") == 2
    assert not (tmp_path / "demo" / "left over").exists()


def test_a_folder_with_something_in_it_is_left_alone(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("years of work")
    assert main(["demo", "-o", str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert main(["demo", "-o", str(tmp_path), "--overwrite"]) == 2
    assert "holds no earlier demo" in capsys.readouterr().err
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_generated_photographs_repeat_and_differ():
    first, again, other = (lesion_photograph(np.random.default_rng([7, i]), 90, 60) for i in (0, 0, 1))
    assert np.array_equal(first[0], again[0]) and np.array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


def test_generated_lesions_are_darker_than_the_skin_around_them():
    for i in range(10):
        photograph, mask = lesion_photograph(np.random.default_rng([3, i]), 120, 90)
        assert photograph.size == mask.size == (120, 90)
        brightness, lesion = np.array(photograph.convert("L")), np.array(mask) > 0
        assert set(np.unique(np.array(mask))) == {0, 255}
        lit = brightness > 20  # not a dark corner or a hair
        assert brightness[lesion & lit].mean() < brightness[~lesion & lit].mean()
