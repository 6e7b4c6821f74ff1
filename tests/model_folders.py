"""Model folders as a training leaves them, with a small network of random weights: what applying a model needs."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import torch

from nnunet_vmunet import trainers
from nnunet_vmunet.models import VMUNet
from nnunet_vmunet.plans import NETWORK
from nnunet_vmunet.requirement import requirement

SMALL = {"depths": [1, 1], "depths_decoder": [1, 1], "dims": [32, 64], "d_state": 4}
RESAMPLING = {"order_z": 0, "force_separate_z": None}


@dataclass(frozen=True)
class Trained:
    """What the model was trained on and how it is planned; the defaults are photographs in colour with one label."""

    channels: tuple[str, ...] = ("R", "G", "B")
    labels: dict = field(default_factory=lambda: {"background": 0, "lesion": 1})
    reader: str = "WholeImage2DIO"
    ending: str = ".png"
    patch: tuple[int, int] = (32, 32)
    spacing: tuple[float, float] = (8.0, 8.0)
    normalisation: str = "ZScoreNormalization"
    resampling: str = "resample_averaging"
    trainer: str = "nnUNetTrainerVMUNet"
    folds: tuple[str, ...] = ("0",)
    more: dict = field(default_factory=dict)  # of dataset.json

    @property
    def folder_name(self) -> str:
        return f"{self.trainer}__nnUNetPlans__2d"

    def dataset_json(self) -> dict:
        return {
            "channel_names": {str(i): name for i, name in enumerate(self.channels)},
            "labels": self.labels,
            "numTraining": 5,
            "file_ending": self.ending,
            "overwrite_image_reader_writer": self.reader,
            **self.more,
        }

    def plans(self) -> dict:
        configuration = {
            "preprocessor_name": "DefaultPreprocessor",
            "patch_size": list(self.patch),
            "spacing": list(self.spacing),
            "normalization_schemes": [self.normalisation] * len(self.channels),
            "use_mask_for_norm": [False] * len(self.channels),
            "resampling_fn_data": self.resampling,
            "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, **RESAMPLING},
            "resampling_fn_seg": "resample_data_or_seg_to_shape",
            "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, **RESAMPLING},
            "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
            "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, **RESAMPLING},
            "architecture": {"network_class_name": NETWORK, "arch_kwargs": SMALL, "_kw_requires_import": []},
        }
        statistics = {"mean": 60.0, "std": 40.0, "percentile_00_5": 0.0, "percentile_99_5": 200.0}
        return {
            "dataset_name": "Dataset907_Made",
            "plans_name": "nnUNetPlans",
            "image_reader_writer": self.reader,
            "transpose_forward": [0, 1, 2],
            "transpose_backward": [0, 1, 2],
            "label_manager": "LabelManager",
            "foreground_intensity_properties_per_channel": {str(i): statistics for i in range(len(self.channels))},
            "configurations": {"2d": configuration},
        }

    def write(self, results: Path) -> Path:
        """Write the model below `results`, as nnU-Net does below $nnUNet_results, and return its folder."""
        folder = results / "Dataset907_Made" / self.folder_name
        folder.mkdir(parents=True)
        (folder / "dataset.json").write_text(json.dumps(self.dataset_json()))
        (folder / "plans.json").write_text(json.dumps(self.plans()))
        for seed, fold in enumerate(self.folds):
            (folder / f"fold_{fold}").mkdir()
            torch.save(self._checkpoint(seed), folder / f"fold_{fold}" / "checkpoint_final.pth")
        return folder

    def _checkpoint(self, seed: int) -> dict:
        regions = any(isinstance(value, list) for value in self.labels.values())
        network = balanced(VMUNet(len(self.channels), len(self.labels) - regions, **SMALL), seed)
        return {
            "network_weights": network.state_dict(),
            "trainer_name": self.trainer,
            "init_args": {"plans": self.plans(), "configuration": "2d", **self._required()},
            "inference_allowed_mirroring_axes": (0, 1),
        }

    def _required(self) -> dict:
        """What our trainers write into their checkpoints, and others' do not."""
        ours = self.trainer in trainers.__all__
        return {"requires": requirement(self.trainer, self.plans())} if ours else {}


CT = Trained(
    channels=("CT",),
    labels={"background": 0, "liver": 1, "spleen": 2},
    reader="SimpleITKIO",
    ending=".nii.gz",
    spacing=(1.5, 1.5),
    normalisation="CTNormalization",
    resampling="resample_data_or_seg_to_shape",
)


def balanced(network: VMUNet, seed: int) -> VMUNet:
    """Give the network random weights with which every output is the largest somewhere."""
    torch.manual_seed(seed)
    for module in network.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=0.1)
    (output,) = network.decoder.seg_layers
    with torch.no_grad():
        torch.nn.init.normal_(output.weight)
        image = torch.nn.functional.interpolate(torch.randn(8, network.input_channels, 5, 6), (32, 32), mode="bicubic")
        logits = network.eval()(image)
        spread = logits.std((0, 2, 3))
        output.weight /= spread[:, None, None, None]
        output.bias.copy_((output.bias - logits.mean((0, 2, 3))) / spread)
    return network


def zipped(folder: Path, archive: Path) -> Path:
    """As nnUNetv2_export_model_to_zip packs it: below the name of the dataset."""
    made = shutil.make_archive(str(archive.with_suffix("")), "zip", folder.parents[1], f"{folder.parent.name}")
    return Path(made)
