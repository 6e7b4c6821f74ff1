"""Does training see small things far apart? `python benchmarks/small_lesions.py [-o FOLDER]`, on one core.

On generated images of 256×256 pixels, each with one lesion of 12 pixels, and patches of 64×64, it trains the same small
VM-UNet in three ways that differ in how patches are drawn, and in nothing else: one at random of every image, the
package's default, and by nnU-Net's own data loader. The table says how many of the patches showed lesion, and what each
model makes of images that it never saw. With each seed the three start from the same weights.

All of it is nnU-Net's own commands, whose output goes to FOLDER/logs; `outcome_trainers` holds the trainers. A command
that is finished is not run again when this is repeated with the same FOLDER. The images are simple: what the table
shows is how the three compare after this much training, not how well lesions are found elsewhere.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from outcome_trainers.image_budget import ImageBudget
from PIL import Image
from report import Row, cpu_machine, report
from scipy.ndimage import label as components
from spotted_images import spotted_image
from whole_trainings import FOLDERS, minutes_of_epochs, once, run_logged, settle

from nnunet_vmunet.dataset_conversion.raw_dataset import write_dataset_json, write_splits
from nnunet_vmunet.errors import InputError, print_refusal
from nnunet_vmunet.files.nnunet import read_json, write_json
from nnunet_vmunet.plans import paper_architecture
from nnunet_vmunet.trainers.seeds import VARIABLE

TRAINERS_FOLDER = Path(__file__).with_name("outcome_trainers")
NUMBER, NAME = 914, "Dataset914_SmallLesions"
TRAINERS = {  # by column
    "anywhere": "nnUNetTrainerVMUNet_anywhere",
    "a third around foreground (default)": "nnUNetTrainerVMUNet_third",
    "nnU-Net's loader": "nnUNetTrainerVMUNet_nnunets",
}
PATCH, BATCH = 64, 12
SIZES = {"depths": [1, 1, 1, 1], "depths_decoder": [1, 1, 1, 1], "dims": [16, 32, 64, 128], "d_state": 4}
PATCHES_COUNTED = "patches.json"  # the trainers write it


@dataclass(frozen=True)
class Extent:
    """How much is done."""

    training: int = 60  # images
    validation: int = 30
    steps: int = 1200
    seeds: int = 3


SMALL = Extent(training=BATCH, validation=2, steps=1, seeds=1)


def main() -> None:
    args = _arguments()
    extent = SMALL if args.small else Extent(steps=args.steps, seeds=args.seeds)
    try:
        folder = (args.output or Path(tempfile.mkdtemp(prefix="small-lesions-"))).resolve()
        print(f"Everything goes to {folder}", flush=True)
        settle(folder, {"steps": extent.steps, "small": args.small})
        lesions = SmallLesions(folder, extent)
        lesions.run()
        print()
        report(lesions.described(), list(TRAINERS), lesions.rows(), str(folder / "small_lesions.json"), _cell)
    except InputError as error:
        sys.exit(print_refusal(error))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", dest="output", type=Path, metavar="FOLDER", help="where all goes (default: temporary)")
    parser.add_argument("--steps", type=int, default=Extent.steps, help=f"of a training (default: {Extent.steps})")
    parser.add_argument("--seeds", type=int, default=Extent.seeds, help=f"from 0 on (default: {Extent.seeds})")
    parser.add_argument("--small", action="store_true", help="a tiny network and one step a training: only a trial")
    return parser.parse_args()


@dataclass(frozen=True)
class SmallLesions:
    """From generated images to the table's rows."""

    folder: Path
    extent: Extent

    def run(self) -> None:
        once(self._done("raw"), self._write_images)
        once(self._done("plan"), self._plan)
        for seed in range(self.extent.seeds):
            for trainer in TRAINERS.values():
                once(self._done(f"{trainer}-{seed}"), lambda trainer=trainer, seed=seed: self._train(trainer, seed))

    def described(self) -> dict:
        extent = self.extent
        data = f"{extent.training} images for training, {extent.validation} for validation, one lesion in each"
        training = f"{extent.steps} steps of {BATCH} patches of {PATCH}x{PATCH}, single-threaded"
        return {**cpu_machine(), "data": data, "training": training}

    def rows(self) -> Iterator[Row]:
        """Of each seed, then of all."""
        seeds = range(self.extent.seeds)
        found = [
            {column: read_json(self._done(f"{trainer}-{seed}"), dict) for column, trainer in TRAINERS.items()}
            for seed in seeds
        ]
        for seed in seeds:
            for measure in ("Dice (%)", "lesions found", "false finds"):
                yield Row(f"seed {seed}", measure, {column: of_one[measure] for column, of_one in found[seed].items()})
        for measure in found[0][next(iter(TRAINERS))]:
            means = {column: float(np.mean([of_seed[column][measure] for of_seed in found])) for column in TRAINERS}
            yield Row("mean of seeds", measure, means)

    def _write_images(self) -> None:
        raw = self.folder / "nnUNet_raw" / NAME
        for part in ("imagesTr", "labelsTr"):
            (raw / part).mkdir(parents=True, exist_ok=True)
        cases = [f"case_{number:03d}" for number in range(self.extent.training + self.extent.validation)]
        for number, case in enumerate(cases):
            image, labels = spotted_image(np.random.default_rng([NUMBER, number]))
            Image.fromarray(image).save(raw / "imagesTr" / f"{case}_0000.png")
            Image.fromarray(labels).save(raw / "labelsTr" / f"{case}.png")
        described = {"channel_names": {"0": "grey"}, "labels": {"background": 0, "lesion": 1}}
        write_dataset_json(raw, {**described, "numTraining": len(cases), "file_ending": ".png"})
        write_splits(raw, [{"train": cases[: self.extent.training], "val": cases[self.extent.training :]}])

    def _plan(self) -> None:
        """nnU-Net's plans, but for the size of patches and batches, and the network."""
        command = ("nnUNetv2_plan_and_preprocess", "-d", NUMBER, "-c", "2d", "-npfp", 1, "-np", 1)
        run_logged("plan", command, self._environment("nnUNet_results"), self._log("plan"))
        file = self.folder / "nnUNet_preprocessed" / NAME / "nnUNetPlans.json"
        plans, architecture = read_json(file, dict), paper_architecture()
        architecture["arch_kwargs"] |= SIZES
        plans["configurations"]["2d"] |= {
            "patch_size": [PATCH, PATCH],
            "batch_size": BATCH,
            "architecture": architecture,
        }
        write_json(file, plans)

    def _train(self, trainer: str, seed: int) -> dict:
        """The table's measures of one training."""
        results = f"nnUNet_results_{seed}"
        environment = {
            **self._environment(results),
            VARIABLE: str(seed),
            "nnUNet_n_proc_DA": "0",  # batches are drawn in the training's own process
            **ImageBudget(BATCH * self.extent.steps, small=self.extent is SMALL).environment(),
        }
        command = ("nnUNetv2_train", NUMBER, "2d", 0, "-tr", trainer, "-device", "cpu")
        run_logged(f"seed {seed}", command, environment, self._log(f"{trainer}-{seed}"))
        fold = self.folder / results / NAME / f"{trainer}__nnUNetPlans__2d" / "fold_0"
        summary = read_json(fold / "validation" / "summary.json", dict)
        patches = read_json(fold / PATCHES_COUNTED, dict)
        found, false = self._finds(fold / "validation")
        measures = {
            "patches that show lesion (%)": 100 * patches["showing"] / patches["patches"],
            "Dice (%)": 100 * summary["mean"]["1"]["Dice"],
            "lesions found": found,
            "false finds": false,
            "time (min)": minutes_of_epochs(fold / "checkpoint_final.pth"),
        }
        print("  " + ", ".join(f"{measure} {value:.4g}" for measure, value in measures.items()), flush=True)
        return measures

    def _finds(self, predicted: Path) -> tuple[int, int]:
        """Lesions of which half the pixels or more are marked, and marked areas that touch no lesion; of all cases."""
        found = false = 0
        for file in sorted(predicted.glob("*.png")):
            marked = np.asarray(Image.open(file)) > 0
            lesion = np.asarray(Image.open(self.folder / "nnUNet_raw" / NAME / "labelsTr" / file.name)) > 0
            found += int(marked[lesion].mean() >= 0.5)
            areas, number = components(marked)
            false += number - len(np.unique(areas[lesion & marked]))
        return found, false

    def _environment(self, results: str) -> dict[str, str]:
        """nnU-Net's; each seed has a results folder of its own."""
        folders = {**{name: self.folder / name for name in FOLDERS}, "nnUNet_results": self.folder / results}
        for folder in folders.values():
            folder.mkdir(exist_ok=True)
        return {
            **{name: str(folder) for name, folder in folders.items()},
            "nnUNet_extTrainer": str(TRAINERS_FOLDER),
            "nnUNet_n_proc_DA": "1",
            "nnUNet_def_n_proc": "1",
        }

    def _log(self, what: str) -> Path:
        return self.folder / "logs" / f"{what}.txt"

    def _done(self, what: str) -> Path:
        return self.folder / "done" / f"{what}.json"


def _cell(row: Row, column: str) -> str:
    """Numbers of lesions whole, where they are no means."""
    value = row.values[column]
    return str(value) if isinstance(value, int) else f"{value:.1f}"


if __name__ == "__main__":
    main()
