"""A preprocessed dataset of a few random images, as nnU-Net would leave it, made in milliseconds."""

import json

import numpy as np
import pytest
import torch

BINARY = {"background": 0, "lesion": 1}
UNET = "dynamic_network_architectures.architectures.unet.PlainConvUNet"


class TinyDataset:
    """Writes cases and plans into $nnUNet_preprocessed/Dataset900_Tiny; `trainer(cls)` opens them."""

    name = "Dataset900_Tiny"

    def __init__(self, preprocessed, labels, shapes, patch_size, channels, extra_json):
        self.folder = preprocessed / self.name
        self.dataset_json = {
            "labels": labels,
            "channel_names": {str(c): f"c{c}" for c in range(channels)},
            "numTraining": len(shapes),
            "file_ending": ".png",
            **extra_json,
        }
        self.plans = plans(self.name, patch_size)
        self._write_cases(shapes, channels)

    def _write_cases(self, shapes, channels):
        # Here, because pytest may load this file before it finds the tests' own copy of nnU-Net.
        from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

        data_folder = self.folder / "nnUNetPlans_2d"
        data_folder.mkdir(parents=True)
        rng = np.random.default_rng(0)
        labels = self.dataset_json["labels"]
        values = range(3) if "regions_class_order" in self.dataset_json else labels.values()
        annotated = (-1, *[value for name, value in labels.items() if name != "ignore"])
        for i, shape in enumerate(shapes):
            seg = rng.choice(list(values), (1, *shape)).astype(np.int16)
            data = rng.normal(size=(channels, *shape)).astype(np.float32)
            locations = {value: np.argwhere(seg == value) for value in values}
            if "ignore" in labels:
                locations[annotated] = np.argwhere(seg != labels["ignore"])
            nnUNetDatasetBlosc2.save_case(
                data,
                seg,
                {"class_locations": locations},
                str(data_folder / f"case{i:02d}"),
                chunks=data.shape,
                blocks=data.shape,
                chunks_seg=seg.shape,
                blocks_seg=seg.shape,
            )
        cases = [f"case{i:02d}" for i in range(len(shapes))]
        split = [{"train": cases[:-1], "val": cases[-1:]}]
        (self.folder / "splits_final.json").write_text(json.dumps(split))
        (self.folder / "dataset_fingerprint.json").write_text("{}")

    def trainer(self, cls, configuration="2d"):
        plans = {**json.loads(json.dumps(self.plans)), "continue_training": False}
        return cls(plans, configuration, 0, self.dataset_json, device=torch.device("cpu"))


def plans(name, patch_size, batch_size=12):
    configuration = {
        "data_identifier": "nnUNetPlans_2d",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": batch_size,
        "patch_size": list(patch_size),
        "spacing": [1.0, 1.0],
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "batch_dice": True,
        "architecture": {"network_class_name": UNET, "arch_kwargs": {"n_stages": 3}, "_kw_requires_import": []},
    }
    return {
        "dataset_name": name,
        "plans_name": "nnUNetPlans",
        "label_manager": "LabelManager",
        "configurations": {"2d": configuration, "3d_fullres": {**configuration, "patch_size": [8, 16, 16]}},
    }


@pytest.fixture(scope="session")
def tiny_dataset_class():
    return TinyDataset


@pytest.fixture
def tiny_dataset(tmp_path, monkeypatch):
    """Call it with labels, shapes (slices, h, w) of the cases, the last being for validation, and a patch size."""
    for folder in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        (tmp_path / folder).mkdir()
        monkeypatch.setenv(folder, str(tmp_path / folder))
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")

    def make(labels=BINARY, shapes=((1, 16, 16),) * 6, patch_size=(16, 16), channels=1, **extra_json):
        return TinyDataset(tmp_path / "nnUNet_preprocessed", dict(labels), shapes, patch_size, channels, extra_json)

    return make
