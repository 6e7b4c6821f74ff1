"""Images for models to predict, and nnU-Net's own prediction of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nnunet_vmunet.dataset_conversion.images import convert_images


@pytest.fixture
def photographs(tmp_path) -> Path:
    """Three photographs of different kinds and sizes: a JPEG that lies sideways, a PNG in grey, a BMP."""
    folder, rng = tmp_path / "photos", np.random.default_rng(0)
    folder.mkdir()
    smooth = rng.integers(0, 255, (6, 5, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(smooth).resize((70, 45), Image.Resampling.BICUBIC).save(folder / "a.jpg", exif=exif)
    Image.fromarray(smooth[..., 0]).resize((33, 64), Image.Resampling.BICUBIC).save(folder / "b.png")
    Image.fromarray(smooth[::-1]).resize((256, 200), Image.Resampling.BICUBIC).save(folder / "c_0000.bmp")
    return folder


@pytest.fixture
def by_nnunet(registered, tmp_path):
    """by_nnunet(model folder, folder of NAME_0000 files, folds=("0",), mirror=True): nnU-Net's masks, in a folder."""

    def predict(model: Path, images: Path, *, folds=("0",), mirror: bool = True) -> Path:
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

        output = tmp_path / "by_nnunet"
        output.mkdir()
        predictor = nnUNetPredictor(use_mirroring=mirror, device=torch.device("cpu"), allow_tqdm=False)
        predictor.initialize_from_trained_model_folder(str(model), folds)
        predictor.predict_from_files_sequential(str(images), str(output))
        return output

    return predict


@pytest.fixture
def converted(photographs, tmp_path) -> Path:
    return convert_images(photographs, tmp_path / "converted", num_processes=1)
