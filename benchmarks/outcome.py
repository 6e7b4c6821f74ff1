"""Does it segment as well as stock nnU-Net? `python benchmarks/outcome.py [-o FOLDER]`, for two cores.

On real images, which are no part of the repository, stock nnU-Net and three of our trainers see the same number of
images of the same training part, and segment the same validation part. With `--family` VM-UNet and the networks beside
it do, or those of them that are named, all trained by its protocol. All of it is nnU-Net's and this package's own
commands, whose output goes to FOLDER/logs; `outcome_trainers` holds what is special about the trainers. A command that
is finished is not run again when this is repeated with the same FOLDER. Of a trained model the validation's masks and
the logs are kept, the weights are not. `docs/benchmarks.md` says what the tables can and cannot show.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from outcome_table import cell, outcome_rows
from outcome_trainers.image_budget import ImageBudget
from report import cpu_machine, report
from whole_trainings import FOLDERS, minutes_of_epochs, once, run_logged, settle

from nnunet_vmunet.dataset_conversion.raw_dataset import write_dataset_json, write_splits
from nnunet_vmunet.dataset_conversion.splits import seeded_split
from nnunet_vmunet.errors import InputError, print_refusal
from nnunet_vmunet.files.nnunet import read_json, write_json
from nnunet_vmunet.models import VMUNet
from nnunet_vmunet.plans import NETWORKS, PAPER_PLANNER, PAPER_PLANS

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
TRAINERS_FOLDER = Path(__file__).with_name("outcome_trainers")
PLANS = {  # by trainer, the baseline first
    "nnUNetTrainer": "nnUNetPlans",
    "nnUNetTrainerVMUNet": "nnUNetPlans",
    "nnUNetTrainerVMUNet_paper": PAPER_PLANS,
    "nnUNetTrainerVMUNet_DA": "nnUNetPlans",
}
FAMILY = {name: network.trainer for name, network in NETWORKS.items()}
BASELINE = "vmunet"  # of the family
WITH_BUDGET = "{}_outcome"  # what `outcome_trainers` calls them
PROCESSES = "2"
SMALL_IMAGES = 8


@dataclass(frozen=True)
class DataSet:
    """One of the data sets, and how much of it a training sees."""

    name: str  # in nnU-Net's folders
    number: int  # nnU-Net's dataset id
    folder: str  # of `images`, and of `masks` or `labels`
    side: int  # pixels: of a picture, and of a slice as the paper's trainer gets it
    images: int  # that a training sees, with repetitions
    is_volumes: bool = False
    labels: tuple[str, ...] = ()
    values: tuple[int, ...] = ()
    group: str | None = None  # what the names of one patient's pictures share

    @property
    def nnunet_name(self) -> str:
        return f"Dataset{self.number:03d}_{self.name}"


DATA_SETS = (
    DataSet("ISIC2018", 901, "isic2018_256", 64, 8400, labels=("lesion",), values=(255,)),
    DataSet("ACDC", 902, "acdc", 96, 3400, labels=("RV", "myocardium", "LV"), values=(1, 2, 3), group=r"patient\d+"),
    DataSet("Hippocampus", 903, "msd_hippocampus", 64, 6000, True, labels=("anterior", "posterior"), values=(1, 2)),
)


def main() -> None:
    args = _arguments()
    try:
        _run_all(args, [data for data in DATA_SETS if args.only.lower() in data.name.lower()])
    except InputError as error:
        sys.exit(print_refusal(error))


def _arguments() -> argparse.Namespace:
    names = ", ".join(name for name in FAMILY if name != BASELINE)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-i", dest="data", type=Path, default=DATA, metavar="FOLDER", help="the data sets' folder")
    parser.add_argument("-o", dest="output", type=Path, metavar="FOLDER", help="where all goes (default: temporary)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only data sets with this in their name")
    parser.add_argument("--share", type=float, default=1.0, help="of the images that a training sees, such as 0.25")
    parser.add_argument("--family", nargs="*", metavar="NETWORK", help=f"VM-UNet and these beside it: {names}")
    parser.add_argument("--small", action="store_true", help="a tiny network and 8 images a training: only a trial")
    return parser.parse_args()


def _run_all(args: argparse.Namespace, data_sets: list[DataSet]) -> None:
    if not data_sets:
        raise InputError(f"--only {args.only}: choose among {', '.join(data.name for data in DATA_SETS)}")
    folder = (args.output or Path(tempfile.mkdtemp(prefix="outcome-"))).resolve()
    print(f"Everything goes to {folder}", flush=True)
    torch.set_num_threads(os.cpu_count() or 1)  # as nnUNetv2_train does on a CPU, whatever OMP_NUM_THREADS says
    settle(folder, {"share": args.share, "small": args.small, "family": args.family})
    plans = PLANS if args.family is None else _family(args.family)
    budgets = {data: _budget(data, args.share, args.small) for data in data_sets}
    _print_estimate(budgets, len(plans))
    for data, budget in budgets.items():
        Outcome(folder, args.data, data, budget, plans).run()
    for data, budget in budgets.items():
        Outcome(folder, args.data, data, budget, plans).print_table()


def _family(names: list[str]) -> dict[str, str]:
    """The plans by trainer: of the networks of these names, or of all where none is given, and of VM-UNet."""
    unknown = set(names) - FAMILY.keys()
    if unknown:
        raise InputError(f"--family {', '.join(unknown)}: choose among {', '.join(FAMILY)}")
    chosen = [name for name in FAMILY if name in names or name == BASELINE or not names]
    return {FAMILY[name]: "nnUNetPlans" for name in chosen}


def _budget(data: DataSet, share: float, small: bool) -> ImageBudget:
    return ImageBudget(SMALL_IMAGES, small=True) if small else ImageBudget(round(share * data.images))


def _print_estimate(budgets: dict[DataSet, ImageBudget], trainings: int) -> None:
    """Of the trainings, as if each took as long as VM-UNet, and its loading of images cost nothing."""
    minutes = 0.0
    for data, budget in budgets.items():
        seconds = _seconds_per_image(data.side) if not budget.small else 0.0
        of_one = budget.images * seconds / 60
        print(f"{data.name}: {trainings} trainings on {budget.images} images each, about {of_one:.0f} min each")
        minutes += trainings * of_one
    print(f"About {minutes:.0f} min in all if nothing is done yet; planning and validation come on top", flush=True)


def _seconds_per_image(side: int, batch: int = 8) -> float:
    """Forward and backward through VM-UNet on this machine's CPU."""
    network, images = VMUNet(3, 2), torch.randn(batch, 3, side, side)
    for _ in range(2):  # the first compiles
        start = time.perf_counter()
        network(images).square().mean().backward()
    return (time.perf_counter() - start) / batch


