"""Figures of cases and names to their means over the cases, each with its interval, and to the mean over the names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from .bootstrap import Estimate, estimate, mean_of_defined


@dataclass(frozen=True)
class Summary:
    """Estimates by name and metric, in the units of the values that were summarised."""

    each: dict[str, dict[str, Estimate]]
    mean: dict[str, Estimate]  # over the names
    excluded: dict[str, dict[str, int]]  # cases that a mean leaves out because the metric is undefined there

    def as_dict(self, names: str) -> dict:
        """For metrics.json, the names under the key that `names` gives."""
        each = {
            name: {metric: {**asdict(found), "excluded": self.excluded[name][metric]} for metric, found in row.items()}
            for name, row in self.each.items()
        }
        return {names: each, "mean": {metric: asdict(found) for metric, found in self.mean.items()}}


def summarise(values: np.ndarray, names: Sequence[str], metrics: Sequence[str]) -> Summary:
    """(n, names, metrics) values of n cases, NaN where undefined, to means over the cases."""
    flat = values.reshape(len(values), -1)
    excluded = np.isnan(values).sum(axis=0).tolist()
    return summarise_by(lambda weights: mean_of_defined(flat, weights), len(values), names, metrics, excluded)


def summarise_by(
    statistic: Callable[[np.ndarray], np.ndarray],
    num_cases: int,
    names: Sequence[str],
    metrics: Sequence[str],
    excluded: list[list[int]],
) -> Summary:
    """`statistic` maps (r, num_cases) weights of the cases to (r, names * metrics) values."""
    shape = len(names), len(metrics)

    def mean_over_names(weights: np.ndarray) -> np.ndarray:
        found = statistic(weights).reshape(-1, *shape)
        defined = ~np.isnan(found)
        with np.errstate(invalid="ignore"):  # no name is defined: 0 / 0
            return np.where(defined, found, 0).sum(axis=1) / defined.sum(axis=1)

    each = np.array(estimate(statistic, num_cases), dtype=object).reshape(shape)
    return Summary(
        each={name: dict(zip(metrics, row, strict=True)) for name, row in zip(names, each, strict=True)},
        mean=dict(zip(metrics, estimate(mean_over_names, num_cases), strict=True)),
        excluded={name: dict(zip(metrics, row, strict=True)) for name, row in zip(names, excluded, strict=True)},
    )
