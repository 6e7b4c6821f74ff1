"""What every test folder uses: golden numbers, commands, and an nnU-Net of the tests' own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from golden.fill import filled_state_dict
from installations import copy_nnunet

from nnunet_vmunet import register
from nnunet_vmunet.cli import main

GOLDEN = Path(__file__).with_name("golden")
SHARED = Path(__file__).resolve().parents[2] / "shared"
LONGEST = ("test_end_to_end.py", "test_matrix.py", "test_end_to_end_synapse.py", "test_triton_gpu.py")  # minutes each


def pytest_configure(config) -> None:
    """Put a copy of nnU-Net before the installed one, for this process and those that it starts.

    Tests register the plugin with the copy and so never write to the environment, which other processes use too.
    """
    config.nnunet_copy = TemporaryDirectory(prefix="nnunet-of-the-tests-")
    site = str(copy_nnunet(Path(config.nnunet_copy.name)).parent)
    sys.path.insert(0, site)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [site, os.environ.get("PYTHONPATH")]))
    _share_cores()


def pytest_collection_modifyitems(items) -> None:
    """The longest files first: one that begins last would leave the other process of `make test-slow` idle."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def _share_cores() -> None:
    """Start no more threads than there are cores, where tests run in several processes (pytest -n)."""
    # Where other processes use the cores too, OpenMP's threads lose several times their speed by waiting actively.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    if processes > 1:
        threads = max(1, (os.cpu_count() or 1) // processes)
        torch.set_num_threads(threads)
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))


def pytest_unconfigure(config) -> None:
    config.nnunet_copy.cleanup()


@pytest.fixture(autouse=True)
def own_look():
    """nnU-Net's plot of a training's progress changes fonts and grids for all pictures that its process draws later."""
    yield
    if "matplotlib" in sys.modules:
        sys.modules["matplotlib"].rc_file_defaults()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder beside the checkout that holds real images. They may not be passed on, so the repository has none."""
    if not SHARED.exists():
        pytest.skip("needs real images in ../shared, which are not part of the repository")
    return SHARED


class Golden:
    """The original implementation's numbers; tests/golden/README.md says what they are."""

    def state_dict(self, shapes_json: str) -> dict[str, torch.Tensor]:
        return {name: torch.from_numpy(values) for name, values in filled_state_dict(shapes_json).items()}

    def numbers(self, npz: str) -> dict[str, np.ndarray]:
        return dict(np.load(GOLDEN / npz))


@pytest.fixture(scope="session")
def golden() -> Golden:
    return Golden()


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
    workers: int = 1  # that load and augment, in a training

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
        # Not counted by coverage, which makes a training take twice as long: other tests run the same lines. And on all
        # cores, because a training outlasts the tests of the other processes.
        dropped = ("COVERAGE_", "OMP_NUM_THREADS")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
        return {**inherited, **folders, "nnUNet_n_proc_DA": str(self.workers), "nnUNet_def_n_proc": "2"}


def _program(name: str, *arguments) -> list[str]:
    """The command line of a program of the environment that the tests run in."""
    return [str(Path(sys.executable).with_name(name)), *map(str, arguments)]


@pytest.fixture(scope="session")
def registered() -> None:
    """Let the tests' nnU-Net find the plugin. It stays so: nnU-Net without it is what a test copies for itself."""
    register.register()


@pytest.fixture
def nnunet(tmp_path, registered) -> NnUNet:
    return NnUNet(tmp_path)
