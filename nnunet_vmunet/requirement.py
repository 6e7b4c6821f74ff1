"""What a saved model requires of the nnU-Net that is to predict with it: our trainer and, for photographs, our reader.

A checkpoint holds it as a dictionary of plain values under init_args, "requires": it can be read without this package.
"""

from __future__ import annotations

from typing import TypeGuard

from . import __version__
from .dataset_json import READERS, DatasetJson
from .errors import InputError


def requirement(trainer: str, plans: dict) -> dict[str, str | None]:
    """The dictionary for a model of these plans."""
    reader = plans.get("image_reader_writer")
    return {"package": "nnunet-vmunet", "version": __version__, "trainer": trainer, "reader": reader}


def refuse_missing_reader(plans: dict) -> None:
    """Raise InputError where the plans name an image reader of ours and nnU-Net does not find it.

    Without it nnU-Net would say that its background workers have died.
    """
    reader = plans.get("image_reader_writer")
    if _is_ours(reader) and not _is_found(reader):
        raise InputError(
            f"nnU-Net in {_nnunet()} does not find {reader}, which the model of {plans.get('dataset_name')} needs: "
            "run nnunet-vmunet register"
        )


def refuse_other_reader(description: DatasetJson, reader: str | None) -> None:
    """Raise InputError where the dataset asks for an image reader of ours and `reader` was planned instead.

    nnU-Net warns where it does not find the reader, and takes another: all images then have another scale, and the
    fingerprint with them.
    """
    wanted = description.reader
    if not _is_ours(wanted) or reader == wanted:
        return
    first = "" if _is_found(wanted) else "run nnunet-vmunet register, then "
    raise InputError(
        f"{description.file} asks for the image reader {wanted}, which nnU-Net did not find when it "
        f"planned, and took {reader}: {first}plan again with nnUNetv2_plan_and_preprocess ... --clean"
    )


def _is_ours(reader: str | None) -> TypeGuard[str]:
    return reader in READERS.values()


def _is_found(reader: str) -> bool:
    from nnunetv2.imageio.reader_writer_registry import recursive_find_reader_writer_by_name

    try:
        recursive_find_reader_writer_by_name(reader)
    except RuntimeError:
        return False
    return True


def _nnunet() -> str:
    import nnunetv2

    return nnunetv2.__path__[0]


class Requirement(dict):
    """The same dictionary in checkpoints of earlier versions, which name this class: it must keep its place."""

    def __setstate__(self, state: dict) -> None:
        self.update(state)
