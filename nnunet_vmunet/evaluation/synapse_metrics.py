"""Synapse's metrics: Dice and HD95 per organ of one volume."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from .label_metrics import Agreement, Spacing, label_agreements


def in_papers_convention(organ: Agreement) -> tuple[float, ...]:
    """(Dice, HD95, ...) as the paper's code scores empty masks.

    An empty prediction is (0, 0), whether or not the organ is there; a prediction of an organ that is not there is
    (1, 0).
    """
    if organ.pred_pixels == 0:
        return (0.0, *(0.0 for _ in organ.hd95))
    if organ.reference_pixels == 0:
        return (1.0, *(0.0 for _ in organ.hd95))
    return (organ.dice, *organ.hd95)


def synapse_metrics(
    pred: np.ndarray,
    reference: np.ndarray,
    spacing_mm: Spacing | None = None,
    labels: Iterable[int] = range(1, 9),
    empty: str = "paper",
) -> dict[int, dict[str, float]]:
    """Dice and the 95th percentile of the surface distances (HD95) of each label (VM-UNet, section 4).

    pred, reference: label maps of one equal shape; labels that are not asked for count as background.
    spacing_mm: of the array's axes in this order (z, y, x for an array of SimpleITK's); HD95 is then in millimetres.
        None gives voxels, as the paper reports.
    empty: "paper" scores an empty prediction (Dice 0, HD95 0) and a prediction where the reference is empty (1, 0).
        "nan" gives NaN for what is undefined: Dice where both are empty, HD95 where either is.

    Returns {label: {"dice", "hd95"}}, Dice as a fraction of 1.

    Raises:
        ValueError: shapes that differ, values that are no integers, or arguments outside these.
    """
    if empty not in ("paper", "nan"):
        raise ValueError(f'empty is {empty!r}: give "paper" or "nan"')
    scores = {
        label: in_papers_convention(found) if empty == "paper" else (found.dice, *found.hd95)
        for label, found in organ_agreements(pred, reference, labels, [spacing_mm]).items()
    }
    return {label: {"dice": dice, "hd95": hd95} for label, (dice, hd95) in scores.items()}


def organ_agreements(
    pred: np.ndarray, reference: np.ndarray, labels: Iterable[int], spacings: Sequence[Spacing | None]
) -> dict[int, Agreement]:
    """What `synapse_metrics` reports, before any convention, with one HD95 for each of `spacings` (None: voxels).

    Raises:
        ValueError: as `synapse_metrics`.
    """
    labels = list(labels)
    if not labels or min(labels) < 1:
        raise ValueError(f"labels are {labels}: give whole numbers from 1")
    return label_agreements(pred, reference, {label: (label,) for label in labels}, spacings)
