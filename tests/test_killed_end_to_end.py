"""nnU-Net's own commands, killed at random moments and run again, where every name has spaces and umlauts."""

import json
import os
import random
import re
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nnunet_vmunet.plans import NETWORK
from nnunet_vmunet.schedule import cosine_lr

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc"),
]

DATASET, TRAINER = "Dataset906_Übung", "nnUNetTrainerVMUNet_5epochs"
SMALL = {"depths": [1, 1], "depths_decoder": [1, 1], "dims": [16, 32], "d_state": 4}
TO_PREDICT = [f"Größe {i}" for i in range(12)]


@pytest.fixture
def planned(nnunet):
    """nnU-Net below a folder with an unusual name, a preprocessed dataset, and plans for a small network."""
    folder = nnunet.folder / "Bilder der Häute (neu)"
    folder.mkdir()
    nnunet = type(nnunet)(folder)
    raw = nnunet.raw / DATASET
    rng = np.random.default_rng(0)
    for place, cases in (("Tr", [f"Fall {i} ä" for i in range(10)]), ("Ts", TO_PREDICT)):
        for kind in ("images", "labels"):
            (raw / f"{kind}{place}").mkdir(parents=True)
        for i, case in enumerate(cases):
            label = np.zeros((64, 64), np.uint8)
            label[8 : 28 + i, 8:40] = 1
            image = (rng.integers(1, 200, (64, 64, 3)) + 50 * label[..., None]).astype(np.uint8)
            Image.fromarray(image).save(raw / f"images{place}" / f"{case}_0000.png")
            Image.fromarray(label).save(raw / f"labels{place}" / f"{case}.png")
    description = {
        "channel_names": {"0": "R", "1": "G", "2": "B"},
        "labels": {"background": 0, "Läsion": 1},
        "numTraining": 10,
        "file_ending": ".png",
        "overwrite_image_reader_writer": "WholeImage2DIO",
    }
    (raw / "dataset.json").write_text(json.dumps(description))
    nnunet.run("nnUNetv2_plan_and_preprocess", "-d", "906", "-c", "2d", "-npfp", "1", "-np", "1")
    file = nnunet.preprocessed / DATASET / "nnUNetPlans.json"
    plans = json.loads(file.read_text())
    plans["configurations"]["2d"]["architecture"] = {
        "network_class_name": NETWORK,
        "arch_kwargs": SMALL,
        "_kw_requires_import": [],
    }
    file.write_text(json.dumps(plans))
    return nnunet


def run_until_killed(nnunet, *command, when, moment: float, workers_too: bool) -> None:
    """Kill the command `moment` seconds after when(log) has become true; no process of it lives on."""
    log = nnunet.folder / "killed.log"
    process = nnunet.start(*command, *nnunet.device, log=log)
    try:
        deadline = time.monotonic() + 300
        while not when(log.read_text()):
            assert process.poll() is None, log.read_text()[-5000:]
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(moment)
        if not workers_too:
            process.kill()
            process.wait()
            deadline = time.monotonic() + 10
            while running_in_group(process.pid):
                assert time.monotonic() < deadline, "workers outlive a killed training"
                time.sleep(0.1)
    finally:
        if running_in_group(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def running_in_group(group: int) -> bool:
    """From Linux's /proc, where killed processes may stay as zombies for a while."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, process_group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue  # it ended meanwhile
        if int(process_group) == group and state != "Z":
            return True
    return False


def masks(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.png"))


def assert_same_bits(one: dict, other: dict) -> None:
    """Of two checkpoints: the weights, averaged and raw, the optimizer's moments, and what was logged but the times."""
    for name, weights in one["network_weights"].items():
        assert torch.equal(weights, other["network_weights"][name]), name
    moments, others = (checkpoint["optimizer_state"]["state"] for checkpoint in (one, other))
    assert len(moments) == len(others) > 0
    for number, state in moments.items():
        for name, values in state.items():
            assert torch.equal(values, others[number][name]), (number, name)
    for curve in ("train_losses", "val_losses", "mean_fg_dice"):
        assert one["logging"][curve] == other["logging"][curve]


def test_what_was_complete_is_kept_and_the_rest_is_done(planned):
    moments = random.Random(2402)
    train = ("nnUNetv2_train", DATASET, "2d", "0", "-tr", TRAINER)
    fold = planned.results / DATASET / f"{TRAINER}__nnUNetPlans__2d" / "fold_0"
    for epoch, options in ((1, ()), (3, ("--c",))):
        run_until_killed(
            planned,
            *train,
            *options,
            when=lambda log, begun=f"Epoch {epoch}": begun in log,
            moment=moments.random(),
            workers_too=False,
        )
        latest = torch.load(fold / "checkpoint_latest.pth", weights_only=False)
        assert epoch <= latest["current_epoch"] <= 4  # so many epochs were complete
    log = planned.run(*train, "--c", *planned.device)
    assert [int(n) for n in re.findall(r"Epoch (\d+) *\n", log)] == list(range(latest["current_epoch"], 5))
    final = torch.load(fold / "checkpoint_final.pth", weights_only=False)
    curves = final["logging"]
    assert curves["lrs"] == [cosine_lr(epoch, 1e-3, t_max=5) for epoch in range(5)]
    assert np.isfinite(curves["train_losses"]).all()
    assert len(curves["train_losses"]) == 5
    assert len(masks(fold / "validation")) == 2
    assert not list(fold.glob("*.partial"))

    planned.workers = 0
    planned.run(*train, *planned.device)  # from the start, never killed, and without workers
    assert_same_bits(torch.load(fold / "checkpoint_final.pth", weights_only=False), final)

    predict = (
        "nnUNetv2_predict",
        "-i",
        planned.raw / DATASET / "imagesTs",
        "-d",
        DATASET,
        "-c",
        "2d",
        "-f",
        "0",
        "-tr",
        TRAINER,
        "-npp",
        "1",
        "-nps",
        "1",
    )
    undisturbed, killed = planned.folder / "Masken, ungestört", planned.folder / "Masken, getötet"
    planned.run(*predict, "-o", undisturbed, *planned.device)
    assert [mask.stem for mask in masks(undisturbed)] == sorted(TO_PREDICT)
    for count, options in ((1, ()), (6, ("--continue_prediction",))):
        run_until_killed(
            planned,
            *predict,
            "-o",
            killed,
            *options,
            when=lambda _, count=count: len(masks(killed)) >= count,
            moment=moments.random() / 10,
            workers_too=True,  # nnU-Net's own, which would live on
        )
        assert all(mask.read_bytes() == (undisturbed / mask.name).read_bytes() for mask in masks(killed))
    log = planned.run(*predict, "-o", killed, "--continue_prediction", *planned.device)
    assert "haven't been predicted yet" in log
    assert {mask.name: mask.read_bytes() for mask in masks(killed)} == {
        mask.name: mask.read_bytes() for mask in masks(undisturbed)
    }
    assert not list(killed.glob(".*"))
