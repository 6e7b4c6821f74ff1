"""What nnU-Net's plans say of a network of ours: the entry `architecture`, and the paper's batch."""

import inspect
import math
import pydoc
from collections.abc import Sequence
from dataclasses import dataclass, field

from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

from . import models
from .models import MambaUNet, SwinUMambaD, VMamba2UNet, VMUNet
from .models.network import UShapedNetwork


@dataclass(frozen=True)
class Network:
    """A network that users choose: by its trainer, and in commands by its key in `NETWORKS`."""

    network_class: type[UShapedNetwork]
    trainer: str
    pretrained: str  # what `weights download` calls the weights to start from
    sizes: dict = field(default_factory=dict)  # where they differ from the class's


# Those of T and S are VMamba's, and the decoder's are the encoder's in reverse, so that all of its blocks are used.
DEPTHS_OF_T = {"depths": [2, 2, 9, 2], "depths_decoder": [2, 9, 2, 2]}
DEPTHS_OF_S = {"depths": [2, 2, 27, 2], "depths_decoder": [2, 27, 2, 2]}
NETWORKS = {
    "vmunet": Network(VMUNet, "nnUNetTrainerVMUNet", "vmamba-s"),
    "vmunet-t": Network(VMUNet, "nnUNetTrainerVMUNet_T", "vmamba-t", DEPTHS_OF_T),
    "vmunet-s": Network(VMUNet, "nnUNetTrainerVMUNet_S", "vmamba-s", DEPTHS_OF_S),
    "vmamba2-unet": Network(VMamba2UNet, "nnUNetTrainerVMUNet_VMamba2", "vmamba2-t"),
    "swin-umamba-d": Network(SwinUMambaD, "nnUNetTrainerVMUNet_SwinUMambaD", "vmamba-t"),
    "mamba-unet": Network(MambaUNet, "nnUNetTrainerVMUNet_MambaUNet", "vmamba-t"),
}
PAPERS = "vmunet"
NETWORK = "nnunet_vmunet.models.VMUNet"  # nnU-Net finds the class by its dotted name
PAPER_BATCH = 32
PAPER_PIXELS = 32 * 256 * 256
PAPER_PLANNER, PAPER_PLANS = "VMUNetPlannerPaper", "nnUNetVMUNetPlansPaper"
PAPER_SIDE_OF_PICTURES, PAPER_SIDE_OF_VOLUMES = 256, 224  # pixels; sections 4.1 and 4.2, ISIC and Synapse


def architecture_of(network: str) -> dict:
    """The plans' entry `architecture` for one of `NETWORKS`, its sizes written out so that they can be edited."""
    chosen = NETWORKS[network]
    parameters = inspect.signature(chosen.network_class).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    defaults = {
        name: list(default) if isinstance(default, tuple) else default
        for name, default in defaults.items()
        if default is not inspect.Parameter.empty and name != "deep_supervision"  # nnU-Net adds that one itself
    }
    name = f"{models.__name__}.{chosen.network_class.__name__}"
    return {"network_class_name": name, "arch_kwargs": {**defaults, **chosen.sizes}, "_kw_requires_import": []}


def paper_architecture() -> dict:
    """That of the paper's network."""
    return architecture_of(PAPERS)


def network_class(class_name: str) -> type[UShapedNetwork] | None:
    """The class of this dotted name if it is one of ours or a subclass; None also if it cannot be imported here."""
    try:
        named = pydoc.locate(class_name)
    except pydoc.ErrorDuringImport:
        return None
    return named if isinstance(named, type) and issubclass(named, UShapedNetwork) else None


def are_of_volumes(plans: dict) -> bool:
    """Whether the plans are of volumes, of which slices are taken, and not of pictures."""
    return plans["original_median_shape_after_transp"][0] > 1


def build_network(
    architecture: dict, input_channels: int, num_classes: int, *, deep_supervision: bool = False
) -> UShapedNetwork:
    """The network that the plans' entry names: (b, input_channels, h, w) to logits (b, num_classes, h, w).

    With deep supervision it gives a list of them, at several resolutions.
    """
    return get_network_from_plans(
        architecture["network_class_name"],
        architecture["arch_kwargs"],
        architecture["_kw_requires_import"],
        input_channels,
        num_classes,
        deep_supervision=deep_supervision,
    )


def paper_batch_size(patch_size: Sequence[int], training_images: int, processes: int = 1) -> int:
    """32 images of 256×256, or as many pixels in larger patches: at least 2, at most all the training images.

    Args:
        patch_size: (height, width) in pixels.
        training_images: images, or slices of volumes, in the training part.
        processes: that share the batch, and need an image each.
    """
    fitting = PAPER_PIXELS // math.prod(patch_size)
    return max(processes, min(max(2, min(PAPER_BATCH, fitting)), training_images))