@dataclass(frozen=True)
class Outcome:
    """One data set from its images to its table."""

    folder: Path
    images: Path  # of all data sets
    data: DataSet
    budget: ImageBudget
    plans: dict[str, str] = field(default_factory=PLANS.copy)  # by trainer, the baseline first

    def run(self) -> None:
        self._once("register", lambda: self._command("register", "nnunet-vmunet", "register"))
        self._once("raw", self._write_volumes if self.data.is_volumes else self._convert)
        self._once("plan", self._plan)
        if PAPER_PLANS in self.plans.values():
            self._once("paper-plan", self._plan_for_paper)
        for trainer in self.plans:
            self._once(trainer, lambda trainer=trainer: self._train(trainer))
        self._once("compare", self._compare)

    def print_table(self) -> None:
        trained = {trainer: read_json(self._done(trainer), dict) for trainer in self.plans}
        metrics = {trainer: read_json(self._metrics(trainer) / "metrics.json", dict) for trainer in self.plans}
        comparison = read_json(self._comparison / "comparison.json", dict)
        print()
        rows = outcome_rows(trained, metrics, comparison)
        report(self._described(), list(self.plans), rows, str(self.folder / f"{self.data.name}.json"), cell)

    def _described(self) -> dict:
        splits = read_json(self._preprocessed / "splits_final.json", list)[0]
        numbers = f"{len(splits['train'])} cases for training, {len(splits['val'])} for validation"
        gpu = {"GPU": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}
        return {**cpu_machine(), **gpu, "data": f"{self.data.name}, {numbers}"}

    def _convert(self) -> None:
        data = self.data
        labels = ",".join(f"{name}={value}" for name, value in zip(data.labels, data.values, strict=True))
        source = ["-i", self.images / data.folder, "-d", data.number, "--name", data.name]
        options = ["--size", data.side, "--labels", labels, *(["--group", data.group] if data.group else [])]
        self._command("raw", "nnunet-vmunet", "convert", "pairs", *source, *options, "-np", PROCESSES, "--overwrite")

    def _write_volumes(self) -> None:
        """A raw dataset of nnU-Net's, whose channels and files need no conversion."""
        data, raw = self.data, self.folder / "nnUNet_raw" / self.data.nnunet_name
        volumes = sorted((self.images / data.folder / "images").glob("*.nii.gz"))
        if not volumes:
            raise InputError(f"{self.images / data.folder / 'images'} holds no .nii.gz: give the data's folder as -i")
        for part in ("imagesTr", "labelsTr"):
            (raw / part).mkdir(parents=True, exist_ok=True)
        for volume in volumes:
            shutil.copyfile(volume, raw / "imagesTr" / volume.name.replace(".nii.gz", "_0000.nii.gz"))
            shutil.copyfile(volume.parents[1] / "labels" / volume.name, raw / "labelsTr" / volume.name)
        labels = dict(zip(("background", *data.labels), (0, *data.values), strict=True))
        described = {"channel_names": {"0": "MRI"}, "labels": labels, "numTraining": len(volumes)}
        write_dataset_json(raw, {**described, "file_ending": ".nii.gz"})
        write_splits(raw, [seeded_split([volume.name.removesuffix(".nii.gz") for volume in volumes])])

    def _plan(self) -> None:
        processes = ("-npfp", PROCESSES, "-np", PROCESSES)
        dataset = ("-d", self.data.number, "-c", "2d", "--verify_dataset_integrity")
        self._command("plan", "nnUNetv2_plan_and_preprocess", *dataset, *processes)

    def _plan_for_paper(self) -> None:
        """The paper's protocol at this data set's size: the plans' patch is what its preprocessor resizes to."""
        number = self.data.number
        self._command("paper-plan", "nnUNetv2_plan_experiment", "-d", number, "-pl", PAPER_PLANNER)
        file = self._preprocessed / f"{PAPER_PLANS}.json"
        plans = read_json(file, dict)
        plans["configurations"]["2d"]["patch_size"] = [self.data.side, self.data.side]
        write_json(file, plans)
        options = ("-plans_name", PAPER_PLANS, "-c", "2d", "-np", PROCESSES)
        self._command("paper-preprocess", "nnUNetv2_preprocess", "-d", number, *options)

    def _train(self, trainer: str) -> dict:
        """What the table says of the training itself."""
        name, plans = WITH_BUDGET.format(trainer), self.plans[trainer]
        device = "cuda" if torch.cuda.is_available() else "cpu"
        options = ("-tr", name, "-p", plans, "-device", device, "--c")  # --c begins where there is nothing yet
        self._command(trainer, "nnUNetv2_train", self.data.number, "2d", "0", *options)
        model = self.folder / "nnUNet_results" / self.data.nnunet_name / f"{name}__{plans}__2d"
        minutes = minutes_of_epochs(model / "fold_0" / "checkpoint_final.pth")
        batch = read_json(model / "plans.json", dict)["configurations"]["2d"]["batch_size"]
        for weights in (model / "fold_0").glob("checkpoint_*.pth"):
            weights.unlink()  # a gigabyte for each model
        budget = self.budget
        return {"steps": budget.steps(batch), "images": budget.images_seen(batch), "minutes": minutes}

    def _compare(self) -> None:
        fold = ("-d", self.data.number, "-f", "0")
        trainers = [WITH_BUDGET.format(trainer) for trainer in self.plans]
        for trainer, name in zip(self.plans, trainers, strict=True):
            model = ("-tr", name, "-pl", self.plans[trainer], "-o", self._metrics(trainer))
            self._command(f"evaluate-{trainer}", "nnunet-vmunet", "evaluate", "labels", *fold, *model, "-np", PROCESSES)
        models = ("-tr", *trainers, "-pl", *self.plans.values(), "-o", self._comparison, "-np", PROCESSES)
        group = ("--group", self.data.group) if self.data.group else ()
        self._command("compare", "nnunet-vmunet", "compare", *fold, *models, *group)

    def _once(self, what: str, work: Callable[[], dict | None]) -> None:
        once(self._done(what), work)

    def _command(self, what: str, *command) -> None:
        log = self.folder / "logs" / self.data.name / f"{what}.txt"
        run_logged(self.data.name, command, self._environment(), log)

    def _environment(self) -> dict[str, str]:
        for name in FOLDERS:
            (self.folder / name).mkdir(exist_ok=True)
        return {
            **{name: str(self.folder / name) for name in FOLDERS},
            "nnUNet_extTrainer": str(TRAINERS_FOLDER),
            "nnUNet_n_proc_DA": "1",
            "nnUNet_def_n_proc": PROCESSES,
            **self.budget.environment(),
        }

    def _done(self, what: str) -> Path:
        return self.folder / "done" / self.data.name / f"{what}.json"

    def _metrics(self, trainer: str) -> Path:
        return self.folder / "metrics" / self.data.name / trainer

    @property
    def _comparison(self) -> Path:
        return self.folder / "comparison" / self.data.name

    @property
    def _preprocessed(self) -> Path:
        return self.folder / "nnUNet_preprocessed" / self.data.nnunet_name


if __name__ == "__main__":
    main()
