"""VM-UNet with three ways to draw patches, for `small_lesions.py`: nothing else differs between them.

Each counts the patches that it trains on, and those of them that show foreground.
"""

from __future__ import annotations

from pathlib import Path

import torch
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from trainers import WithBudget

from nnunet_vmunet.files.nnunet import write_json
from nnunet_vmunet.trainers import nnUNetTrainerVMUNet

COUNTED = "patches.json"  # beside the checkpoints


class CountingTrainer(WithBudget, nnUNetTrainerVMUNet):
    """On one thread, so that a training repeats on any number of cores."""

    share: float  # of the patches that are drawn around foreground
    patches = showing = 0

    def initialize(self) -> None:
        torch.set_num_threads(1)  # nnUNetv2_train sets as many as there are cores
        self.oversample_foreground_percent = self.share
        super().initialize()

    def train_step(self, batch: dict) -> dict:
        shows = (batch["target"] > 0).flatten(1).any(1)
        self.patches += len(shows)
        self.showing += int(shows.sum())
        return super().train_step(batch)

    def on_train_end(self) -> None:
        super().on_train_end()
        write_json(Path(self.output_folder, COUNTED), {"patches": self.patches, "showing": self.showing})


class nnUNetTrainerVMUNet_anywhere(CountingTrainer):
    """Passes, and a patch at random of every image."""

    share = 0.0


class nnUNetTrainerVMUNet_third(CountingTrainer):
    """The package's default: passes, and every third patch around foreground."""

    share = 1 / 3


class nnUNetTrainerVMUNet_nnunets(CountingTrainer):
    """nnU-Net's data loader: cases at random, with replacement, and the last third of a batch around foreground."""

    share = 0.33  # nnU-Net's own number

    def _augmenter(self, dataset, patch_size, transforms, *_):
        loader = nnUNetDataLoader(
            dataset.dataset,  # an image is a slice here, and this one draws names, not pairs
            self.batch_size,
            patch_size,
            self.configuration_manager.patch_size,
            self.label_manager,
            oversample_foreground_percent=self.oversample_foreground_percent,
            transforms=transforms,
        )
        return SingleThreadedAugmenter(loader, None)
