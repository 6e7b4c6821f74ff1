"""Makes the parameters behind the golden numbers from their names, so that no file has to hold 27 million of them."""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent
SEED = 0


def filled_state_dict(shapes_json: str) -> dict[str, np.ndarray]:
    """Fill the original's state dict whose names and shapes the file lists; every array is float32."""
    shapes = json.loads((FOLDER / shapes_json).read_text())
    return {name: filled(name, tuple(shape)) for name, shape in shapes.items()}


def filled(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Draw one parameter. The checksum of its name is the seed, so that the order of the names does not matter."""
    random = np.random.default_rng([SEED, zlib.crc32(name.encode())])
    normal = random.standard_normal(shape)
    return _scaled(name, normal, random).astype(np.float32)


def _scaled(name: str, normal: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Bring standard normal numbers to the size that this kind of parameter has in a trained network."""
    *_, layer, kind = ("", *name.split("."))
    if kind.endswith("A_logs"):
        return np.log(np.arange(1, normal.shape[-1] + 1)) + 0.1 * normal
    if kind.endswith("Ds"):
        return 1 + 0.1 * normal
    if kind.endswith("dt_projs_bias"):
        return _inverse_softplus(np.exp(random.uniform(math.log(1e-3), math.log(1e-1), normal.shape)))
    if kind == "weight" and normal.ndim == 1:  # a gain; VMamba v2 has some in places that are numbered, not named
        return 1 + 0.1 * normal
    if "norm" in layer or layer.startswith("ln"):
        return 0.1 * normal + (kind == "weight")
    if kind.endswith("bias"):
        return 0.02 * normal
    return normal / math.sqrt(_inputs(normal.shape))


def _inverse_softplus(steps: np.ndarray) -> np.ndarray:
    return steps + np.log(-np.expm1(-steps))


def _inputs(shape: tuple[int, ...]) -> int:
    """Count the numbers that one output of the map reads. Three axes are the scan's: (direction, output, input)."""
    return shape[2] if len(shape) == 3 else math.prod(shape[1:])
