# nnunet-vmunet shim: `nnunet-vmunet register` copies it into nnU-Net, `register --remove` takes it away.
"""Lets nnU-Net's search find VM-UNet's planners; each class keeps its own module, nnunet_vmunet.planner."""

try:
    from nnunet_vmunet.errors import end_in_one_line
    from nnunet_vmunet.paper_planner import *  # noqa: F403
    from nnunet_vmunet.planner import *  # noqa: F403

    end_in_one_line()  # what these classes refuse, in whichever of nnU-Net's commands
except ModuleNotFoundError as error:
    # nnunet-vmunet was uninstalled and this file stayed: nnU-Net must go on finding its own planners. The other
    # names are for when caches keep the package's empty folder alive.
    if error.name not in (
        "nnunet_vmunet",
        "nnunet_vmunet.errors",
        "nnunet_vmunet.paper_planner",
        "nnunet_vmunet.planner",
    ):
        raise
