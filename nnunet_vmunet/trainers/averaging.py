"""AdamW that also keeps a running average of the weights (Polyak and Juditsky 1992), which is what a training saves.

The paper's learning rate is at its highest when its 300 epochs end, and the last weights are noisy there. The average
over the last part of the training is not. `docs/how-it-works.md` has the comparison.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

SHARE = 0.05  # of the steps so far, that the average reaches back
HOLDS_AVERAGE = "holds_average"  # in the state of the optimizer


class AveragingAdamW(torch.optim.AdamW):
    """Steps on the raw weights. `use_average` and `use_raw` exchange the parameters' values for the average and back.

    After step t the average is mixed with 1 / (SHARE · t) of the weights: it forgets the start as the training goes on,
    and in the end reaches back over the same share of any training. The state has a tensor "other" for each parameter:
    the average while the parameter holds its raw value, and the raw value while it holds the average. Both are thus in
    the optimizer's state_dict, and a continued training goes on exactly.
    """

    @torch.no_grad()
    def step(self, closure=None):
        """One step of AdamW, then one of the average."""
        self.use_raw()
        loss = super().step(closure)
        parameters = self._stepped()
        if parameters:
            steps = float(self.state[parameters[0]]["step"])
            mix = get_ema_multi_avg_fn(decay=1 - 1 / max(1.0, SHARE * steps))
            mix([self._other(parameter) for parameter in parameters], parameters, None)
        return loss

    def use_average(self) -> None:
        """Give the parameters the averaged values; nothing happens where they have them."""
        self._hold(average=True)

    def use_raw(self) -> None:
        """Give the parameters the values that the next step starts from; nothing happens where they have them."""
        self._hold(average=False)

    @torch.no_grad()
    def _hold(self, average: bool) -> None:
        first = self.param_groups[0]  # speaks for all groups
        if first.get(HOLDS_AVERAGE, False) == average:  # checkpoints of earlier versions lack it
            return
        first[HOLDS_AVERAGE] = average
        for parameter in self._stepped():
            other, held = self._other(parameter), parameter.clone()
            parameter.copy_(other)
            other.copy_(held)

    def _stepped(self) -> list[Tensor]:
        return [parameter for group in self.param_groups for parameter in group["params"] if parameter in self.state]

    def _other(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "other" not in state:  # the first step, or the first after a checkpoint of earlier versions
            state["other"] = parameter.detach().clone()
        return state["other"]
