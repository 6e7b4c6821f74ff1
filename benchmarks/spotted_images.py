"""Generated grey images with one small round lesion each, among things as bright that are no lesions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.ndimage import gaussian_filter

SIDE = 256  # pixels
LESION_RADIUS = 6  # pixels: 0.2 % of the image
BLOTCHES, BLOTCH_RADII = 4, (11, 18)  # round as a lesion, but larger
SPECKS, SPECK_RADII = 8, (1.5, 3)  # round, but smaller
STREAKS, STREAK_RADIUS, STREAK_LENGTHS = 4, 4, (20, 50)  # as wide as a lesion nearly, but long
APART = 6  # pixels between any two
BRIGHTNESS = (45, 70)  # above the background's 100
EDGE = 0.8  # pixels over which outlines are blurred


def spotted_image(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """An image and its labels (0 or 1, a lesion), both uint8 (SIDE, SIDE)."""
    image, labels = _background(rng), np.zeros((SIDE, SIDE), np.uint8)
    taken: list[tuple[np.ndarray, float]] = []
    for number, (radius, length) in enumerate(_shapes(rng)):
        centre = _free_place(rng, radius + length / 2, taken)
        distance = _distance(centre, rng.uniform(0, np.pi), length)
        image += rng.uniform(*BRIGHTNESS) / (1 + np.exp((distance - radius) / EDGE))
        if number == 0:
            labels[distance < radius] = 1
    image += rng.normal(0, 6, image.shape)
    return image.clip(0, 255).astype(np.uint8), labels


def _shapes(rng: np.random.Generator) -> Iterator[tuple[float, float]]:
    """Radius and length of the lesion and of all else; 0 is the length of what is round."""
    yield LESION_RADIUS, 0
    yield from ((radius, 0) for radius in rng.uniform(*BLOTCH_RADII, BLOTCHES))
    yield from ((STREAK_RADIUS, length) for length in rng.uniform(*STREAK_LENGTHS, STREAKS))
    yield from ((radius, 0) for radius in rng.uniform(*SPECK_RADII, SPECKS))


def _background(rng: np.random.Generator) -> np.ndarray:
    """Clouds of two sizes."""
    image = np.full((SIDE, SIDE), 100.0)
    for size, contrast in ((16, 14), (2, 6)):
        clouds = gaussian_filter(rng.normal(size=image.shape), size)
        image += contrast * clouds / clouds.std()
    return image


def _free_place(rng: np.random.Generator, extent: float, taken: list[tuple[np.ndarray, float]]) -> np.ndarray:
    """A centre (row, column), entered in `taken`, around which nothing lies within `extent`."""
    while True:
        centre = rng.uniform(LESION_RADIUS + 2, SIDE - LESION_RADIUS - 2, 2)
        if all(np.hypot(*(centre - other)) > extent + its_extent + APART for other, its_extent in taken):
            taken.append((centre, extent))
            return centre


def _distance(centre: np.ndarray, angle: float, length: float) -> np.ndarray:
    """Of every pixel to a line of this length about the centre."""
    row, column = np.mgrid[:SIDE, :SIDE] - centre[:, None, None]
    along = row * np.sin(angle) + column * np.cos(angle)
    across = column * np.sin(angle) - row * np.cos(angle)
    return np.hypot(across, np.maximum(np.abs(along) - length / 2, 0))
