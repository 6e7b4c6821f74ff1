"""How nnU-Net's plans name our network."""

import inspect

from .models import VMUNet

NETWORK = "nnunet_vmunet.models.VMUNet"  # nnU-Net finds the class by this dotted name
OUR_NETWORKS = (NETWORK, f"{VMUNet.__module__}.{VMUNet.__qualname__}")


def paper_architecture() -> dict:
    """The plans' entry `architecture` for the paper's network, its sizes written out so that they can be edited."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(VMUNet).parameters.items()}
    sizes = {
        name: list(default) if isinstance(default, tuple) else default
        for name, default in defaults.items()
        if default is not inspect.Parameter.empty and name != "deep_supervision"  # nnU-Net adds that one itself
    }
    return {"network_class_name": NETWORK, "arch_kwargs": sizes, "_kw_requires_import": []}
