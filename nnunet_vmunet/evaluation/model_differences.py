"""Models against a baseline: the paired comparison in each metric of each label and region, and of their means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..files.case_groups import Groups
from .bootstrap import mean_of_defined
from .compared_models import Model
from .labels_report import METRICS, PERCENT, Evaluation
from .paired import PairedComparison, adjusted, paired_comparisons


@dataclass(frozen=True)
class Pair:
    """A model against the baseline. By kind ("labels", "regions"), by name and by metric, in the metrics' own units."""

    model_a: str
    model_b: str
    each: dict[str, dict[str, dict[str, PairedComparison]]]
    mean: dict[str, dict[str, PairedComparison]]  # over the names


@dataclass(frozen=True)
class Comparison:
    """What was compared and what was found."""

    models: Sequence[Model]  # the first is the baseline
    names: list[str]  # of the cases
    evaluation: Evaluation  # of all models' cases, one model after the other
    groups: Groups | None  # of the cases, if they are not independent

    @property
    def metrics(self) -> list[str]:
        """Those that are defined for this kind of files."""
        return [metric for metric in METRICS if metric != "hd95_mm" or self.evaluation.has_spacing]

    @property
    def units(self) -> str:
        """What counts as one."""
        return "cases" if self.groups is None else "groups"

    @cached_property
    def names_of_units(self) -> list[str]:
        """Of the cases or groups, sorted."""
        return self.names if self.groups is None else sorted(set(self.groups.values()))

    def values(self, kind: str) -> np.ndarray:
        """(models, cases, names, metrics), NaN where undefined."""
        values = self.evaluation.values(kind)[..., [METRICS.index(metric) for metric in self.metrics]]
        return values.reshape(len(self.models), -1, *values.shape[1:])

    def values_of_units(self, kind: str, place: int) -> tuple[np.ndarray, np.ndarray]:
        """The baseline's and another model's, (units, names + 1, metrics): the last is the mean over the names.

        place: of the pair in `pairs`.
        """
        values = self.values(kind)
        a, b = _with_mean(values[0], values[place + 1])
        return (a, b) if self.groups is None else _group_means(a, b, self.names, self.groups)

    @cached_property
    def pairs(self) -> list[Pair]:
        """Each model against the baseline; p-values are adjusted for the names and models of one kind and metric."""
        found = {kind: self._compared(kind) for kind in self.evaluation.groups}
        return [self._pair(place, {kind: rows[place] for kind, rows in found.items()}) for place in self._places]

    def tests(self, kind: str, metric: str) -> int:
        """How many p-values of the names are adjusted for each other."""
        found = [row[metric].p_value for pair in self.pairs for row in pair.each[kind].values()]
        return sum(not math.isnan(p_value) for p_value in found)

    @property
    def _places(self) -> range:
        return range(len(self.models) - 1)

    def _compared(self, kind: str) -> np.ndarray:
        """(pairs, names + 1, metrics) comparisons."""
        rows = []
        for place in self._places:
            a, b = self.values_of_units(kind, place)
            found = _comparisons(a, b, self.metrics)
            if self.groups is not None:
                values = self.values(kind)
                of_cases = _comparisons(*_with_mean(values[0], values[place + 1]), self.metrics)
                found = [_with_counts_of_cases(*both) for both in zip(found, of_cases, strict=True)]
            rows.append(np.array(found, dtype=object).reshape(a.shape[1:]))
        compared = np.stack(rows)
        _adjust(compared)
        return compared

    def _pair(self, place: int, found: dict[str, np.ndarray]) -> Pair:
        rows = {kind: [dict(zip(self.metrics, row, strict=True)) for row in of_kind] for kind, of_kind in found.items()}
        return Pair(
            self.models[0].name,
            self.models[place + 1].name,
            {
                kind: dict(zip(self.evaluation.groups[kind], of_kind[:-1], strict=True))
                for kind, of_kind in rows.items()
            },
            {kind: of_kind[-1] for kind, of_kind in rows.items()},
        )


def _comparisons(a: np.ndarray, b: np.ndarray, metrics: list[str]) -> list[PairedComparison]:
    """Of (n, names, metrics) values, one after the other."""
    smaller_is_better = [metric not in PERCENT for metric in metrics] * a.shape[1]
    return paired_comparisons(a.reshape(len(a), -1), b.reshape(len(b), -1), smaller_is_better)


def _with_counts_of_cases(of_groups: PairedComparison, of_cases: PairedComparison) -> PairedComparison:
    """A group is defined by its defined cases: what is left out is counted in cases."""
    return replace(
        of_groups,
        defined_for_a_alone=of_cases.defined_for_a_alone,
        defined_for_b_alone=of_cases.defined_for_b_alone,
        undefined_for_both=of_cases.undefined_for_both,
    )


def _with_mean(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, names, metrics) to (n, names + 1, metrics): the mean over the names that are defined for both comes last."""
    both = ~np.isnan(a) & ~np.isnan(b)
    numbers = both.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):  # no name is defined: 0 / 0
        means = [np.where(both, values, 0).sum(axis=1, keepdims=True) / numbers for values in (a, b)]
    return np.concatenate([a, means[0]], axis=1), np.concatenate([b, means[1]], axis=1)


def _group_means(a: np.ndarray, b: np.ndarray, names: list[str], groups: Groups) -> tuple[np.ndarray, np.ndarray]:
    """(n, names, metrics) values to (groups, names, metrics) means over each group's cases that both are defined in."""
    of_case = np.array([groups[name] for name in names])
    belongs = (np.array(sorted(set(of_case.tolist())))[:, None] == of_case).astype(np.float64)
    undefined = np.isnan(a) | np.isnan(b)
    known = (np.where(undefined, np.nan, values).reshape(len(values), -1) for values in (a, b))
    mean_a, mean_b = (mean_of_defined(values, belongs).reshape(-1, *a.shape[1:]) for values in known)
    return mean_a, mean_b


def _adjust(found: np.ndarray) -> None:
    """Adjust p-values of (pairs, names + 1, metrics) comparisons: of all names in a metric, and of the means in it."""
    for metric in range(found.shape[2]):
        for family in (found[:, :-1, metric], found[:, -1:, metric]):
            for place, one in zip(np.ndindex(family.shape), adjusted(family.ravel().tolist()), strict=True):
                family[place] = one
