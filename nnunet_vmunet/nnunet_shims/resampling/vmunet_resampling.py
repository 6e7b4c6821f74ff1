# nnunet-vmunet shim: `nnunet-vmunet register` copies it into nnU-Net, `register --remove` takes it away.
"""Lets nnU-Net's search find VM-UNet's resampling; the function keeps its own module, nnunet_vmunet.resampling."""

try:
    from nnunet_vmunet.errors import end_in_one_line
    from nnunet_vmunet.resampling import *  # noqa: F403

    end_in_one_line()  # what this package refuses, in whichever of nnU-Net's commands
except ModuleNotFoundError as error:
    # nnunet-vmunet was uninstalled and this file stayed: nnU-Net must go on finding its own resampling. The other
    # names are for when caches keep the package's empty folder alive.
    if error.name not in ("nnunet_vmunet", "nnunet_vmunet.errors", "nnunet_vmunet.resampling"):
        raise
