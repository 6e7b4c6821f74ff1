"""How many images the paper's training puts into a batch."""

import math
from collections.abc import Sequence

PAPER_BATCH = 32
PAPER_PIXELS = 32 * 256 * 256


def paper_batch_size(patch_size: Sequence[int], training_images: int, processes: int = 1) -> int:
    """32 images of 256×256, or as many pixels in larger patches: at least 2, at most all the training images.

    Args:
        patch_size: (height, width) in pixels.
        training_images: images, or slices of volumes, in the training part.
        processes: that share the batch, and need an image each.
    """
    fitting = PAPER_PIXELS // math.prod(patch_size)
    return max(processes, min(max(2, min(PAPER_BATCH, fitting)), training_images))
