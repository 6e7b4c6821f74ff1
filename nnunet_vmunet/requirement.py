"""What a saved model requires of the nnU-Net that is to predict with it: our trainer, reader, preprocessor, resampling.

A checkpoint holds it as a dictionary of plain values under init_args, "requires": it can be read without this package.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeGuard

from . import __version__
from .dataset_json import READERS, DatasetJson
from .errors import InputError

PAPER_PREPROCESSOR = "PaperPreprocessor"  # the class in preprocessing.py
AVERAGING = "resample_averaging"  # the function in resampling.py


def requirement(trainer: str, plans: dict) -> dict[str, str | None]:
    """The dictionary for a model of these plans."""
    reader = plans.get("image_reader_writer")
    return {
        "package": "nnunet-vmunet",
        "version": __version__,
        "trainer": trainer,
        "reader": reader,
        "preprocessor": PAPER_PREPROCESSOR if _named(plans, "preprocessor_name", PAPER_PREPROCESSOR) else None,
        "resampling": AVERAGING if _named(plans, "resampling_fn_data", AVERAGING) else None,
    }


def refuse_missing_parts(plans: dict) -> None:
    """Raise InputError where the plans name a reader, preprocessor or resampling of ours that nnU-Net does not find.

    Without a reader or a resampling nnU-Net would say that its background workers have died, without a preprocessor
    that None cannot be called.
    """
    reader = plans.get("image_reader_writer")
    if _is_ours(reader) and not _is_found(reader):
        raise _missing(reader, plans)
    for key, name, *folders in (
        ("preprocessor_name", PAPER_PREPROCESSOR, "preprocessing"),
        ("resampling_fn_data", AVERAGING, "preprocessing", "resampling"),
    ):
        if _named(plans, key, name) and not _is_in(folders, name):
            raise _missing(name, plans)


def _missing(name: str, plans: dict) -> InputError:
    return InputError(
        f"nnU-Net in {_nnunet()} does not find {name}, which the model of {plans.get('dataset_name')} needs: "
        "run nnunet-vmunet register"
    )


def _named(plans: dict, key: str, name: str) -> bool:
    return any(settings.get(key) == name for settings in plans.get("configurations", {}).values())


def _is_in(folders: list[str], name: str) -> bool:
    """Whether nnU-Net's search finds a class or function in this folder of its package, by the folder's path."""
    from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

    module = ".".join(("nnunetv2", *folders))
    return recursive_find_python_class(str(Path(_nnunet(), *folders)), name, module) is not None


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
