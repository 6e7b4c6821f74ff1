"""The whole job on generated photographs: release, conversion, planning, training, prediction, Dice, picture."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps
from tqdm import tqdm

from .errors import InputError
from .synthetic_lesions import lesion_photograph

DATASET_ID = 118
SIZE = 64  # pixels a side that the demo trains at: minutes on two cores
TRAINER = "nnUNetTrainerVMUNet_20epochs"
RELEASE = {"Training": 130, "Validation": 50}
RELEASE_SIZES = ((400, 300), (320, 320), (360, 270), (300, 400))  # (width, height) in pixels
HELD_OUT_SIZES = ((600, 450), (512, 512), (451, 600), (767, 574), (233, 311), (640, 360))
GOOD_DICE = 0.85
PANEL, GAP, TITLE = (240, 180), 8, 24  # of the picture: (width, height) of a photograph, and heights, in pixels
OUTLINE = (0, 255, 255)


@dataclass
class HeldOut:
    """A photograph that the training never saw, its true mask and what was predicted."""

    name: str
    photograph: Image.Image
    truth: np.ndarray  # (h, w) bool
    prediction: np.ndarray  # (h, w) bool

    @property
    def dice(self) -> float:
        total = self.truth.sum() + self.prediction.sum()
        return float(2 * (self.truth & self.prediction).sum() / total) if total else 1.0


def demo(folder: Path, *, overwrite: bool = False) -> float:
    """Run the README's commands in `folder` and return the mean Dice of the held-out photographs.

    Raises:
        InputError: the folder is not empty, or a command failed.
    """
    folder = folder.resolve()
    _make_empty(folder, overwrite)
    _generate(folder)
    _run_commands(folder)
    results = _results(folder)
    for result in results:
        print(f"  {result.name}  {result.photograph.width}x{result.photograph.height}  Dice {result.dice:.3f}")
    mean = float(np.mean([result.dice for result in results]))
    print(f"Mean Dice of {len(results)} photographs that the training never saw: {mean:.3f}")
    _picture(results).save(folder / "demo.png")
    print(f"Photograph, truth and prediction side by side: {folder / 'demo.png'}")
    if mean < GOOD_DICE:
        raise InputError(f"the mean Dice {mean:.3f} is below {GOOD_DICE}: the training log in {folder} says more")
    return mean


def _make_empty(folder: Path, overwrite: bool) -> None:
    if folder.exists() and any(folder.iterdir()):
        if not overwrite:
            raise InputError(f"{folder} is not empty: give another folder with -o, or --overwrite to replace it")
        if not (folder / "release").is_dir():
            raise InputError(f"{folder} holds no earlier demo: delete it yourself, or give another folder with -o")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)


def _generate(folder: Path) -> None:
    """A release as ISIC 2018 publishes it, and photographs that it does not hold."""
    number = 0
    with tqdm(total=sum(RELEASE.values()) + len(HELD_OUT_SIZES), desc="Generating photographs") as progress:
        for part, count in RELEASE.items():
            images = folder / "release" / f"ISIC2018_Task1-2_{part}_Input"
            masks = folder / "release" / f"ISIC2018_Task1_{part}_GroundTruth"
            for _ in range(count):
                _write(number, RELEASE_SIZES[number % len(RELEASE_SIZES)], images, masks)
                number += 1
                progress.update()
        for size in HELD_OUT_SIZES:
            _write(number, size, folder / "photos", folder / "truth")
            number += 1
            progress.update()


def _write(number: int, size: tuple[int, int], images: Path, masks: Path) -> None:
    images.mkdir(parents=True, exist_ok=True)
    masks.mkdir(parents=True, exist_ok=True)
    photograph, mask = lesion_photograph(np.random.default_rng([DATASET_ID, number]), *size)
    photograph.save(images / f"ISIC_{number:07d}.jpg", quality=92)
    mask.save(masks / f"ISIC_{number:07d}_segmentation.png")


def _run_commands(folder: Path) -> None:
    environment = _environment(folder)
    device = [] if _has_gpu() else ["-device", "cpu"]
    dataset = ["-d", str(DATASET_ID)]
    commands = (
        ["nnunet-vmunet", "register"],
        ["nnunet-vmunet", "convert", "isic18", "-i", "release", *dataset, "--size", str(SIZE), "-np", "2"],
        ["nnUNetv2_plan_and_preprocess", *dataset, "-c", "2d", "--verify_dataset_integrity", "-npfp", "2", "-np", "2"],
        ["nnUNetv2_train", str(DATASET_ID), "2d", "0", "-tr", TRAINER, *device],
        ["nnunet-vmunet", "convert", "images", "-i", "photos", "-o", "new_scans", "-np", "2"],
        ["nnUNetv2_predict", "-i", "new_scans", "-o", "masks", *dataset, "-c", "2d", "-f", "0", "-tr", TRAINER,
         "-npp", "1", "-nps", "1", *device],
    )  # fmt: skip
    for command in commands:
        print(f"\n$ {shlex.join(command)}", flush=True)
        finished = subprocess.run([_program(command[0]), *command[1:]], cwd=folder, env=environment, check=False)
        if finished.returncode:
            raise InputError(f"{command[0]} ended with exit code {finished.returncode}: its message stands above")


def _environment(folder: Path) -> dict[str, str]:
    """nnU-Net's folders inside the demo's, and no more processes than a small machine can feed."""
    folders = {name: folder / name for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    for path in folders.values():
        path.mkdir()
    return {
        **os.environ,
        **{name: str(path) for name, path in folders.items()},
        "nnUNet_n_proc_DA": "1",
        "nnUNet_def_n_proc": "2",
    }


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _program(name: str) -> str:
    """The command of this Python's environment, activated or not."""
    beside_python = Path(sys.executable).with_name(name)
    return str(beside_python) if beside_python.exists() else name


