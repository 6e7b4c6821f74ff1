"""Synapse's metrics: Dice and HD95 per organ of one volume."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .surface_distance import hd95, surface

Spacing = Sequence[float]


@dataclass(frozen=True)
class OrganAgreement:
    """One organ of one volume. What is undefined is NaN: Dice where both masks are empty, HD95 where either is."""

    pred_voxels: int
    reference_voxels: int
    dice: float
    hd95: tuple[float, ...]  # one for each spacing that was asked for

    def in_papers_convention(self) -> tuple[float, ...]:
        """(Dice, HD95, ...) as the paper's code scores empty masks.

        An empty prediction is (0, 0), whether or not the organ is there; a prediction of an organ that is not there
        is (1, 0).
        """
        if self.pred_voxels == 0:
            return (0.0, *(0.0 for _ in self.hd95))
        if self.reference_voxels == 0:
            return (1.0, *(0.0 for _ in self.hd95))
        return (self.dice, *self.hd95)


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
    agreements = organ_agreements(pred, reference, labels, [spacing_mm])
    scores = {
        label: found.in_papers_convention() if empty == "paper" else (found.dice, *found.hd95)
        for label, found in agreements.items()
    }
    return {label: {"dice": dice, "hd95": hd95_} for label, (dice, hd95_) in scores.items()}


def organ_agreements(
    pred: np.ndarray, reference: np.ndarray, labels: Iterable[int], spacings: Sequence[Spacing | None]
) -> dict[int, OrganAgreement]:
    """What `synapse_metrics` reports, before any convention, with one HD95 for each of `spacings` (None: voxels).

    Raises:
        ValueError: as `synapse_metrics`.
    """
    from scipy.ndimage import find_objects

    labels = list(labels)
    if not labels or min(labels) < 1:
        raise ValueError(f"labels are {labels}: give whole numbers from 1")
    pred, reference = _label_map(pred, "pred"), _label_map(reference, "reference")
    if pred.shape != reference.shape:
        raise ValueError(f"pred has shape {pred.shape} and reference {reference.shape}: they must be equal")
    for spacing in spacings:
        if spacing is not None and (len(spacing) != pred.ndim or min(spacing) <= 0):
            raise ValueError(f"spacing_mm is {tuple(spacing)}: give one positive number for each of {pred.ndim} axes")
    boxes = zip(find_objects(pred, max(labels)), find_objects(reference, max(labels)), strict=True)
    union = dict(enumerate((_union(*pair) for pair in boxes), start=1))
    return {label: _agreement(pred, reference, label, union[label], spacings) for label in labels}


def _agreement(pred, reference, label, box, spacings) -> OrganAgreement:
    # Beyond the box that holds both masks there is background only, so neither surface nor distance changes.
    in_pred, in_reference = pred[box] == label, reference[box] == label
    pred_voxels, reference_voxels = int(np.count_nonzero(in_pred)), int(np.count_nonzero(in_reference))
    total = pred_voxels + reference_voxels
    dice = 2 * int(np.count_nonzero(in_pred & in_reference)) / total if total else np.nan
    distances = (np.nan,) * len(spacings)
    if pred_voxels and reference_voxels:
        surfaces = surface(in_pred), surface(in_reference)
        distances = tuple(hd95(*surfaces, spacing) for spacing in spacings)
    return OrganAgreement(pred_voxels, reference_voxels, dice, distances)


def _label_map(values: np.ndarray, name: str) -> np.ndarray:
    values = np.asarray(values)
    if values.dtype.kind in "iu":
        return values
    whole = values.astype(np.int64)
    if (whole != values).any():
        raise ValueError(f"{name} holds values that are no integers: give a label map")
    return whole


def _union(a: tuple[slice, ...] | None, b: tuple[slice, ...] | None) -> tuple[slice, ...]:
    """The box around two boxes; None is no box, and of two of them the union is empty."""
    boxes = [box for box in (a, b) if box is not None]
    if not boxes:
        return (slice(0),)
    return tuple(
        slice(min(side.start for side in sides), max(side.stop for side in sides)) for sides in zip(*boxes, strict=True)
    )
