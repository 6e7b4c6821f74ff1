"""The wheel: built from a copy of the tree, installed elsewhere, and used there without the checkout."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]

HEAVY = ("torch", "numba", "triton", "nnunetv2", "mamba_ssm")

LIGHT_IMPORTS = f"""
import json, sys
import nnunet_vmunet, nnunet_vmunet.cli, nnunet_vmunet.register, nnunet_vmunet.dataset_conversion
print(json.dumps({{
    "files": [nnunet_vmunet.__file__, nnunet_vmunet.dataset_conversion.__file__],
    "heavy": [name for name in {HEAVY} if name in sys.modules],
}}))
"""

NETWORK_AND_TRAINERS = """
import json, sys
import torch
from nnunet_vmunet.models import VMUNet
network = VMUNet(1, 2, depths=(1, 1), depths_decoder=(1, 1), dims=(8, 16), d_state=2)
optional = [name for name in ("numba", "mamba_ssm", "nnunetv2") if name in sys.modules]
import nnunet_vmunet.trainers as trainers
print(json.dumps({
    "parameters": sum(parameter.numel() for parameter in network.parameters()),
    "optional": optional,
    "trainer": trainers.nnUNetTrainerVMUNet.__name__,
    "outside": [module.__file__ for name, module in sys.modules.items()
                if name.partition(".")[0] == "nnunet_vmunet" and not module.__file__.startswith(sys.argv[1])],
}))
"""


def run(arguments: list, **settings) -> str:
    done = subprocess.run(list(map(str, arguments)), capture_output=True, text=True, **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pip(*arguments, **settings) -> None:
    run([sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments], **settings)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy, as setuptools leaves build/ and *.egg-info in the tree and would reuse stale ones."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    tree.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, tree)
    for name in ("nnunet_vmunet", "dataset_conversion", "tests"):
        shutil.copytree(CHECKOUT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip("wheel", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, tree)
    return next(folder.glob("nnunet_vmunet-*.whl"))


@pytest.fixture(scope="module")
def target(wheel, tmp_path_factory) -> Path:
    """The folder that the wheel is installed into."""
    folder = tmp_path_factory.mktemp("installed")
    pip("install", "--no-index", "--no-deps", "--target", folder, wheel)
    return folder


@pytest.fixture
def elsewhere(target, tmp_path) -> dict:
    """Settings for a process that imports the installed wheel, although the environment may know the checkout."""
    return {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": str(target)}}


def test_wheel_holds_every_module_and_nothing_else(wheel):
    expected = {str(path.relative_to(CHECKOUT)) for path in (CHECKOUT / "nnunet_vmunet").rglob("*.py")}
    expected |= {f"nnunet_vmunet/{path.relative_to(CHECKOUT)}" for path in CHECKOUT.glob("dataset_conversion/**/*.py")}
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name for name in names if ".dist-info/" not in name} == expected


def test_commands(elsewhere, target):
    command = target / "bin" / "nnunet-vmunet"
    assert "register" in run([command, "--help"], **elsewhere)
    assert "isic18" in run([command, "convert", "--help"], **elsewhere)


def test_importing_is_light(elsewhere, target):
    found = json.loads(run([sys.executable, "-c", LIGHT_IMPORTS], **elsewhere))
    assert found["files"] == [
        str(target / "nnunet_vmunet" / "__init__.py"),
        str(target / "nnunet_vmunet" / "dataset_conversion" / "__init__.py")]
    assert found["heavy"] == []


def test_network_and_trainers(elsewhere, target):
    found = json.loads(run([sys.executable, "-c", NETWORK_AND_TRAINERS, target], **elsewhere).splitlines()[-1])
    assert found["outside"] == []
    assert found["parameters"] > 0
    assert found["optional"] == []
    assert found["trainer"] == "nnUNetTrainerVMUNet"
