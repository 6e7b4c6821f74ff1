"""Put a checkpoint's tensors into a network of ours, and keep account of every one of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike, fspath
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import InputError
from .checkpoint import Checkpoint, Kind, open_checkpoint, recognise
from .names import OUTPUT_LAYER, PATCH_EMBEDDING, taker

COLUMNS = ("from the file", "adapted", "initialised")
# Our names -> a row of the table, in the network's order.
PARTS = (
    (r"(?:encoder\.)?patch_embed\.", "patch embedding"),
    (r"(?:encoder\.)?stages\.(\d+)\.", "encoder stage {}"),
    (r"encoder\.norm\.", "norm at the bottom"),
    (r"decoder\.stages\.(\d+)\.", "decoder stage {}"),
    (r"decoder\.final_up\.", "final expanding"),
    (r"decoder\.seg_layers\.", "output layer"),
)


@dataclass
class LoadReport:
    """What became of the tensors: names are ours, but in `left_over`, which keeps the file's."""

    state_dict: dict[str, Tensor] = field(repr=False)  # the network's, with what came from the file
    loaded: dict[str, str] = field(default_factory=dict)  # name -> the file's
    adapted: dict[str, str] = field(default_factory=dict)  # name -> how
    left_over: dict[str, str] = field(default_factory=dict)  # name in the file -> why it was not used

    @property
    def missing(self) -> list[str]:
        """Those in the network and not in the file: they stay as the network's own initialisation left them."""
        return [name for name in self.state_dict if name not in self.loaded and name not in self.adapted]

    def __str__(self) -> str:
        lines = [
            f"{len(self.loaded)} tensors loaded, {len(self.adapted)} adapted, "
            f"{len(self.left_over)} left over, {len(self.missing)} not in the file"
        ]
        lines += [f"  adapted    {name}: {how}" for name, how in self.adapted.items()]
        lines += [f"  left over  {name}: {why}" for name, why in self.left_over.items()]
        lines += [f"  missing    {name}" for name in self.missing]
        return "\n".join(lines)

    def table(self) -> str:
        """Tensors and parameters per stage, and of encoder and decoder."""
        rows: dict[str, list[list[int]]] = {}
        for name, tensor in self.state_dict.items():
            column = 0 if name in self.loaded else 1 if name in self.adapted else 2
            for row in (_part(name), f"{name.partition('.')[0]} in all"):
                cell = rows.setdefault(row, [[0, 0], [0, 0], [0, 0]])[column]
                cell[0] += 1
                cell[1] += tensor.numel()
        totals = [row for row in rows if row.endswith(" in all")]
        ordered = [row for row in rows if row not in totals] + totals
        lines = [f"{'tensors (parameters)':20}" + "".join(f"{column:>22}" for column in COLUMNS)]
        lines += [f"{row:20}" + "".join(f"{_cell(*counts):>22}" for counts in rows[row]) for row in ordered]
        return "\n".join(lines)


def load_original(model: nn.Module, path_or_state_dict: str | PathLike | Mapping[str, Tensor]) -> LoadReport:
    """Load weights of the network's original, or any others that `weights import` takes, into `model`.

    A 3-channel patch embedding is summed for a 1-channel model, which equals repeating the image three times, as the
    original does, and is repeated and rescaled for other numbers. One output channel becomes two heads, background
    logit 0 and the lesion's logit, whose softmax is the original's sigmoid.

    Args:
        model: one of `nnunet_vmunet.models`, changed in place; tensors that the file lacks stay as they are.
        path_or_state_dict: a file that `torch.save` wrote (nothing in it is executed), or its content.

    Returns:
        What was loaded, adapted, left over and missing.

    Raises:
        InputError: the file cannot be read, holds more than tensors and numbers, or nothing in it fits.
    """
    given = path_or_state_dict
    checkpoint = recognise(given) if isinstance(given, Mapping) else open_checkpoint(Path(fspath(given)))
    report = _put_all(model, checkpoint)
    if not report.loaded:
        _refuse_another_network(model, checkpoint)
        name, why = next(iter(report.left_over.items()), ("adapted", "the output layer alone"))
        raise InputError(
            f"no tensor of {checkpoint.source} fits this {_title(model)}; {name} {why}: build it with its sizes"
        )
    model.load_state_dict(report.state_dict)
    return report


def fill(network: nn.Module, checkpoint: Checkpoint) -> LoadReport:
    """Everything from the checkpoint that belongs into the network, in a state dict; the network stays as it is.

    Raises:
        InputError: the file is of another network, of other widths or depths, lacks tensors, or holds NaN.
    """
    _refuse_another_network(network, checkpoint)
    _refuse_another_width(network, checkpoint)
    report = _put_all(network, checkpoint)
    for source, tensor in checkpoint.tensors.items():
        if not tensor.isfinite().all():
            raise InputError(f"{checkpoint.source} holds NaN or infinite values in {source}: take another checkpoint")
    for source, why in report.left_over.items():
        misfit = [name for name in checkpoint.places(source, network) if name in report.state_dict]
        if misfit and not misfit[0].startswith(OUTPUT_LAYER):  # another number of classes: initialised anew
            raise InputError(f"{checkpoint.source} does not fit: {source} {why}")
    _refuse_incomplete(network, checkpoint, report)
    return report


