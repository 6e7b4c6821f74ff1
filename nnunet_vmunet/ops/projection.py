"""Delta from its low rank: what Mamba calls dt_proj, for backends that do not multiply on the way.

Delta has the direction and its rank in its last two axes; the axes before them may be pixels or steps.
"""

import torch
from torch import Tensor


def project(delta: Tensor, weight: Tensor | None) -> Tensor:
    """delta (..., 4, r) times weight (4, d, r): (..., 4, d) in the weight's dtype, stored direction by direction.

    Without a weight delta is whole, and comes back as it is.
    """
    if weight is None:
        return delta
    product = torch.bmm(_rows(delta, weight), weight.transpose(1, 2))
    return product.unflatten(1, delta.shape[:-2]).movedim(0, -2)


def project_backward(dprojected: Tensor, delta: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """The gradients of `project`'s arguments, in their dtypes; that of no weight is empty."""
    if weight is None:
        return dprojected.to(delta.dtype), dprojected.new_empty(0)
    # Both products with the few ranks as rows: a CPU then needs less than half of the time, and rounds less.
    drows = _rows(dprojected, weight)
    dranks = torch.bmm(weight.transpose(1, 2), drows.transpose(1, 2)).transpose(1, 2)
    dweight = torch.bmm(_rows(delta, weight).transpose(1, 2), drows).transpose(1, 2)
    return dranks.unflatten(1, delta.shape[:-2]).movedim(0, -2).to(delta.dtype), dweight


def _rows(tensor: Tensor, weight: Tensor) -> Tensor:
    """(..., 4, c) to (4, rows, c), in the weight's dtype."""
    return tensor.movedim(-2, 0).flatten(1, -2).to(weight.dtype)
