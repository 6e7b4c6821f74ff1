"""Two models' values of the same cases: the mean difference, its interval, who wins how often, and a p-value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .bootstrap import LEVEL, SEED, Estimate, estimate, mean_of_defined

FLIPS = 10_000
MOST_ENUMERATED = 13  # differences whose 2^13 signs are fewer than FLIPS
ALPHA = 1 - LEVEL
P_VALUES = {  # for comparison.json
    "method": "sign-flip permutation test of the mean difference, two-sided",
    "exact_up_to": MOST_ENUMERATED,
    "flips": FLIPS,
    "seed": SEED,
    "adjusted": "Holm, over the labels or regions and the models of one metric; over the models for the mean",
}

_CHUNK = 1000  # flips at a time: a few megabytes for a thousand cases
_EQUAL = 1e-12  # what rounding makes of two equal values; one pixel changes more


@dataclass(frozen=True)
class PairedComparison:
    """B against A in one metric, over the cases in which it is defined for both. What is undefined is NaN.

    difference: the mean of B - A in the metric's unit, with its 95 % percentile bootstrap interval over cases.
    won, lost, tied: cases in which B is better, worse, equal.
    p_value: of `sign_flip_p_values`. p_adjusted: the same, adjusted for what else was tested; see `adjusted`.
    """

    cases: int
    defined_for_a_alone: int
    defined_for_b_alone: int
    undefined_for_both: int
    mean_a: float
    mean_b: float
    difference: Estimate
    won: int
    lost: int
    tied: int
    p_value: float
    p_adjusted: float
    smaller_is_better: bool = False

    @property
    def left_out(self) -> int:
        """Cases in which the metric is undefined for one or for both."""
        return self.defined_for_a_alone + self.defined_for_b_alone + self.undefined_for_both

    @property
    def share_won(self) -> float:
        """Of the cases, the share that B won; ties stand apart."""
        return self.won / self.cases if self.cases else np.nan

    @property
    def better(self) -> str | None:
        """Which one, "a" or "b", where the data tells them apart, else None.

        It does where the interval excludes 0 and the adjusted p-value is at most 0.05. With few cases the interval
        alone would say so too soon: that of two cases that differ alike never holds 0.
        """
        low, high = self.difference.low, self.difference.high
        if not (low > 0 or high < 0) or not self.p_adjusted <= ALPHA:
            return None
        return "b" if (low > 0) != self.smaller_is_better else "a"


def paired_comparison(a: np.ndarray, b: np.ndarray, smaller_is_better: bool = False) -> PairedComparison:
    """Compare two models in one metric.

    a, b: (n,) values of the same n cases in the same order, NaN where undefined. The cases are taken as independent.
    smaller_is_better: as for distances; `difference` is B - A all the same.

    Raises:
        ValueError: other shapes, or no case.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 1 or a.shape != b.shape or not a.size:
        raise ValueError(f"a has shape {a.shape} and b {b.shape}: give one value per case, of the same cases")
    return paired_comparisons(a[:, None], b[:, None], [smaller_is_better])[0]


def paired_comparisons(a: np.ndarray, b: np.ndarray, smaller_is_better: Sequence[bool]) -> list[PairedComparison]:
    """The same for (n, m) values: one comparison for each column. Their p-values are not adjusted for each other."""
    differences = paired_differences(a, b)
    both = ~np.isnan(differences)
    a_alone, b_alone = (~np.isnan(a) & ~both).sum(axis=0), (~np.isnan(b) & ~both).sum(axis=0)
    counts = both.sum(axis=0)
    all_once = np.ones((1, len(a)))
    means_a, means_b = (mean_of_defined(np.where(both, values, np.nan), all_once)[0] for values in (a, b))
    intervals = estimate(lambda weights: mean_of_defined(differences, weights), len(a))
    p_values = sign_flip_p_values(differences)
    gains = np.where(smaller_is_better, -differences, differences)
    return [
        PairedComparison(
            cases=int(counts[i]),
            defined_for_a_alone=int(a_alone[i]),
            defined_for_b_alone=int(b_alone[i]),
            undefined_for_both=int(len(a) - counts[i] - a_alone[i] - b_alone[i]),
            mean_a=float(means_a[i]),
            mean_b=float(means_b[i]),
            # Resamples of a single defined value are all alike, which is no interval.
            difference=intervals[i] if counts[i] > 1 else Estimate(intervals[i].value, np.nan, np.nan),
            won=int((gains[:, i] > 0).sum()),
            lost=int((gains[:, i] < 0).sum()),
            tied=int((gains[:, i] == 0).sum()),
            p_value=float(p_values[i]),
            p_adjusted=float(p_values[i]),
            smaller_is_better=bool(smaller_is_better[i]),
        )
        for i in range(a.shape[1])
    ]


