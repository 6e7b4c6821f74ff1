"""Delta from its low rank: what Mamba calls dt_proj, for backends that do not multiply on the way."""

import torch
from torch import Tensor


def project(delta: Tensor, weight: Tensor | None) -> Tensor:
    """delta (b, h, w, 4, d), or (b, h, w, 4, r) with weight (4, d, r), to (4, b, h, w, d) in the weight's dtype."""
    delta = delta.movedim(3, 0)
    if weight is None:
        return delta
    return torch.bmm(delta.flatten(1, 3).to(weight.dtype), weight.transpose(1, 2)).unflatten(1, delta.shape[1:4])


def project_backward(dprojected: Tensor, delta: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """The gradients of `project`'s arguments, in their dtypes; that of no weight is empty."""
    if weight is None:
        return dprojected.movedim(0, 3), dprojected.new_empty(0)
    dprojected = dprojected.flatten(1, 3)
    ddelta = torch.bmm(dprojected, weight).unflatten(1, delta.shape[:3]).to(delta.dtype)
    dweight = torch.bmm(dprojected.transpose(1, 2), delta.movedim(3, 0).flatten(1, 3).to(weight.dtype))
    return ddelta.movedim(0, 3), dweight
