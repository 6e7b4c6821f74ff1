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
    drows = _rows(dprojected, weight)
    ddelta = torch.bmm(drows, weight).unflatten(1, delta.shape[:-2]).movedim(0, -2)
    return ddelta.to(delta.dtype), torch.bmm(drows.transpose(1, 2), _rows(delta, weight))


def _rows(tensor: Tensor, weight: Tensor) -> Tensor:
    """(..., 4, c) to (4, rows, c), in the weight's dtype."""
    return tensor.movedim(-2, 0).flatten(1, -2).to(weight.dtype)