def paired_differences(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """b - a, NaN where either is, and exactly 0 where rounding alone tells them apart."""
    differences = b - a
    return np.where(np.abs(differences) < _EQUAL, 0.0, differences)


def sign_flip_p_values(differences: np.ndarray) -> np.ndarray:
    """Two-sided p-values of the means of (n, m) paired differences, as (m,); NaN are left out.

    If nothing told the models apart, each difference could as well have the other sign. The p-value is the share of all
    signs for which the sum is at least as far from 0 as it is. Up to MOST_ENUMERATED differences that are not 0 all
    signs are tried; beyond, FLIPS random ones and the true ones, so that it is at least 1 / (FLIPS + 1).

    A column without any number has the p-value NaN, one of zeros 1.
    """
    defined = ~np.isnan(differences)
    known = np.where(defined, differences, 0.0)
    p_values = np.full(known.shape[1], np.nan)
    counts = (known != 0).sum(axis=0)
    for column in np.flatnonzero(defined.any(axis=0) & (counts <= MOST_ENUMERATED)):
        values = known[known[:, column] != 0, column]
        p_values[column] = _as_far(_all_signs(len(values)) @ values, values).mean()
    many = np.flatnonzero(counts > MOST_ENUMERATED)
    if len(many):
        as_far = sum(_as_far(signs @ known[:, many], known[:, many]).sum(axis=0) for signs in _random_signs(len(known)))
        p_values[many] = (1 + as_far) / (1 + FLIPS)
    return p_values


def _as_far(sums: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Whether sums with flipped signs are at least as far from 0 as that of the values, whatever their rounding."""
    return np.abs(sums) >= np.abs(values.sum(axis=0)) - 1e-9 * np.abs(values).sum(axis=0)


def _all_signs(number: int) -> np.ndarray:
    """(2^number, number) of 1 and -1."""
    return 1 - 2 * (np.arange(2**number)[:, None] >> np.arange(number) & 1)


def _random_signs(num_cases: int) -> Iterator[np.ndarray]:
    """FLIPS rows of 1 and -1, the same for every call, in parts of (_CHUNK, num_cases)."""
    # RandomState rather than default_rng: NumPy promises never to change its stream.
    random = np.random.RandomState(SEED)
    for _ in range(FLIPS // _CHUNK):
        yield 1.0 - 2.0 * random.randint(0, 2, (_CHUNK, num_cases), dtype=np.int8)


def smallest_p_value(num_cases: int) -> float:
    """The least that the test can give: all differences have one sign, as two of the 2^n ways have it."""
    return max(2.0 ** (1 - num_cases), 1 / (FLIPS + 1)) if num_cases else np.nan


def adjusted(comparisons: Sequence[PairedComparison]) -> list[PairedComparison]:
    """The comparisons with their p-values adjusted for each other by Holm's method."""
    p_values = holm([comparison.p_value for comparison in comparisons])
    return [replace(found, p_adjusted=float(p)) for found, p in zip(comparisons, p_values, strict=True)]


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Holm's step-down adjustment (Scandinavian Journal of Statistics 6, 65-70, 1979); NaN stays and does not count.

    The chance that any of the adjusted values is at most 0.05 where nothing differs is at most 0.05.
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p)[: (~np.isnan(p)).sum()]  # NaN come last
    found = np.full(p.shape, np.nan)
    found[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return found
