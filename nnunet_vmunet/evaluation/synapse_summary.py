"""Synapse's metrics over a set of volumes: means per organ, and over the organs, by two conventions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import paper
from .bootstrap import Estimate, estimate, mean_of_defined
from .synapse import OrganAgreement

# The paper reports the organs in TransUNet's order, which `nnunet-vmunet convert synapse` numbers them in.
ORGANS = {organ: label for label, organ in enumerate(paper.SYNAPSE_DICE, start=1)}

METRICS = ("dice", "hd95_voxels", "hd95_mm")

# How empty masks are scored, by the names that the outputs carry.
CONVENTIONS = {
    "paper_convention": "The paper's convention: an empty prediction is Dice 0, HD95 0; that of an absent organ 1, 0",
    "undefined_excluded": "Undefined excluded: Dice where prediction and reference are empty, HD95 where either is",
}

Organs = dict[str, int]


@dataclass(frozen=True)
class ConventionSummary:
    """Dice in fractions of 1, HD95 in voxels and in millimetres."""

    organs: dict[str, dict[str, Estimate]]  # by organ and metric
    mean: dict[str, Estimate]  # over the organs
    excluded: dict[str, dict[str, int]]  # volumes left out, by organ and metric


def case_values(agreements: list[dict[int, OrganAgreement]], organs: Organs) -> dict[str, np.ndarray]:
    """(volumes, organs, metrics) under each convention."""
    found = [[by_label[label] for label in organs.values()] for by_label in agreements]
    return {
        "paper_convention": np.array([[organ.in_papers_convention() for organ in row] for row in found]),
        "undefined_excluded": np.array([[(organ.dice, *organ.hd95) for organ in row] for row in found]),
    }


def summarise(values: np.ndarray, organs: Organs) -> ConventionSummary:
    """(n, organs, metrics) values, NaN where undefined, to means over the volumes and their mean over the organs."""
    num_cases, *shape = values.shape
    flat = values.reshape(num_cases, -1)

    def organ_means(weights: np.ndarray) -> np.ndarray:
        return mean_of_defined(flat, weights)

    def overall_means(weights: np.ndarray) -> np.ndarray:
        means = organ_means(weights).reshape(-1, *shape)
        defined = ~np.isnan(means)
        with np.errstate(invalid="ignore"):  # no organ is defined: 0 / 0
            return np.where(defined, means, 0).sum(axis=1) / defined.sum(axis=1)

    per_organ = np.array(estimate(organ_means, num_cases), dtype=object).reshape(shape)
    excluded = np.isnan(values).sum(axis=0)
    return ConventionSummary(
        organs={organ: _by_metric(row) for organ, row in zip(organs, per_organ, strict=True)},
        mean=_by_metric(estimate(overall_means, num_cases)),
        excluded={organ: _by_metric(row) for organ, row in zip(organs, excluded.tolist(), strict=True)},
    )


def _by_metric(values) -> dict:
    return dict(zip(METRICS, values, strict=True))
