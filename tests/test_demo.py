import numpy as np
import pytest
from PIL import Image

from nnunet_vmunet.cli import main
from nnunet_vmunet.demo import PANEL, HeldOut, _picture
from nnunet_vmunet.synthetic_lesions import lesion_photograph


def held_out(prediction: np.ndarray) -> HeldOut:
    truth = np.zeros((4, 4), bool)
    truth[:2] = True
    return HeldOut("ISIC_1", Image.new("RGB", (4, 4)), truth, prediction)


@pytest.mark.parametrize(
    ("rows", "dice"), [(slice(0, 2), 1.0), (slice(1, 3), 0.5), (slice(2, 4), 0.0), (slice(0, 0), 0.0)], ids=str
)
def test_dice_is_twice_the_overlap_over_the_sum(rows, dice):
    prediction = np.zeros((4, 4), bool)
    prediction[rows] = True
    assert held_out(prediction).dice == pytest.approx(dice)


def test_the_picture_has_three_panels_for_each_photograph_two_to_a_row():
    photograph, mask = lesion_photograph(np.random.default_rng(0), 120, 90)
    truth = np.array(mask) > 0
    picture = _picture([HeldOut(str(i), photograph, truth, ~truth) for i in range(3)])
    assert picture.width > 6 * PANEL[0]
    assert 2 * PANEL[1] < picture.height < 3 * PANEL[1]


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
