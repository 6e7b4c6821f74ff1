"""Intervals over cases: repeatable, and about as wide as theory says."""

import numpy as np
import pytest

from nnunet_vmunet.evaluation.bootstrap import RESAMPLES, estimate, mean_of_defined, resampled_weights


def test_every_resample_draws_as_many_cases_as_there_are_and_repeats():
    weights = resampled_weights(7)
    assert weights.shape == (RESAMPLES, 7)
    assert (weights.sum(axis=1) == 7).all()
    assert weights.std() > 0.5
    np.testing.assert_array_equal(weights, resampled_weights(7))


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution():
    values = np.random.RandomState(1).normal(3, 2, (400, 1))
    (found,) = estimate(lambda weights: mean_of_defined(values, weights), 400)
    half = 1.96 * values.std() / np.sqrt(400)
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(found.value - half, abs=0.1 * half)
    assert found.high == pytest.approx(found.value + half, abs=0.1 * half)


def test_equal_cases_leave_no_doubt():
    (found,) = estimate(lambda weights: mean_of_defined(np.full((5, 1), 0.25), weights), 5)
    assert (found.value, found.low, found.high) == (0.25, 0.25, 0.25)


def test_one_case_has_no_interval():
    (found,) = estimate(lambda weights: mean_of_defined(np.array([[0.7]]), weights), 1)
    assert found.value == 0.7
    assert np.isnan(found.low) and np.isnan(found.high)


def test_undefined_values_are_left_out_of_means():
    values = np.array([[1, np.nan], [np.nan, np.nan], [3, np.nan]])
    weights = np.array([[1, 1, 1], [3, 0, 1], [0, 3, 0]])
    expected = [[2, np.nan], [1.5, np.nan], [np.nan, np.nan]]
    np.testing.assert_allclose(mean_of_defined(values, weights), expected)


def test_a_resample_of_undefined_values_alone_does_not_spoil_the_interval():
    first, never = estimate(lambda weights: mean_of_defined(np.array([[1, np.nan], [np.nan, np.nan]]), weights), 2)
    assert (first.value, first.low, first.high) == (1, 1, 1)
    assert np.isnan([never.value, never.low, never.high]).all()