def _results(folder: Path) -> list[HeldOut]:
    return [
        HeldOut(
            name=photo.stem,
            photograph=Image.open(photo).convert("RGB"),
            truth=np.array(Image.open(folder / "truth" / f"{photo.stem}_segmentation.png")) > 0,
            prediction=np.array(Image.open(folder / "masks" / f"{photo.stem}.png")) > 0,
        )
        for photo in sorted((folder / "photos").glob("*.jpg"))
    ]


def _picture(results: list[HeldOut]) -> Image.Image:
    """Photograph, truth and prediction side by side, two photographs to a row."""
    row_height, half = PANEL[1] + TITLE, 3 * (PANEL[0] + GAP) + GAP
    picture = Image.new("RGB", (2 * half, -(-len(results) // 2) * (row_height + GAP)), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(TITLE * 2 // 3)
    for i, result in enumerate(results):
        panels = {
            "photograph": _panel(result.photograph, None),
            "truth": _panel(result.photograph, result.truth),
            f"prediction, Dice {result.dice:.2f}": _panel(result.photograph, result.prediction),
        }
        for j, (title, panel) in enumerate(panels.items()):
            x, y = i % 2 * half + j * (PANEL[0] + GAP), i // 2 * (row_height + GAP)
            draw.text((x, y), title, fill="black", font=font)
            picture.paste(panel, (x, y + TITLE))
    return picture


def _panel(photograph: Image.Image, mask: np.ndarray | None) -> Image.Image:
    """The photograph fitted into a panel, with the mask's outline if there is a mask."""
    panel = ImageOps.contain(photograph, PANEL)
    if mask is not None:
        shape = Image.fromarray(mask).convert("L").resize(panel.size)
        outline = np.array(shape.filter(ImageFilter.MaxFilter(5))) != np.array(shape)
        panel = Image.fromarray(np.where(outline[..., None], np.uint8(OUTLINE), np.array(panel)))
    return ImageOps.pad(panel, PANEL, color="white")
