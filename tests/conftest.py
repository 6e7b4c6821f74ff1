"""Fixtures that every test folder uses."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of golden numbers and real images beside the checkout; absent outside the project's own machines."""
    if not SHARED.exists():
        pytest.skip("needs ../shared: golden numbers and real images, not part of the repository")
    return SHARED


class Golden:
    """The original implementation's numbers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        spec = importlib.util.spec_from_file_location("golden_fill", folder / "fill.py")
        self._fill = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self._fill)

    def state_dict(self, shapes_json: str) -> dict[str, torch.Tensor]:
        filled = self._fill.filled_state_dict(shapes_json)
        return {name: torch.from_numpy(values) for name, values in filled.items()}

    def numbers(self, npz: str) -> dict[str, np.ndarray]:
        return dict(np.load(self.folder / npz))


@pytest.fixture(scope="session")
def golden(shared) -> Golden:
    return Golden(shared / "golden")


@pytest.fixture(scope="session")
def relative_error():
    """Maximum error over maximum value."""

    def error(ours, truth) -> float:
        ours, truth = (np.asarray(torch.as_tensor(values).detach(), dtype=np.float64) for values in (ours, truth))
        assert ours.shape == truth.shape
        return float(np.abs(ours - truth).max() / np.abs(truth).max())

    return error
