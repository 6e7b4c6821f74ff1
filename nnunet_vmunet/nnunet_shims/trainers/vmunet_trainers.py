# nnunet-vmunet shim: `nnunet-vmunet register` copies it into nnU-Net, `register --remove` takes it away.
"""Lets nnU-Net's search find VM-UNet's trainers; each class keeps its own module, nnunet_vmunet.trainers…"""

try:
    from nnunet_vmunet.trainers import *  # noqa: F403
except ModuleNotFoundError as error:
    # nnunet-vmunet was uninstalled and this file stayed: nnU-Net must go on finding its own trainers. The second
    # name is for when caches keep the package's empty folder alive.
    if error.name not in ("nnunet_vmunet", "nnunet_vmunet.trainers"):
        raise
