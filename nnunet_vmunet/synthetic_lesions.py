"""Generated dermoscopy-like photographs with their lesion masks, for the demo and for tests.

Not medicine: shapes with the difficulties of real photographs, which are uneven light, irregular and blurred
outlines, several lesion colours, hairs and dark corners.
"""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SKIN = ((226, 178, 152), (205, 150, 120), (240, 200, 180), (180, 125, 95))
LESION = ((110, 66, 48), (82, 48, 38), (140, 84, 62), (96, 70, 66))


def lesion_photograph(rng: np.random.Generator, width: int, height: int) -> tuple[Image.Image, Image.Image]:
    """An RGB photograph and its mask (L, 0 or 255), both width×height pixels."""
    x, y = np.meshgrid(np.linspace(-1, 1, width) * width / height, np.linspace(-1, 1, height))
    edge = _signed_distance_to_outline(rng, x, y)
    opacity = 1 / (1 + np.exp(edge / rng.uniform(0.015, 0.05)))  # blurred outlines, some more than others
    skin = _textured(rng, SKIN, x, y, contrast=8)
    lesion = _textured(rng, LESION, x, y, contrast=14)
    photograph = skin + opacity[..., None] * rng.uniform(0.75, 1.0) * (lesion - skin)
    photograph *= _light(rng, x, y)[..., None]
    image = Image.fromarray(photograph.clip(0, 255).astype(np.uint8))
    image = _with_hairs(rng, image).filter(ImageFilter.GaussianBlur(height / 600))
    return image, Image.fromarray(np.where(edge < 0, 255, 0).astype(np.uint8))


def _signed_distance_to_outline(rng, x, y) -> np.ndarray:
    """Below 0 inside a lobed, tilted ellipse somewhere near the centre; the image is 2 high."""
    cx, cy = rng.uniform(-0.3, 0.3, 2)
    tilt, stretch = rng.uniform(0, np.pi), rng.uniform(0.65, 1)
    u = (x - cx) * np.cos(tilt) + (y - cy) * np.sin(tilt)
    v = ((y - cy) * np.cos(tilt) - (x - cx) * np.sin(tilt)) / stretch
    angle = np.arctan2(v, u)
    lobes = sum(rng.normal(0, 0.12 / k) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in range(2, 8))
    return np.hypot(u, v) - rng.uniform(0.25, 0.65) * (1 + lobes)


def _textured(rng, palette, x, y, contrast: float) -> np.ndarray:
    """(h, w, 3) of one of the palette's colours with smooth and fine variations."""
    colour = np.array(palette[rng.integers(len(palette))]) + rng.normal(0, 8, 3)
    waves = sum(np.sin(rng.normal(0, 4) * x + rng.normal(0, 4) * y + rng.uniform(0, 6)) for _ in range(4)) / 2
    grain = rng.normal(0, 4, x.shape)
    return colour + (contrast * waves + grain)[..., None]


def _light(rng, x, y) -> np.ndarray:
    """A gradient across the image and, in half of the photographs, the dark corners of a dermoscope."""
    light = 1 + rng.normal(0, 0.08) * x + rng.normal(0, 0.08) * y
    if rng.random() < 0.5:
        rim = rng.uniform(1.0, 1.3)
        light = light / (1 + np.exp((np.hypot(x, y) - rim) / 0.04))
    return light


def _with_hairs(rng, image: Image.Image) -> Image.Image:
    """Up to a dozen dark, bent hairs across the photograph."""
    draw = ImageDraw.Draw(image)
    t = np.linspace(0, 1, 40)[:, None]
    for _ in range(rng.integers(0, 13)):
        start, bend, end = rng.uniform(-0.2, 1.2, (3, 2)) * image.size
        curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end
        colour = tuple(rng.integers(20, 70, 3).tolist())
        draw.line([tuple(point) for point in curve], fill=colour, width=max(1, round(image.height / 200)))
    return image
