"""The curves of a training as one picture: losses, Dice during training, learning rate."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from .training_record import TrainingRecord

BLUE, RED, GREY = "#33658a", "#d1495b", "#888888"


def save_curves(file: Path, record: TrainingRecord) -> None:
    """Three panels over the epochs. nnU-Net's Dice during training is of patches, not of whole cases."""
    figure = Figure(figsize=(9.5, 2.9), layout="constrained")
    losses, dice, rate = figure.subplots(1, 3)
    _draw(losses, "loss", record, {"train_losses": ("training", BLUE), "val_losses": ("validation", RED)})
    _draw(dice, "Dice of patches", record, {"mean_fg_dice": ("each epoch", GREY), "ema_fg_dice": ("smoothed", RED)})
    _draw(rate, "learning rate", record, {"lrs": ("", BLUE)})
    figure.savefig(file, dpi=110)


def _draw(axes, title: str, record: TrainingRecord, curves: dict[str, tuple[str, str]]) -> None:
    for name, (label, colour) in curves.items():
        values = record.curves.get(name, [])
        marker = "o" if len(values) < 20 else None
        axes.plot(
            range(1, len(values) + 1), values, color=colour, label=label, linewidth=1.3, marker=marker, markersize=3
        )
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlabel("epoch", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(color="#e5e5e5")
    axes.xaxis.get_major_locator().set_params(integer=True)
    if len(curves) > 1:
        axes.legend(frameon=False, fontsize=8)
