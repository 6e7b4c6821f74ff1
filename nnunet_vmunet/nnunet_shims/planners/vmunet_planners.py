# nnunet-vmunet shim: `nnunet-vmunet register` copies it into nnU-Net, `register --remove` takes it away.
"""Lets nnU-Net's search find VM-UNet's planners; each class keeps its own module, nnunet_vmunet.planner."""

try:
    from nnunet_vmunet.planner import *  # noqa: F403
except ModuleNotFoundError as error:
    # nnunet-vmunet was uninstalled and this file stayed: nnU-Net must go on finding its own planners. The second
    # name is for when caches keep the package's empty folder alive.
    if error.name not in ("nnunet_vmunet", "nnunet_vmunet.planner"):
        raise
