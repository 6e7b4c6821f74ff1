"""Dice, IoU, HD95 and surface Dice of each label, and of each region of labels, in one pair of label maps."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from .surface_distance import percentile_95, surface, surface_dice, surface_distances

# In millimetres: five oncologists who outlined the same organs in CT differed by 0.9 to 2.6 mm (standard deviation; all
# organs but the glottic larynx; Radiation Oncology 7:32, 2012). In pixels where there is no spacing: about what a
# contour drawn by hand on a picture is worth.
TOLERANCE = 2.0

Spacing = Sequence[float]
Name = TypeVar("Name", bound=Hashable)
Box = tuple[slice, ...]


@dataclass(frozen=True)
class Agreement:
    """One label or region of one case. What is undefined is NaN."""

    pred_pixels: int
    reference_pixels: int
    common_pixels: int
    hd95: tuple[float, ...]  # one for each spacing that was asked for
    surface_dice: float = np.nan  # in the unit of the last of these spacings

    @property
    def dice(self) -> float:
        """A fraction of 1; NaN where both masks are empty."""
        total = self.pred_pixels + self.reference_pixels
        return 2 * self.common_pixels / total if total else np.nan

    @property
    def iou(self) -> float:
        """A fraction of 1; NaN where both masks are empty."""
        union = self.pred_pixels + self.reference_pixels - self.common_pixels
        return self.common_pixels / union if union else np.nan


def label_metrics(
    pred: np.ndarray,
    reference: np.ndarray,
    spacing_mm: Spacing | None = None,
    labels: Iterable[int] | Mapping[str, Iterable[int]] | None = None,
    ignore_label: int | None = None,
    tolerance: float = TOLERANCE,
) -> dict:
    """Dice, IoU, the 95th percentile of the surface distances (HD95) and surface Dice of each label.

    pred, reference: label maps of one equal shape, of any number of axes; axes of length 1 are no axes.
    spacing_mm: of the array's axes in this order (z, y, x for an array of SimpleITK's). HD95 and `tolerance` are then
        in millimetres. None gives pixels, or voxels.
    labels: values, or names with the values of each: a region has several. None takes all that there are.
    ignore_label: what the reference says nothing about. Pixels that have it there count in neither mask, and a border
        with them is no surface.
    tolerance: within which surfaces agree for surface Dice; the default is explained above TOLERANCE.

    Returns {label or name: {"dice", "iou", "hd95", "surface_dice"}}, all but HD95 as fractions of 1. What is undefined
    is NaN: Dice and IoU where both masks are empty, HD95 where one has no surface, surface Dice where both have none.
    Surface Dice counts surface voxels, where its authors weigh them by area: see `surface_distance.surface_dice`.

    Raises:
        ValueError: shapes that differ, values that are no integers, or arguments outside these.
    """
    pred, reference = _label_map(pred, "pred"), _label_map(reference, "reference")
    if labels is None:
        present = {*np.unique(pred).tolist(), *np.unique(reference).tolist()}
        labels = sorted(present - {0, ignore_label})
    named = labels if isinstance(labels, Mapping) else {label: (label,) for label in labels}
    check_shapes(pred, reference, [spacing_mm])
    kept = long_axes(pred.shape)
    scale = None if spacing_mm is None else [spacing_mm[axis] for axis in kept]
    shape = [pred.shape[axis] for axis in kept]
    agreements = label_agreements(
        pred.reshape(shape), reference.reshape(shape), named, [scale], ignore_label=ignore_label, tolerance=tolerance
    )
    return {
        name: {"dice": found.dice, "iou": found.iou, "hd95": found.hd95[0], "surface_dice": found.surface_dice}
        for name, found in agreements.items()
    }


def label_agreements(
    pred: np.ndarray,
    reference: np.ndarray,
    labels: Mapping[Name, Iterable[int]],
    spacings: Sequence[Spacing | None],
    *,
    ignore_label: int | None = None,
    tolerance: float | None = None,
) -> dict[Name, Agreement]:
    """What `label_metrics` reports, with one HD95 for each of `spacings` (None: voxels).

    tolerance: in the unit of the last spacing; None leaves surface Dice out.

    Raises:
        ValueError: as `label_metrics`.
    """
    values = {name: tuple(of_name) for name, of_name in labels.items()}
    pred, reference = _label_map(pred, "pred"), _label_map(reference, "reference")
    check_shapes(pred, reference, spacings)
    _check_options(values, tolerance)
    pair = _Pair(pred, reference, ignore_label)
    boxes = pair.boxes({value for of_name in values.values() for value in of_name})
    return {
        name: pair.agreement(of_name, [boxes[value] for value in of_name], spacings, tolerance)
        for name, of_name in values.items()
    }


def long_axes(shape: Sequence[int]) -> list[int]:
    """The axes that are longer than 1, and at least one: across a single slice every pixel would be surface."""
    return [axis for axis, length in enumerate(shape) if length != 1] or [0]


@dataclass(frozen=True)
class _Pair:
    """Two integer label maps of one shape."""

    pred: np.ndarray
    reference: np.ndarray
    ignore_label: int | None

    def boxes(self, values: set[int]) -> dict[int, list[Box | None]]:
        """For each value the boxes that hold it in either map; None where it is not there."""
        from scipy.ndimage import find_objects

        if not values:
            return {}
        both = [find_objects(labels, max(values)) for labels in (self.pred, self.reference)]
        return {value: [found[value - 1] for found in both] for value in values}

    def agreement(
        self,
        values: tuple[int, ...],
        boxes: Iterable[Iterable[Box | None]],
        scales: Sequence[Spacing | None],
        tolerance: float | None,
    ) -> Agreement:
        # Beyond the box there is background only: neither surface nor distance changes. What is ignored beside it
        # tells what is surface.
        box = _union(boxes, self.pred.shape, margin=0 if self.ignore_label is None else 1)
        in_pred, in_reference = _holds(self.pred[box], values), _holds(self.reference[box], values)
        unknown = None
        if self.ignore_label is not None:
            unknown = self.reference[box] == self.ignore_label
            in_pred &= ~unknown
        predicted, there, common = (
            int(np.count_nonzero(mask)) for mask in (in_pred, in_reference, in_pred & in_reference)
        )
        hd95, within = (np.nan,) * len(scales), np.nan
        if predicted and there:
            hd95, within = _surface_agreement(
                surface(in_pred, unknown), surface(in_reference, unknown), scales, tolerance
            )
        elif (predicted or there) and tolerance is not None:
            within = 0.0 if len(surface(in_pred | in_reference, unknown)) else np.nan
        return Agreement(predicted, there, common, hd95, within)


def _surface_agreement(
    of_pred: np.ndarray, of_reference: np.ndarray, scales: Sequence[Spacing | None], tolerance: float | None
) -> tuple[tuple[float, ...], float]:
    """HD95 for each scale, and surface Dice by the last; NaN where undefined."""
    if not len(of_pred) or not len(of_reference):  # all of a mask's border is ignored
        nothing = tolerance is None or len(of_pred) == len(of_reference)
        return (np.nan,) * len(scales), np.nan if nothing else 0.0
    distances = [surface_distances(of_pred, of_reference, scale) for scale in scales]
    within = np.nan if tolerance is None else surface_dice(distances[-1], tolerance)
    return tuple(map(percentile_95, distances)), within


def _holds(labels: np.ndarray, values: tuple[int, ...]) -> np.ndarray:
    return labels == values[0] if len(values) == 1 else np.isin(labels, values)


def check_shapes(pred: np.ndarray, reference: np.ndarray, spacings: Sequence[Spacing | None]) -> None:
    """Raise ValueError for arrays of different shapes, and for a spacing that is not one for each axis."""
    if pred.shape != reference.shape:
        raise ValueError(f"pred has shape {pred.shape} and reference {reference.shape}: they must be equal")
    for spacing in spacings:
        if spacing is not None and (len(spacing) != pred.ndim or min(spacing) <= 0):
            raise ValueError(f"spacing_mm is {tuple(spacing)}: give one positive number for each of {pred.ndim} axes")


def _check_options(values: Mapping, tolerance: float | None) -> None:
    for name, of_name in values.items():
        if not of_name or min(of_name) < 1:
            raise ValueError(f"labels give {name} as {of_name}: give whole numbers from 1")
    if tolerance is not None and not 0 <= tolerance < np.inf:
        raise ValueError(f"tolerance is {tolerance}: give a number from 0")


def _label_map(values: np.ndarray, name: str) -> np.ndarray:
    values = np.atleast_1d(values)
    if values.dtype.kind in "iu":
        return values
    whole = values.astype(np.int64)
    if (whole != values).any():
        raise ValueError(f"{name} holds values that are no integers: give a label map")
    return whole


def _union(boxes_of_values: Iterable[Iterable[Box | None]], shape: Sequence[int], margin: int) -> Box:
    """The box around all boxes and `margin` voxels more, as far as the array reaches; empty without a box."""
    boxes = [box for boxes in boxes_of_values for box in boxes if box is not None]
    if not boxes:
        return (slice(0),)
    return tuple(
        slice(max(0, min(s.start for s in sides) - margin), min(length, max(s.stop for s in sides) + margin))
        for length, *sides in zip(shape, *boxes, strict=True)
    )
