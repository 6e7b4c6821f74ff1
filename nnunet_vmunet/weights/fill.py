"""Put a checkpoint's tensors into a VM-UNet, and keep account of every one of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from ..errors import InputError
from ..models import VMUNet
from .adapt import OUTPUT_LAYER, PATCH_EMBEDDING, adapt
from .checkpoint import Checkpoint, Kind


@dataclass
class Filled:
    """What became of the tensors."""

    state_dict: dict[str, Tensor]
    loaded: dict[str, str] = field(default_factory=dict)  # our name -> the file's
    adapted: dict[str, str] = field(default_factory=dict)  # our name -> how
    left_over: list[str] = field(default_factory=list)  # names in the file

    @property
    def initialised(self) -> list[str]:
        """Our names of the tensors that the network keeps from its own initialisation."""
        return [name for name in self.state_dict if name not in self.loaded and name not in self.adapted]


def fill(network: VMUNet, checkpoint: Checkpoint) -> Filled:
    """The network's state dict with everything from the checkpoint that belongs there; the network stays as it is.

    Raises:
        InputError: the file's network has other widths or depths, lacks tensors, or holds NaN.
    """
    filled = Filled(network.state_dict())
    _refuse_another_width(checkpoint, filled.state_dict)
    for source, tensor in checkpoint.tensors.items():
        _refuse_nonfinite(checkpoint, source, tensor)
        places = [name for name in checkpoint.places(source) if name in filled.state_dict]
        used = [_put(filled, name, source, tensor, checkpoint) for name in places]
        if not any(used):
            filled.left_over.append(source)
    _refuse_incomplete(checkpoint, filled)
    return filled


def _put(filled: Filled, name: str, source: str, tensor: Tensor, checkpoint: Checkpoint) -> bool:
    wanted = filled.state_dict[name]
    fitted, how = adapt(name, tensor, wanted.shape)
    if fitted is None:
        if name.startswith(OUTPUT_LAYER):  # another number of classes: initialised anew
            return False
        raise InputError(f"{checkpoint.file} does not fit: {source} {how}")
    filled.state_dict[name] = fitted.to(wanted.dtype, copy=True)
    if how:
        filled.adapted[name] = how
    else:
        filled.loaded[name] = source
    return True


def _refuse_another_width(checkpoint: Checkpoint, state_dict: dict[str, Tensor]) -> None:
    wanted = len(state_dict[PATCH_EMBEDDING])
    for source, tensor in checkpoint.tensors.items():
        if PATCH_EMBEDDING in checkpoint.places(source) and len(tensor) != wanted:
            raise InputError(
                f"{checkpoint.file} has width {len(tensor)} and this VM-UNet {wanted}: "
                "take weights of that width, or plans whose arch_kwargs give these dims"
            )


def _refuse_nonfinite(checkpoint: Checkpoint, source: str, tensor: Tensor) -> None:
    if not tensor.isfinite().all():
        raise InputError(f"{checkpoint.file} holds NaN or infinite values in {source}: take another checkpoint")


def _refuse_incomplete(checkpoint: Checkpoint, filled: Filled) -> None:
    lacking = [name for name in filled.initialised if _is_expected(name, checkpoint.kind)]
    if lacking:
        raise InputError(f"{checkpoint.file} lacks {len(lacking)} tensors of this VM-UNet, the first {lacking[0]}")
    if checkpoint.kind is Kind.VMAMBA:
        return  # its stages are longer, and it ends in a classifier
    left_over = [name for name in filled.left_over if not _is_output_layer(name, checkpoint)]
    if left_over:
        raise InputError(
            f"{checkpoint.file} holds {len(left_over)} tensors more than this VM-UNet, the first "
            f"{left_over[0]}: its depths differ"
        )


def _is_expected(name: str, kind: Kind) -> bool:
    """Whether a file of that kind must hold the tensor."""
    if kind is Kind.VMAMBA:
        return name.startswith("encoder.") or ".blocks." in name
    return not name.startswith(OUTPUT_LAYER)


def _is_output_layer(source: str, checkpoint: Checkpoint) -> bool:
    return checkpoint.places(source)[0].startswith(OUTPUT_LAYER)
