"""What a saved model requires of the nnU-Net that is to predict with it: our trainer and, for photographs, our reader.

A checkpoint holds it as a dictionary of plain values under init_args, "requires": it can be read without this package.
"""

from __future__ import annotations

from . import __version__
from .errors import InputError

READER = "WholeImage2DIO"


def requirement(trainer: str, plans: dict) -> dict[str, str | None]:
    """The dictionary for a model of these plans."""
    reader = plans.get("image_reader_writer")
    return {"package": "nnunet-vmunet", "version": __version__, "trainer": trainer, "reader": reader}


def refuse_missing_reader(plans: dict) -> None:
    """Raise InputError where the plans name our image reader and nnU-Net does not find it.

    Without it nnU-Net would say that its background workers have died.
    """
    if plans.get("image_reader_writer") != READER:
        return
    import nnunetv2
    from nnunetv2.imageio.reader_writer_registry import recursive_find_reader_writer_by_name

    try:
        recursive_find_reader_writer_by_name(READER)
    except RuntimeError as error:
        raise InputError(
            f"nnU-Net in {nnunetv2.__path__[0]} does not find {READER}, which the model of "
            f"{plans.get('dataset_name')} needs: run nnunet-vmunet register"
        ) from error


class Requirement(dict):
    """The same dictionary in checkpoints of earlier versions, which name this class: it must keep its place."""

    def __setstate__(self, state: dict) -> None:
        self.update(state)
