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
        # nnU-Net predicts the validation again, into the same folder, when asked.
        "checkpoint": UNKNOWN if folders.fold is None else "checkpoint_final, unless --val_best was given",
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


def _mirroring(folders: Folders) -> str:
    """What the validation of a fold did: nnU-Net writes the trainer's attributes to debug.json when it trains."""
    if folders.fold is None or not (folders.fold / "debug.json").is_file():
        return UNKNOWN
    try:
        axes = read_json(folders.fold / "debug.json", dict).get("inference_allowed_mirroring_axes")
    except InputError:  # a note is not worth a refusal
        return UNKNOWN
    if axes is None:
        return UNKNOWN
    number = sum(character.isdecimal() for character in str(axes))  # "(0, 1)", or "None"
    return f"{2**number} mirrored views averaged" if number else "none"
