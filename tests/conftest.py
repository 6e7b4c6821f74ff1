"""Fixtures that every test folder uses."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from nnunet_vmunet.cli import main

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


@dataclass
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def run(capfd):
    """run("convert", "images", "-i", folder, ...) as the shell would, in-process."""

    def run(*arguments) -> Outcome:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        return Outcome(code, *capfd.readouterr())

    return run


@pytest.fixture
def refused(run):
    """Run what must fail: exit code 2 and one line on stderr, which is returned."""

    def refused(*arguments) -> str:
        outcome = run(*arguments)
        assert outcome.code == 2
        assert outcome.err.startswith("nnunet-vmunet: error: ")
        assert outcome.err.count("\n") == 1
        return outcome.err

    return refused


@dataclass
class NnUNet:
    """nnU-Net's three folders below `folder`, and commands as a user types them there."""

    folder: Path

    def __post_init__(self) -> None:
        for folder in (self.raw, self.preprocessed, self.results):
            folder.mkdir()

    @property
    def raw(self) -> Path:
        return self.folder / "nnUNet_raw"

    @property
    def preprocessed(self) -> Path:
        return self.folder / "nnUNet_preprocessed"

    @property
    def results(self) -> Path:
        return self.folder / "nnUNet_results"

    @property
    def device(self) -> list[str]:
        """What to add to nnUNetv2_train and nnUNetv2_predict."""
        return [] if torch.cuda.is_available() else ["-device", "cpu"]

    def run(self, *command) -> str:
        """What the command printed; it must succeed."""
        start = time.monotonic()
        finished = subprocess.run(
            _program(*command),
            env=self._environment(),
            text=True,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        print(f"{time.monotonic() - start:.1f} s: {' '.join(map(str, command))}")
        assert finished.returncode == 0, finished.stdout[-5000:]
        return finished.stdout

    def start(self, *command, log: Path) -> subprocess.Popen:
        """In a process group of its own, so that it can be killed with all its workers."""
        with open(log, "w") as output:
            return subprocess.Popen(
                _program(*command),
                env=self._environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _environment(self) -> dict[str, str]:
        folders = {folder.name: str(folder) for folder in (self.raw, self.preprocessed, self.results)}
        # Where other processes use the cores too, torch's threads lose several times their speed by waiting actively.
        waiting = {"OMP_WAIT_POLICY": "passive"}
        return {**os.environ, **folders, **waiting, "nnUNet_n_proc_DA": "1", "nnUNet_def_n_proc": "2"}


def _program(name: str, *arguments) -> list[str]:
    """Of the environment that the tests run in."""
    return [str(Path(sys.executable).with_name(name)), *map(str, arguments)]


@pytest.fixture(scope="module")
def registered():
    """nnU-Net finds the plugin during these tests, and is left as it was."""
    was_registered = subprocess.run(_program("nnunet-vmunet", "register", "--check"), check=False).returncode == 0
    subprocess.run(_program("nnunet-vmunet", "register"), check=True)
    yield
    if not was_registered:
        subprocess.run(_program("nnunet-vmunet", "register", "--remove"), check=True)


@pytest.fixture
def nnunet(tmp_path, registered) -> NnUNet:
    return NnUNet(tmp_path)
