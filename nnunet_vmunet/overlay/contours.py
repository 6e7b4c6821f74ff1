"""The border of a mask as lines."""

from __future__ import annotations

import numpy as np

Line = np.ndarray  # (n, 2): x, y


def contours(mask: np.ndarray, size: tuple[int, int]) -> list[Line]:
    """Closed lines around a (rows, columns) bool mask, in pixels of a picture of `size` = (height, width).

    (0, 0) is the picture's upper left corner, and (width, height) its lower right one, whatever the mask's own size:
    the line runs between the mask's pixels and those beside them.
    """
    from skimage.measure import find_contours

    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return []
    top, left = rows[0], columns[0]
    box = np.pad(mask[top : rows[-1] + 1, left : columns[-1] + 1], 1)  # so that lines close at the picture's edge
    scale = np.divide(size, mask.shape)
    # find_contours counts from the centre of the padding's first pixel, half a pixel outside the box.
    start = np.array((top - 0.5, left - 0.5))
    return [((line + start) * scale)[:, ::-1] for line in find_contours(box.astype(np.uint8), 0.5)]
