"""Two models over the same cases, made so that the answer is known: intervals, wins, p-values, the verdict."""

from dataclasses import astuple

import numpy as np
import pytest
from scipy.stats import permutation_test

from nnunet_vmunet.evaluation import paired_comparison
from nnunet_vmunet.evaluation.paired import adjusted, holm, paired_comparisons, sign_flip_p_values, smallest_p_value

NAN = np.nan


def values(cases: int, seed: int = 0) -> np.ndarray:
    return np.random.RandomState(seed).uniform(0.5, 0.9, cases)


@pytest.mark.parametrize("cases", [2, 10, 40])
def test_no_difference(cases):
    found = paired_comparison(values(cases), values(cases))
    assert (found.difference.value, found.difference.low, found.difference.high) == (0, 0, 0)
    assert (found.won, found.lost, found.tied) == (0, 0, cases)
    assert (found.p_value, found.better) == (1, None)


@pytest.mark.parametrize("cases", [10, 40])
def test_a_difference_in_one_case_tells_nothing_apart(cases):
    b = values(cases)
    b[3] += 0.1
    found = paired_comparison(values(cases), b)
    assert found.difference.value == pytest.approx(0.1 / cases)
    assert found.difference.low == 0  # resamples without that case
    assert (found.won, found.lost, found.tied) == (1, 0, cases - 1)
    assert (found.p_value, found.better) == (1, None)


@pytest.mark.parametrize("shift", [0.02, -0.02])
@pytest.mark.parametrize("smaller_is_better", [False, True])
@pytest.mark.parametrize(("cases", "p_value"), [(6, 2 / 2**6), (13, 2 / 2**13), (40, 1 / 10_001)])
def test_a_constant_shift(cases, p_value, smaller_is_better, shift):
    found = paired_comparison(values(cases), values(cases) + shift, smaller_is_better)
    ends = [found.difference.value, found.difference.low, found.difference.high]
    assert ends == pytest.approx([shift] * 3)
    assert found.p_value == pytest.approx(p_value)
    b_is_better = (shift > 0) != smaller_is_better
    assert (found.won, found.lost) == ((cases, 0) if b_is_better else (0, cases))
    assert found.better == ("b" if b_is_better else "a")


@pytest.mark.parametrize("cases", range(2, 6))
def test_fewer_than_six_cases_tell_nothing_apart(cases):
    """However alike they differ, and although the interval excludes 0."""
    found = paired_comparison(values(cases), values(cases) + 0.1)
    assert found.difference.low > 0
    assert found.p_value == smallest_p_value(cases) > 0.05
    assert found.better is None


def test_one_case_has_no_interval():
    found = paired_comparison(np.array([0.5, NAN]), np.array([0.6, 0.7]))
    assert found.difference.value == pytest.approx(0.1)
    assert np.isnan([found.difference.low, found.difference.high]).all()
    assert (found.p_value, found.better) == (1, None)


@pytest.mark.parametrize("cases", [2, 5, 12])
def test_every_sign_is_tried_as_scipy_does(cases):
    differences = values(cases, 1) - values(cases, 2)
    theirs = permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=True)
    assert sign_flip_p_values(differences[:, None])[0] == pytest.approx(theirs.pvalue, rel=1e-12)


def test_many_cases_are_flipped_at_random_to_about_what_the_normal_distribution_says():
    """The sum of n flipped differences has the variance of their squares' sum."""
    differences = np.random.RandomState(3).normal(0.1, 1, (500, 1))
    z = abs(differences.sum()) / np.sqrt((differences**2).sum())
    expected = 1 - np.abs(np.random.RandomState(4).normal(size=1_000_000) < z).mean()
    assert sign_flip_p_values(differences)[0] == pytest.approx(2 * expected, abs=0.01)
    assert sign_flip_p_values(differences) == sign_flip_p_values(differences)


def test_the_test_is_wrong_as_often_as_it_says():
    """Of 400 pairs of models that do not differ, 5 % have p at most 0.05."""
    differences = np.random.RandomState(5).normal(0, 1, (30, 400))
    assert (sign_flip_p_values(differences) <= 0.05).mean() == pytest.approx(0.05, abs=0.022)  # two standard errors


def test_undefined_cases_are_left_out_and_counted():
    a = np.array([0.5, 0.6, NAN, NAN, 0.2])
    b = np.array([0.6, NAN, 0.7, NAN, 0.2])
    found = paired_comparison(a, b)
    assert (found.cases, found.left_out) == (2, 3)
    assert (found.defined_for_a_alone, found.defined_for_b_alone, found.undefined_for_both) == (1, 1, 1)
    assert (found.mean_a, found.mean_b) == (pytest.approx(0.35), pytest.approx(0.4))
    assert (found.won, found.tied) == (1, 1)


def test_nothing_defined():
    found = paired_comparison(np.full(3, NAN), np.full(3, 0.5))
    assert (found.cases, found.defined_for_b_alone, found.better) == (0, 3, None)
    assert np.isnan([found.mean_b, found.difference.value, found.p_value, found.p_adjusted]).all()


def test_rounding_makes_no_winner():
    found = paired_comparison(np.array([0.1 + 0.2, 0.5]), np.array([0.3, 0.5]))
    assert found.tied == 2


def test_columns_are_compared_as_alone():
    a, b = (np.stack([values(20, seed), values(20, seed + 1)], axis=1) for seed in (0, 7))
    for i, found in enumerate(paired_comparisons(a, b, [False, True])):
        alone = paired_comparison(a[:, i], b[:, i], bool(i))
        assert (found.won, found.p_value, found.smaller_is_better) == (alone.won, alone.p_value, bool(i))
        assert astuple(found.difference) == pytest.approx(astuple(alone.difference))


def test_holms_adjustment():
    """Worked by hand: sorted 0.01, 0.02, 0.04 times 3, 2, 1."""
    np.testing.assert_allclose(holm([0.04, 0.01, NAN, 0.02]), [0.04, 0.03, NAN, 0.04])
    np.testing.assert_allclose(holm([0.5, 0.6]), [1, 1])


def test_what_is_told_apart_alone_may_not_be_among_many():
    shifted, others = paired_comparison(values(6), values(6) + 0.1), paired_comparison(values(6), values(6))
    assert shifted.better == "b"
    among_many = adjusted([shifted, others])[0]
    assert (among_many.p_value, among_many.p_adjusted) == (2 / 64, 4 / 64)
    assert among_many.better is None


@pytest.mark.parametrize("shapes", [((3,), (4,)), ((2, 2), (2, 2)), ((0,), (0,))], ids=str)
def test_other_shapes_are_refused(shapes):
    with pytest.raises(ValueError, match="give one value per case"):
        paired_comparison(*(np.zeros(shape) for shape in shapes))
