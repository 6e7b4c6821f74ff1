"""The whole job on generated photographs: release, conversion, planning, training, prediction, Dice, picture."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .errors import InputError
from .overlay.cases import given_source
from .overlay.draw import draw_cases
from .synthetic_lesions import lesion_photograph

DATASET_ID = 118
SIZE = 64  # pixels a side that the demo trains at: minutes on two cores
PLANNER, PLANS = "VMUNetPlanner", "nnUNetVMUNetPlans"  # batches of a twentieth of the images: 280 steps, not 80
TRAINER = "nnUNetTrainerVMUNet_20epochs"
RELEASE = {"Training": 130, "Validation": 50}
RELEASE_SIZES = ((400, 300), (320, 320), (360, 270), (300, 400))  # (width, height) in pixels
HELD_OUT_SIZES = ((600, 450), (512, 512), (451, 600), (767, 574), (233, 311), (640, 360))
GOOD_DICE = 0.85


def demo(folder: Path, *, overwrite: bool = False) -> float:
    """Run the README's commands in `folder` and return the mean Dice of the held-out photographs.

    Raises:
        InputError: the folder is not empty, or a command failed.
    """
    folder = folder.resolve()
    _make_empty(folder, overwrite)
    _generate(folder)
    _run_commands(folder)
    mean = _look(folder)
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
        [
            "nnUNetv2_plan_and_preprocess",
            *dataset,
            "-c",
            "2d",
            "-pl",
            PLANNER,
            "--verify_dataset_integrity",
            "-npfp",
            "2",
            "-np",
            "2",
        ],
        ["nnUNetv2_train", str(DATASET_ID), "2d", "0", "-tr", TRAINER, "-p", PLANS, *device],
        ["nnunet-vmunet", "predict", *dataset, "-i", "photos", "-o", "masks"],
    )
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


def _look(folder: Path) -> float:
    """Draw the predictions over the photographs and return their mean Dice."""
    print(flush=True)
    drawn = draw_cases(given_source(folder / "photos", folder / "masks", folder / "truth"), folder / "overlay")
    for thumbnail in drawn:
        print(f"  {thumbnail.name}  Dice {thumbnail.dice:.3f}")
    mean = float(np.mean([thumbnail.dice for thumbnail in drawn]))
    print(f"Mean Dice of {len(drawn)} photographs that the training never saw: {mean:.3f}")
    print(f"All at a glance: {folder / 'overlay' / 'contact_sheet.png'}")
    return mean
