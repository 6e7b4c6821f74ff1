"""Distances between the surfaces of two masks.

The nearest surface voxel is found in a k-d tree of the surface rather than in a distance transform: the memory is the
surface's and not the bounding box's, which one stray voxel blows up to the whole volume (a transform then takes
gigabytes), and for organs it is several times faster. Both are exact; at spacing 1 both give the square root of the
same integer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def surface(mask: np.ndarray) -> np.ndarray:
    """(n, ndim) indices of the foreground voxels that share a face with background or with the image's border."""
    from scipy.ndimage import binary_erosion

    return np.argwhere(mask & ~binary_erosion(mask))


def hd95(surface_a: np.ndarray, surface_b: np.ndarray, spacing: Sequence[float] | None = None) -> float:
    """95th percentile of the distances from each surface voxel to the other surface, both directions pooled.

    surface_a, surface_b: (n, ndim) and (m, ndim) indices, neither empty. spacing: of the array's axes, in any unit,
    which is then the result's; None is 1, distances in voxels.
    """
    scale = np.ones(surface_a.shape[1]) if spacing is None else np.asarray(spacing, np.float64)
    a, b = surface_a * scale, surface_b * scale
    return float(np.percentile(np.hstack([_distances(a, b), _distances(b, a)]), 95))


def _distances(from_: np.ndarray, to: np.ndarray) -> np.ndarray:
    from scipy.spatial import KDTree

    # Fastest in trials: cells split in the middle, as suits voxels on a grid, and large leaves, which more than halve
    # the time where the surfaces are far apart.
    return KDTree(to, leafsize=64, balanced_tree=False, compact_nodes=False).query(from_)[0]