def _put_all(network: nn.Module, checkpoint: Checkpoint) -> LoadReport:
    report = LoadReport(network.state_dict())
    for source, tensor in checkpoint.tensors.items():
        places = [name for name in checkpoint.places(source, network) if name in report.state_dict]
        if not places:
            report.left_over[source] = f"no such tensor in {_title(network)}"
        for name in places:
            wanted = report.state_dict[name]
            fitted, how = _adapt(name, tensor, wanted.shape)
            if fitted is None:
                report.left_over[source] = how
                continue
            report.state_dict[name] = fitted.to(wanted.dtype, copy=True)
            if how:
                report.adapted[name] = how
            else:
                report.loaded[name] = source
    return report


def _title(network: nn.Module) -> str:
    return getattr(network, "title", type(network).__name__)


def _refuse_another_network(network: nn.Module, checkpoint: Checkpoint) -> None:
    if checkpoint.kind not in (Kind.OURS, *taker(network).kinds):
        raise InputError(
            f"{checkpoint.source} is {checkpoint.description}, which has no place in {_title(network)}: choose its "
            "network with --network, or take other weights"
        )


def _refuse_another_width(network: nn.Module, checkpoint: Checkpoint) -> None:
    state_dict = network.state_dict()
    for source, tensor in checkpoint.tensors.items():
        for name in checkpoint.places(source, network):
            if PATCH_EMBEDDING.fullmatch(name) and name in state_dict and len(tensor) != len(state_dict[name]):
                raise InputError(
                    f"{checkpoint.source} has width {len(tensor)} and this {_title(network)} {len(state_dict[name])}: "
                    "take weights of that width, or plans whose arch_kwargs give these dims"
                )


def _refuse_incomplete(network: nn.Module, checkpoint: Checkpoint, report: LoadReport) -> None:
    from_vmamba = checkpoint.kind in (Kind.VMAMBA, Kind.VMAMBA2)
    wanted = taker(network).from_vmamba if from_vmamba else f"^(?!{re.escape(OUTPUT_LAYER)})"
    lacking = [name for name in report.missing if re.search(wanted, name)]
    if lacking:
        raise InputError(
            f"{checkpoint.source} lacks {len(lacking)} tensors of this {_title(network)}, the first {lacking[0]}"
        )
    if from_vmamba:
        return  # its stages may be longer, and it ends in a classifier
    left_over = [
        name
        for name in report.left_over
        if not any(place.startswith(OUTPUT_LAYER) for place in checkpoint.places(name, network))
    ]
    if left_over:
        raise InputError(
            f"{checkpoint.source} holds {len(left_over)} tensors more than this {_title(network)}, the first "
            f"{left_over[0]}: its depths differ"
        )


def _adapt(name: str, tensor: Tensor, shape: torch.Size) -> tuple[Tensor | None, str]:
    """Bring `tensor`, ours by `name`, into the wanted shape: only the input channels and the output layer may differ.

    Returns:
        The tensor and how it was adapted ("" if it fitted), or None and why it cannot be.
    """
    if tensor.shape == shape:
        return tensor, ""
    if tensor.shape == (*shape, 1, 1):  # a linear layer that VMamba v2 saved as a 1×1 convolution
        return tensor.reshape(shape), ""
    if PATCH_EMBEDDING.fullmatch(name) and tensor.ndim == len(shape) and tensor[:, 0].shape == (shape[0], *shape[2:]):
        return _with_input_channels(tensor, shape[1])
    if name.startswith(OUTPUT_LAYER) and len(tensor) == 1 and shape[0] == 2:
        # Logits (0, z) for z. Their difference is z to the last bit, so sigmoid of it is the original's probability.
        return torch.cat([torch.zeros_like(tensor), tensor]), "1 output channel to 2 heads, background logit 0"
    return None, f"has shape {tuple(tensor.shape)}, this model {tuple(shape)}"


def _with_input_channels(weight: Tensor, channels: int) -> tuple[Tensor, str]:
    """(dim, c, 4, 4) for another c. A sum equals the one channel repeated, as the original feeds it."""
    given = weight.shape[1]
    if channels == 1:
        return weight.sum(1, keepdim=True), f"{given} input channels summed to 1"
    repeated = weight[:, torch.arange(channels) % given]
    return repeated * (given / channels), f"{given} input channels repeated to {channels} and scaled by their ratio"


def _part(name: str) -> str:
    """The part of the network that a tensor of ours belongs to, as a row of the table is called."""
    for pattern, row in PARTS:
        if match := re.match(pattern, name):
            return row.format(*match.groups())
    return ".".join(name.split(".")[:2])  # a variant's own


def _cell(tensors: int, parameters: int) -> str:
    return f"{tensors} ({parameters:,})" if tensors else "-"
