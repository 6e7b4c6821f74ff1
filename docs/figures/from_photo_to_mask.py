"""Draws docs/from_photo_to_mask.png: a generated photograph on its way through a trained model, array by array.

    make demo
    .venv/bin/python docs/figures/from_photo_to_mask.py demo

Every picture is an array that the project's and nnU-Net's own functions made; nothing is drawn by hand but the arrows.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.path import Path as Path2D
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from PIL import Image

from nnunet_vmunet.files.photographs import read_photograph, write_png
from nnunet_vmunet.synthetic_lesions import lesion_photograph

PICTURE = Path(__file__).resolve().parents[1] / "from_photo_to_mask.png"
SIZE = (767, 574)  # (width, height) of the photograph
SEED = 25
SIDEWAYS = 6  # EXIF orientation: turn the stored pixels 90° clockwise
CYAN, INK, FAINT = "#00e5ff", "#1d2733", "#5c6b7a"


@dataclass
class Way:
    """One photograph's arrays, in the order in which they come about."""

    stored: np.ndarray  # (h, w, 3) uint8, as the camera left it
    upright: np.ndarray  # (h, w, 3) uint8
    input: np.ndarray  # (channels, 1, rows, columns) float32
    logits: np.ndarray  # (heads, 1, rows, columns)
    probability: np.ndarray  # (h, w) of the lesion
    mask: np.ndarray  # (h, w) uint8, 1 on the lesion
    truth: np.ndarray  # (h, w) uint8

    @property
    def dice(self) -> float:
        return 2 * (self.mask & self.truth).sum() / (self.mask.sum() + self.truth.sum())


def follow(model: Path, folder: Path) -> Way:
    """Take one photograph, written into `folder`, from the camera's file to its mask."""
    photo, png = folder / "photo.jpg", folder / "photo_0000.png"
    truth = _photograph(photo)
    upright = read_photograph(photo)  # `nnunet-vmunet convert images`
    write_png(upright, png)

    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)  # `nnUNetv2_predict -device cpu`
    predictor.initialize_from_trained_model_folder(str(model), use_folds=(0,))
    plans, configuration = predictor.plans_manager, predictor.configuration_manager
    preprocessor = configuration.preprocessor_class(verbose=False)
    data, _, properties = preprocessor.run_case([str(png)], None, plans, configuration, predictor.dataset_json)
    logits = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(data))
    mask, probabilities = convert_predicted_logits_to_segmentation_with_correct_shape(
        logits, plans, configuration, predictor.label_manager, properties, return_probabilities=True
    )
    stored = np.asarray(Image.open(photo))
    return Way(stored, upright, data, logits.float().numpy(), probabilities[1, 0], mask[0], truth)


def _photograph(file: Path) -> np.ndarray:
    """Write a photograph as a camera does that was held sideways; return its true mask, upright."""
    photograph, mask = lesion_photograph(np.random.default_rng(SEED), *SIZE)
    exif = Image.Exif()
    exif[0x0112] = SIDEWAYS
    photograph.transpose(Image.Transpose.ROTATE_90).save(file, quality=92, exif=exif)
    return (np.asarray(mask) > 0).astype(np.uint8)


