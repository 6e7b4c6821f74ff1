"""What nnU-Net's plans say of a VM-UNet: the entry `architecture`, and the paper's batch."""

import inspect
import math
import pydoc
from collections.abc import Sequence

from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

from .models import VMUNet

NETWORK = "nnunet_vmunet.models.VMUNet"  # nnU-Net finds the class by this dotted name
PAPER_BATCH = 32
PAPER_PIXELS = 32 * 256 * 256
PAPER_PLANNER, PAPER_PLANS = "VMUNetPlannerPaper", "nnUNetVMUNetPlansPaper"
PAPER_SIDE_OF_PICTURES, PAPER_SIDE_OF_VOLUMES = 256, 224  # pixels; sections 4.1 and 4.2, ISIC and Synapse


def paper_architecture() -> dict:
    """The plans' entry `architecture` for the paper's network, its sizes written out so that they can be edited."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(VMUNet).parameters.items()}
    sizes = {
        name: list(default) if isinstance(default, tuple) else default
        for name, default in defaults.items()
        if default is not inspect.Parameter.empty and name != "deep_supervision"  # nnU-Net adds that one itself
    }
    return {"network_class_name": NETWORK, "arch_kwargs": sizes, "_kw_requires_import": []}


def is_vmunet(class_name: str) -> bool:
    """Whether this dotted name is that of `VMUNet` or of a subclass; of nothing that cannot be imported here."""
    try:
        named = pydoc.locate(class_name)
    except pydoc.ErrorDuringImport:
        return False
    return isinstance(named, type) and issubclass(named, VMUNet)


def are_of_volumes(plans: dict) -> bool:
    """Whether the plans are of volumes, of which slices are taken, and not of pictures."""
    return plans["original_median_shape_after_transp"][0] > 1


def build_network(architecture: dict, input_channels: int, num_classes: int) -> VMUNet:
    """The network that the plans' entry names: (b, input_channels, h, w) to logits (b, num_classes, h, w)."""
    return get_network_from_plans(
        architecture["network_class_name"],
        architecture["arch_kwargs"],
        architecture["_kw_requires_import"],
        input_channels,
        num_classes,
        deep_supervision=False,
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
