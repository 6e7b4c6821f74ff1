"""What a trained fold's folder says about its training: curves, seed, weights, and where it ran."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from ..files.nnunet import read_json
from ..weights.checkpoint import fingerprint
from ..weights.checkpoint_file import read, sha256

FINAL = "checkpoint_final.pth"
# nnU-Net's names for the values of each epoch that are drawn; learning rates and times beside them.
CURVES = ("train_losses", "val_losses", "mean_fg_dice", "ema_fg_dice", "lrs")
STARTS, ENDS = "epoch_start_timestamps", "epoch_end_timestamps"
_START = re.compile(r"Starting from (random weights|given weights.*)")


@dataclass(frozen=True)
class TrainingRecord:
    """What is known; empty or None where the files do not say it.

    curves: by nnU-Net's name, a value for each epoch. start: the log's line on the weights it began with.
    weights: of the final checkpoint, as facts by name. machine: as nnU-Net noted it.
    """

    curves: dict[str, list[float]] = field(default_factory=dict)
    minutes: float | None = None
    seed: int | None = None
    start: str | None = None
    weights: dict[str, object] = field(default_factory=dict)
    machine: dict[str, object] = field(default_factory=dict)

    @property
    def epochs(self) -> int:
        return len(self.curves.get("train_losses", ()))


def read_training(fold: Path) -> TrainingRecord:
    """Read the folder of a trained fold.

    Raises:
        InputError: its checkpoint or nnU-Net's debug.json is damaged.
    """
    checkpoint = fold / FINAL
    content = read(checkpoint) if checkpoint.is_file() else {}
    logged = content.get("logging", {})
    return TrainingRecord(
        curves={name: list(map(float, logged[name])) for name in CURVES if logged.get(name)},
        minutes=_minutes(logged),
        seed=content.get("init_args", {}).get("seed"),
        start=_start(fold),
        weights=_weights(checkpoint, content) if content else {},
        machine=_machine(fold),
    )


def _minutes(logged: dict) -> float | None:
    """Of the epochs alone."""
    starts, ends = logged.get(STARTS, ()), logged.get(ENDS, ())
    return sum(end - start for start, end in zip(starts, ends, strict=False)) / 60 if ends else None


def _start(fold: Path) -> str | None:
    """The first log's line: a training that was continued began with the weights of that one."""
    for log in sorted(fold.glob("training_log_*.txt")):
        found = _START.search(log.read_text(encoding="utf-8", errors="replace"))
        if found:
            return found[1].strip()
    return None


def _weights(checkpoint: Path, content: dict) -> dict[str, object]:
    tensors = content["network_weights"]
    provenance = content.get("provenance") or {}
    return {
        "file": checkpoint.name,
        "SHA-256": sha256(checkpoint),
        "fingerprint of the weights": fingerprint(tensors),
        "parameters": f"{sum(tensor.numel() for tensor in tensors.values()):,}",
        "imported from": f"{provenance['source']}, SHA-256 {provenance['sha256']}" if provenance else None,
    }


def _machine(fold: Path) -> dict[str, object]:
    noted = fold / "debug.json"
    if not noted.is_file():
        return {}
    content = read_json(noted, dict)
    names = {"torch_version": "torch", "device": "device", "gpu_name": "GPU", "hostname": "machine"}
    return {name: content[key] for key, name in names.items() if content.get(key) not in (None, "None")}
