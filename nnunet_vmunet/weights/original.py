"""Weights of the original VM-UNet implementation (JCruan519/VM-UNet), loaded into ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike

import torch
from torch import Tensor

from ..models import VMUNet
from .adapt import adapt

# Original name -> ours. Applied in this order, each at most once.
RENAMES = (
    (r"^(module\.)?(_orig_mod\.)?(vmunet\.)?", ""),  # DataParallel's, torch.compile's, and published checkpoints'
    (r"^patch_embed\.", "encoder.patch_embed."),
    (r"^layers\.", "encoder.stages."),
    (r"^layers_up\.", "decoder.stages."),
    (r"^final_up\.", "decoder.final_up."),
    (r"^final_conv\.", "decoder.seg_layers.0."),
    (r"\.ln_1\.", ".norm."),
    (r"\.self_attention\.", ".ss2d."),
)
CONTAINERS = ("model_state_dict", "state_dict", "model")  # what training scripts wrap a state dict in


@dataclass
class LoadReport:
    """What became of the tensors: names are ours, but in `left_over`, which keeps the file's."""

    loaded: list[str] = field(default_factory=list)
    adapted: dict[str, str] = field(default_factory=dict)  # name -> how
    left_over: dict[str, str] = field(default_factory=dict)  # name in the file -> why it was not used
    missing: list[str] = field(default_factory=list)  # in the model and not in the file: left as they were

    def __str__(self) -> str:
        lines = [
            f"{len(self.loaded)} tensors loaded, {len(self.adapted)} adapted, "
            f"{len(self.left_over)} left over, {len(self.missing)} not in the file"
        ]
        lines += [f"  adapted    {name}: {how}" for name, how in self.adapted.items()]
        lines += [f"  left over  {name}: {why}" for name, why in self.left_over.items()]
        lines += [f"  missing    {name}" for name in self.missing]
        return "\n".join(lines)


def load_original(model: VMUNet, path_or_state_dict: str | PathLike | Mapping[str, Tensor]) -> LoadReport:
    """Load a state dict or checkpoint that uses the original's names into `model`.

    A 3-channel patch embedding is summed for a 1-channel model, which equals repeating the image three times, as the
    original does, and is repeated and rescaled for other numbers. One output channel becomes two heads, background
    logit 0 and the lesion's logit, whose softmax is the original's sigmoid.

    Args:
        model: changed in place; tensors that the file lacks stay as they are.
        path_or_state_dict: a file for `torch.load` (tensors only: nothing in it is executed), or its content.

    Returns:
        What was loaded, adapted, left over and missing.

    Raises:
        ValueError: nothing in it fits a VM-UNet.
    """
    report, target = LoadReport(), model.state_dict()
    for original_name, tensor in _state_dict(path_or_state_dict).items():
        name = rename(original_name)
        if name not in target:
            report.left_over[original_name] = "no such tensor in VM-UNet"
            continue
        fitted, how = adapt(name, tensor, target[name].shape)
        if fitted is None:
            report.left_over[original_name] = how
            continue
        target[name] = fitted
        if how:
            report.adapted[name] = how
        else:
            report.loaded.append(name)
    if not report.loaded:
        first = next(iter(report.left_over.items()), ("the file", "it is empty"))
        raise ValueError(f"no tensor of {_describe(path_or_state_dict)} fits this VM-UNet; {first[0]}: {first[1]}")
    given = {*report.loaded, *report.adapted}
    report.missing = [name for name in target if name not in given]
    model.load_state_dict(target)
    return report


def rename(original_name: str) -> str:
    """The original's name of a tensor, with or without prefix, in our naming; our own names stay as they are."""
    for pattern, replacement in RENAMES:
        original_name = re.sub(pattern, replacement, original_name, count=1)
    return original_name


def _state_dict(source) -> Mapping[str, Tensor]:
    content = source if isinstance(source, Mapping) else torch.load(source, map_location="cpu", weights_only=True)
    for container in CONTAINERS:
        if isinstance(content.get(container), Mapping):
            content = content[container]
    return {name: tensor for name, tensor in content.items() if isinstance(tensor, Tensor)}


def _describe(source) -> str:
    return "the state dict" if isinstance(source, Mapping) else str(source)