def draw(way: Way) -> Figure:
    """Six panels in two rows, to be read row by row."""
    figure = Figure(figsize=(9, 5.9), facecolor="white")
    panels = figure.subplots(2, 3, gridspec_kw={"wspace": 0.3, "hspace": 0.5})
    figure.subplots_adjust(left=0.02, right=0.98, top=0.93, bottom=0.07)
    for axes in panels.flat:
        axes.set_axis_off()

    panels[0, 0].imshow(way.stored)
    panels[0, 1].imshow(way.upright)
    _draw_channels(panels[0, 2], way.input[:, 0])
    limit = np.abs(way.logits).max()
    panels[1, 0].imshow(way.logits[1, 0] - way.logits[0, 0], cmap="RdBu_r", vmin=-2 * limit, vmax=2 * limit)
    panels[1, 1].imshow(way.probability, cmap="magma", vmin=0, vmax=1)
    panels[1, 2].imshow(way.upright)
    panels[1, 2].contour(way.truth, [0.5], colors="white", linewidths=1, linestyles="dotted")
    panels[1, 2].contour(way.mask, [0.5], colors=CYAN, linewidths=1.8)

    titles = (
        ("1  photograph", f"{_by(way.stored.shape)} uint8, EXIF: lies on its side"),
        ("2  upright RGB", f"{_by(way.upright.shape)} uint8"),
        ("3  network input", f"{_by(way.input[:, 0].shape)} float32: R, G, B"),
        ("4  logits", f"{_by(way.logits[:, 0].shape)}; drawn: their difference"),
        ("5  probability", f"of the lesion, {_by(way.probability.shape)}"),
        ("6  mask", f"{_by(way.mask.shape)} uint8; Dice {way.dice:.2f}"),
    )
    for axes, (title, shape) in zip(panels.flat, titles, strict=True):
        axes.set_title(title, fontsize=12, fontweight="bold", color=INK, pad=6)
        axes.text(0.5, -0.04, shape, transform=axes.transAxes, ha="center", va="top", fontsize=9, color=FAINT)
    for row, column, step in (
        (0, 0, "convert"),
        (0, 1, "z-score,\nresample"),
        (1, 0, "resample,\nsoftmax"),
        (1, 1, "argmax"),
    ):
        _draw_arrow(figure, panels[row, column], panels[row, column + 1], step)
    _draw_way_to_next_row(figure, panels[0, 2], panels[1, 0], "VM-UNet, mean over the image and its mirror images")
    return figure


def _draw_channels(axes, channels: np.ndarray) -> None:
    """The channels one behind the other, the first in front."""
    side, shift = channels.shape[-1], channels.shape[-1] // 5
    low, high = np.percentile(channels, [1, 99])
    last = len(channels) - 1
    for c in range(last, -1, -1):
        left, top = c * shift, (last - c) * shift
        extent = (left, left + side, top + side, top)
        axes.imshow(channels[c], cmap="gray", vmin=low, vmax=high, extent=extent, zorder=2 * (last - c))
        axes.add_patch(
            Rectangle(
                (left, top),
                side,
                side,
                fill=False,
                edgecolor=("#d1495b", "#3a8f5c", "#33658a")[c],
                linewidth=1.5,
                zorder=2 * (last - c) + 1,
            )
        )
    axes.set_xlim(-1, side + last * shift + 1)
    axes.set_ylim(side + last * shift + 1, -1)


def _draw_arrow(figure: Figure, from_, to, step: str) -> None:
    figure.canvas.draw()
    left, right = from_.get_position(), to.get_position()
    y = (left.y0 + left.y1) / 2
    figure.add_artist(
        FancyArrowPatch(
            (left.x1 + 0.006, y),
            (right.x0 - 0.006, y),
            transform=figure.transFigure,
            arrowstyle="-|>",
            mutation_scale=14,
            color=FAINT,
            linewidth=1.3,
        )
    )
    figure.text((left.x1 + right.x0) / 2, y + 0.02, step, ha="center", va="bottom", fontsize=9, color=INK)


def _draw_way_to_next_row(figure: Figure, from_, to, step: str) -> None:
    above, below = from_.get_position(), to.get_position()
    right, left = (above.x0 + above.x1) / 2, (below.x0 + below.x1) / 2
    y = 0.5
    way = Path2D([(right, above.y0 - 0.055), (right, y), (left, y), (left, below.y1 + 0.05)])
    figure.add_artist(
        FancyArrowPatch(
            path=way, transform=figure.transFigure, arrowstyle="-|>", mutation_scale=14, color=FAINT, linewidth=1.3
        )
    )
    figure.text(
        (left + right) / 2,
        y,
        step,
        ha="center",
        va="center",
        fontsize=9,
        color=INK,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 3},
    )


def _by(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))  # noqa: RUF001


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("demo", type=Path, help="what `make demo`, or `nnunet-vmunet demo -o FOLDER`, left")
    parser.add_argument("-o", dest="output", type=Path, default=PICTURE, help=f"default {PICTURE.name} in docs/")
    args = parser.parse_args()
    model = next((args.demo / "nnUNet_results").glob("Dataset*/nnUNetTrainerVMUNet*__2d"))
    with TemporaryDirectory() as folder:
        way = follow(model, Path(folder))
    draw(way).savefig(args.output, dpi=140)


if __name__ == "__main__":
    main()
