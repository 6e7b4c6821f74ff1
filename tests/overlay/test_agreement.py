"""Which slices of a volume are drawn."""

import numpy as np

from nnunet_vmunet.overlay.agreement import areas, choose_slices


def ball(center: tuple[int, int, int], radius: float) -> np.ndarray:
    """(30, 30, 30) bool, index 0 the slice."""
    distance = np.linalg.norm(np.indices((30, 30, 30)) - np.reshape(center, (3, 1, 1, 1)), axis=0)
    return distance <= radius


def organs(*balls: np.ndarray) -> np.ndarray:
    """(30, 30, 30) uint8 with the labels 1, 2, ..."""
    volume = np.zeros((30, 30, 30), np.uint8)
    for label, where in enumerate(balls, start=1):
        volume[where] = label
    return volume


def chosen(prediction: np.ndarray, reference: np.ndarray | None, number: int) -> list[int]:
    labels = {str(label): (label,) for label in range(1, 4)}
    return choose_slices(areas(prediction, reference, labels), number)


def test_one_slice_goes_through_the_middle_of_the_organ():
    assert chosen(organs(ball((12, 15, 15), 6)), None, 1) == [12]


def test_every_organ_is_seen_where_it_is_large():
    found = chosen(organs(ball((4, 8, 8), 3), ball((15, 15, 15), 5), ball((24, 20, 20), 4)), None, 3)
    assert sorted(found) == [4, 15, 24]


def test_a_small_organ_counts_as_much_as_a_large_one():
    found = chosen(organs(ball((20, 15, 15), 9), ball((2, 5, 5), 1)), None, 2)
    assert sorted(found) == [2, 20]


def test_the_slice_with_most_disagreement_is_among_them():
    reference = organs(ball((10, 15, 15), 6), ball((21, 15, 15), 6))
    prediction = reference.copy()
    prediction[13] = 0  # neither where the organs are largest nor far from there
    assert 13 in chosen(prediction, reference, 1)
    assert 13 in chosen(prediction, reference, 3)
    assert 13 not in chosen(reference, reference, 3)


def test_where_nothing_is_left_to_see_slices_keep_their_distance():
    found = sorted(chosen(organs(ball((15, 15, 15), 9)), None, 3))
    assert np.diff(found).min() >= 3
    assert all(6 < index < 24 for index in found)


def test_without_organs_they_are_evenly_spread():
    assert chosen(organs(), organs(), 3) == [5, 15, 25]


def test_there_are_no_more_than_the_volume_has():
    for prediction in (organs(ball((15, 15, 15), 9)), organs()):
        assert sorted(chosen(prediction, None, 40)) == list(range(30))
