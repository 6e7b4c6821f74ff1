import numpy as np
import pytest
from PIL import Image

from nnunet_vmunet.cli import main
from nnunet_vmunet.demo import _look
from nnunet_vmunet.synthetic_lesions import lesion_photograph


def test_the_predictions_are_drawn_and_scored(tmp_path, capsys):
    predicted = {"ISIC_1": slice(0, 30), "ISIC_2": slice(15, 45), "ISIC_3": slice(30, 60)}
    for folder in ("photos", "masks", "truth"):
        (tmp_path / folder).mkdir()
    for name, rows in predicted.items():
        mask, truth = np.zeros((2, 60, 90), np.uint8)
        mask[rows], truth[:30] = 1, 255
        Image.new("RGB", (90, 60), "pink").save(tmp_path / "photos" / f"{name}.jpg")
        Image.fromarray(mask).save(tmp_path / "masks" / f"{name}.png")
        Image.fromarray(truth).save(tmp_path / "truth" / f"{name}_segmentation.png")
    assert _look(tmp_path) == pytest.approx((1 + 0.5 + 0) / 3)
    pictures = {file.stem for file in (tmp_path / "overlay").iterdir()}
    assert pictures == {*predicted, "contact_sheet"}
    assert "ISIC_2  Dice 0.500" in capsys.readouterr().out


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
