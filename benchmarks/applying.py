"""Where the time goes when a model is applied to photographs: `python benchmarks/applying.py -i FOLDER`, on this CPU.

FOLDER holds photographs, whose copies are predicted without mirroring by `nnunet-vmunet predict` and by nnU-Net's own
command: VM-UNet with the paper's geometry, 256x256 for every photograph, and stock nnU-Net's 2D network with its own
plans for them. Weights are random, but the output layer's, which are 0: masks are empty, and take half of a millisecond
less to write than a trained network's; noise would take ten more. "network" is the network alone, called in
one process on prepared images; a command's time is that from its start to its end, divided by the number of
photographs. nnU-Net's command gets photographs that are converted already.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image
from report import Row, cpu_machine, report

from nnunet_vmunet import load_model
from nnunet_vmunet.dataset_json import FILE_NAME, read_dataset_json
from nnunet_vmunet.demo import _program
from nnunet_vmunet.files.nnunet import read_json, write_json
from nnunet_vmunet.files.photographs import photographs_in
from nnunet_vmunet.prediction.model import Model
from nnunet_vmunet.prediction.model_files import FINAL
from nnunet_vmunet.prediction.nnunet_parts import Plans, build_network
from nnunet_vmunet.requirement import requirement

COPIES_TO_PLAN = 6  # nnU-Net's planner wants a training part
DATASET, PAPER_PLANS = "Dataset910_Photographs", "nnUNetVMUNetPlansPaper"
COLUMNS = ["VM-UNet 256x256", "stock nnU-Net"]
MODELS = {COLUMNS[0]: ("nnUNetTrainerVMUNet", PAPER_PLANS), COLUMNS[1]: ("nnUNetTrainer", "nnUNetPlans")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-i", dest="photographs", type=Path, required=True, metavar="FOLDER", help="photographs")
    parser.add_argument("-n", dest="number", type=int, default=500, help="photographs to predict (default 500)")
    parser.add_argument("--without-stock", action="store_true", help="VM-UNet alone, which takes a sixth of the time")
    parser.add_argument("-o", dest="output", help="write the numbers to this JSON file too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="applying-") as folder:
        columns = COLUMNS[:1] if args.without_stock else COLUMNS
        bench = Bench(Path(folder), photographs_in(args.photographs), args.number, columns)
        report({**cpu_machine(), "photographs": args.number}, columns, bench.rows(), args.output)


class Bench:
    def __init__(self, folder: Path, photographs: list[Path], number: int, columns: list[str]) -> None:
        self.folder, self.originals, self.number = folder, photographs, number
        self.models = {column: MODELS[column] for column in columns}

    def rows(self) -> Iterator[Row]:
        photographs = self._copies("photographs", self.number)
        self._plan()
        models = {name: self._write_model(*model) for name, model in self.models.items()}
        loaded = {name: load_model(model, device="cpu", mirror=False) for name, model in models.items()}
        yield self._row("network alone", {name: self._network_alone(model) for name, model in loaded.items()})
        yield self._row("before the network", {name: self._before(model) for name, model in loaded.items()})
        yield self._row("after it", {name: self._after(model) for name, model in loaded.items()})
        ours = {name: self._predict(model, photographs) for name, model in models.items()}
        yield self._row("nnunet-vmunet predict --fast", ours)
        inputs = self.folder / "converted"
        self._run("nnunet-vmunet", "convert", "images", "-i", photographs, "-o", inputs, "-np", "2")
        theirs = {name: self._nnunets(trainer, plans, inputs) for name, (trainer, plans) in self.models.items()}
        yield self._row("nnUNetv2_predict --disable_tta", theirs)

    def _row(self, what: str, seconds: dict[str, float]) -> Row:
        return Row(what, "ms for a photograph", {name: 1000 * value for name, value in seconds.items()})

    def _copies(self, name: str, number: int) -> Path:
        """Links to the photographs, again and again."""
        folder = self.folder / name
        folder.mkdir()
        for i in range(number):
            original = self.originals[i % len(self.originals)]
            (folder / f"photo{i:04d}{original.suffix}").symlink_to(original.resolve())
        return folder

    def _plan(self) -> None:
        """A dataset of the photographs, planned by nnU-Net's own planner and by the paper's."""
        images, masks = self._copies("images", COPIES_TO_PLAN), self.folder / "masks"
        masks.mkdir()
        for photograph in photographs_in(images):
            with Image.open(photograph) as image:
                mask = Image.new("L", image.size)
                mask.paste(255, (image.width // 4, image.height // 4, image.width // 2, image.height // 2))
            mask.save(masks / f"{photograph.stem}.png")
        pairs = ("--images", images, "--masks", masks, "-d", "910", "--name", "Photographs", "-np", "2")
        self._run("nnunet-vmunet", "convert", "pairs", *pairs)
        self._run("nnunet-vmunet", "register")
        self._run("nnUNetv2_extract_fingerprint", "-d", "910", "-np", "2")
        for planner in ("ExperimentPlanner", "VMUNetPlannerPaper"):
            self._run("nnUNetv2_plan_experiment", "-d", "910", "-pl", planner)

    def _write_model(self, trainer: str, plans_name: str) -> Path:
        """A model folder with random weights."""
        preprocessed = self.folder / "nnUNet_preprocessed" / DATASET
        model = self.folder / "nnUNet_results" / DATASET / f"{trainer}__{plans_name}__2d"
        (model / "fold_0").mkdir(parents=True)
        shutil.copy(preprocessed / FILE_NAME, model)
        plans = read_json(preprocessed / f"{plans_name}.json", dict)
        write_json(model / "plans.json", plans)
        manager, description = Plans(plans), read_dataset_json(model / FILE_NAME)
        network = build_network(trainer, manager, manager.get_configuration("2d"), description)
        for layer in network.decoder.seg_layers:
            torch.nn.init.zeros_(layer.weight)
            torch.nn.init.zeros_(layer.bias)
        checkpoint = {
            "network_weights": network.state_dict(),
            "trainer_name": trainer,
            "init_args": {"configuration": "2d", "requires": requirement(trainer, plans)},  # as our trainers save it
            "inference_allowed_mirroring_axes": (0, 1),
        }
        torch.save(checkpoint, model / "fold_0" / FINAL)
        return model

    def _network_alone(self, model: Model) -> float:
        prepared = model.prepare(self.originals[0])
        return _median(lambda: model.infer(prepared), 12)

    def _before(self, model: Model) -> float:
        return _median(lambda: model.prepare(self.originals[0]), 12)

    def _after(self, model: Model) -> float:
        prepared = model.prepare(self.originals[0])
        logits = model.infer(prepared)
        return _median(lambda: model.finish(prepared, logits).save(self.folder / "mask.png"), 12)

    def _predict(self, model: Path, photographs: Path) -> float:
        masks = self.folder / f"masks-{model.name}"
        return self._run(
            "nnunet-vmunet", "predict", "-m", model, "-i", photographs, "-o", masks, "--fast", "-device", "cpu"
        )

    def _nnunets(self, trainer: str, plans: str, inputs: Path) -> float:
        model = ("-d", "910", "-c", "2d", "-f", "0", "-tr", trainer, "-p", plans, "-device", "cpu", "--disable_tta")
        processes = ("-npp", "2", "-nps", "2")
        return self._run("nnUNetv2_predict", "-i", inputs, "-o", self.folder / f"theirs-{trainer}", *model, *processes)

    def _run(self, name: str, *arguments) -> float:
        """Seconds for each photograph."""
        folders = {n: str(self.folder / n) for n in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
        for folder in folders.values():
            Path(folder).mkdir(exist_ok=True)
        start = time.perf_counter()
        subprocess.run(
            [_program(name), *map(str, arguments)], env={**os.environ, **folders}, check=True, stdout=subprocess.DEVNULL
        )
        return (time.perf_counter() - start) / self.number


def _median(work, rounds: int) -> float:
    times = []
    for i in range(rounds + 1):
        start = time.perf_counter()
        work()
        if i:
            times.append(time.perf_counter() - start)
    return statistics.median(times)


if __name__ == "__main__":
    main()
