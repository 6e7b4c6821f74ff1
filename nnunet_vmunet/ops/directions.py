"""The four walks over an image's pixels (VM-UNet section 3.2, SS2D), and back.

Direction 0 goes row by row, 1 column by column, 2 and 3 the same two backwards.

Shapes: b batch, h rows, w columns, l = h·w steps; the 4 is the direction.
"""

import torch
from torch import Tensor


def order(height: int, width: int) -> Tensor:
    """(4, l): the pixels, numbered by rows, in the order in which each direction meets them."""
    pixels = torch.arange(height * width).view(1, height, width, 1)
    return to_sequences(pixels.expand(-1, -1, -1, 4)).flatten(1).T.contiguous()


def to_sequences(pixels: Tensor) -> Tensor:
    """(b, h, w, 4, ...) in pixel order to (l, b, 4, ...): what each direction meets, step by step."""
    rows = pixels.flatten(1, 2)
    columns = pixels.transpose(1, 2).flatten(1, 2)
    walks = (rows[:, :, 0], columns[:, :, 1], rows[:, :, 2].flip(1), columns[:, :, 3].flip(1))
    return torch.stack([walk.transpose(0, 1) for walk in walks], dim=2)


def to_pixels(sequences: Tensor, height: int, width: int) -> Tensor:
    """(l, b, 4, ...) step by step to (b, h, w, 4, ...) in pixel order: undoes `to_sequences`."""
    row, column, row_back, column_back = sequences.transpose(0, 1).unbind(2)
    walks = (
        row.unflatten(1, (height, width)),
        column.unflatten(1, (width, height)).transpose(1, 2),
        row_back.flip(1).unflatten(1, (height, width)),
        column_back.flip(1).unflatten(1, (width, height)).transpose(1, 2),
    )
    return torch.stack(walks, dim=3)
