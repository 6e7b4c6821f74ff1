"""A raw nnU-Net dataset of small pictures with a square in each: what end-to-end tests plan, train and predict."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 32  # pixels


def write_squares(raw: Path, cases: int, **more_of_dataset_json) -> None:
    rng = np.random.default_rng(0)
    for folder in ("imagesTr", "labelsTr"):
        (raw / folder).mkdir(parents=True)
    for i in range(cases):
        label = np.zeros((SIDE, SIDE), np.uint8)
        label[4 : 12 + i, 8:20] = 1
        image = rng.integers(1, 200, (SIDE, SIDE, 3)) + 50 * label[..., None]
        Image.fromarray(image.astype(np.uint8)).save(raw / "imagesTr" / f"case{i}_0000.png")
        Image.fromarray(label).save(raw / "labelsTr" / f"case{i}.png")
    description = {
        "channel_names": {"0": "R", "1": "G", "2": "B"},
        "labels": {"background": 0, "square": 1},
        "numTraining": cases,
        "file_ending": ".png",
        **more_of_dataset_json,
    }
    (raw / "dataset.json").write_text(json.dumps(description))
