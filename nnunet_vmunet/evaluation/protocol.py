"""Whether the paper's row stands in a table, and how what is evaluated was made, as against the paper's protocol."""

from __future__ import annotations

from ..errors import InputError
from ..files.nnunet import read_json
from . import paper
from .label_folders import Folders

UNKNOWN = "not known"


def release_of(folders: Folders) -> str | None:
    """The release that a converter made the dataset of, as its dataset.json says: isic17, isic18 or synapse."""
    release = folders.dataset_json.content.get("release") if folders.dataset_json is not None else None
    return release if isinstance(release, str) else None


def protocol_of(folders: Folders, size: str) -> dict[str, str]:
    """Split, mirroring, checkpoint and size of comparison, in words."""
    split = folders.dataset_json.content.get("split") if folders.dataset_json is not None else None
    return {
        "split": split if isinstance(split, str) and split else UNKNOWN,
        "mirroring": _mirroring(folders),
        "checkpoint": _checkpoint(folders),
        "size": size,
    }


def differences(protocol: dict[str, str], task: str) -> str:
    """One line on what differs from the paper's protocol, and on what is not known. task: a key of paper.PROTOCOLS."""
    papers = paper.PROTOCOLS[task]
    unknown = [f"{what} (the paper: {papers[what]})" for what, ours in protocol.items() if ours == UNKNOWN]
    known = [
        f"{what}: {ours} (the paper: {papers[what]})"
        for what, ours in protocol.items()
        if ours not in (UNKNOWN, papers[what])
    ]
    parts = {"Differs from the paper's protocol": known, "Not known": unknown}
    return ". ".join(f"{title}: {'; '.join(listed)}" for title, listed in parts.items() if listed)


def _checkpoint(folders: Folders) -> str:
    """Whose weights predicted the validation: nnU-Net does it again, into the same folder, when asked."""
    if folders.fold is None:
        return UNKNOWN
    # nnUNetTrainerVMUNet_paper's, whose final checkpoint is its best.
    deciding = {
        "val_losses": paper.PROTOCOLS["isic"]["checkpoint"],
        "train_losses": paper.PROTOCOLS["synapse"]["checkpoint"],
    }
    return deciding.get(_noted(folders, "deciding_loss") or "", "checkpoint_final, unless --val_best was given")


def _mirroring(folders: Folders) -> str:
    """What the validation of a fold did."""
    axes = _noted(folders, "inference_allowed_mirroring_axes")
    if axes is None:
        return UNKNOWN
    number = sum(character.isdecimal() for character in axes)  # "(0, 1)", or "None"
    return f"{2**number} mirrored views averaged" if number else "none"


def _noted(folders: Folders, attribute: str) -> str | None:
    """An attribute of the fold's trainer: nnU-Net writes them to debug.json when it trains."""
    if folders.fold is None or not (folders.fold / "debug.json").is_file():
        return None
    try:
        value = read_json(folders.fold / "debug.json", dict).get(attribute)
    except InputError:  # a note is not worth a refusal
        return None
    return None if value is None else str(value)
