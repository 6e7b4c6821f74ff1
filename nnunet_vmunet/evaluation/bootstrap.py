"""Percentile bootstrap over cases."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

SEED = 0
RESAMPLES = 2000
LEVEL = 0.95
INTERVALS = {"level": LEVEL, "method": "percentile bootstrap", "resamples": RESAMPLES, "seed": SEED}  # for metrics.json


@dataclass(frozen=True)
class Estimate:
    """A statistic of all cases and its 95 % interval; the ends are NaN where fewer than two cases were given."""

    value: float
    low: float
    high: float


def resampled_weights(num_cases: int) -> np.ndarray:
    """(RESAMPLES, num_cases): how often each resample draws each case; the same for every call."""
    # RandomState rather than default_rng: NumPy promises never to change its stream.
    return np.random.RandomState(SEED).multinomial(num_cases, np.full(num_cases, 1 / num_cases), RESAMPLES)


def estimate(statistic: Callable[[np.ndarray], np.ndarray], num_cases: int) -> list[Estimate]:
    """`statistic` maps (r, num_cases) weights of the cases to (r, m) values; returns m estimates."""
    values = statistic(np.ones((1, num_cases), np.int64))[0]
    low = high = np.full(values.shape, np.nan)
    if num_cases > 1:
        tail = 50 * (1 - LEVEL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a column of NaN has the interval NaN
            low, high = np.nanpercentile(statistic(resampled_weights(num_cases)), [tail, 100 - tail], axis=0)
    return [Estimate(*map(float, ends)) for ends in zip(values, low, high, strict=True)]


def mean_of_defined(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Means of (n, m) values over the cases under (r, n) weights, as (r, m); NaN are left out."""
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore"):  # nothing defined: 0 / 0
        return (weights @ np.where(defined, values, 0.0)) / (
            weights @ defined.astype(np.float64)
        )  # counts, exact; and floats multiply fast
