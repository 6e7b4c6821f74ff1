"""The wheel: built from a copy of the tree, installed into a fresh environment, and used there without the checkout."""

import ast
import json
import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from installations import copy_nnunet
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

import nnunet_vmunet
from nnunet_vmunet.register import SHIMS

CHECKOUT = Path(__file__).resolve().parents[1]
SOURCES = sorted((CHECKOUT / "nnunet_vmunet").rglob("*.py"))

# Imported where they are there, and not asked for: why not.
NOT_DEPENDENCIES = {
    "triton": "torch brings it where there is a build for the machine",
    "selective_scan_cuda": "mamba-ssm's extension, which only that package's own build makes",
}

LIGHT_IMPORTS = """
import json, sys
import nnunet_vmunet, nnunet_vmunet.cli, nnunet_vmunet.register, nnunet_vmunet.dataset_conversion
print(json.dumps({
    "files": [nnunet_vmunet.__file__, nnunet_vmunet.dataset_conversion.__file__],
    "heavy": [name for name in ("torch", "numba", "triton", "nnunetv2", "mamba_ssm") if name in sys.modules],
}))
"""

NETWORK_AND_TRAINERS = """
import json, os, sys
import torch
from nnunet_vmunet.models import VMUNet
network = VMUNet(1, 2, depths=(1, 1), depths_decoder=(1, 1), dims=(8, 16), d_state=2).eval()
optional = [name for name in ("numba", "mamba_ssm", "nnunetv2") if name in sys.modules]
logits = {}
for backend in ("numba", "naive"):
    os.environ["NNUNET_VMUNET_SCAN"] = backend
    with torch.no_grad():
        logits[backend] = network(torch.linspace(-1, 1, 20 * 24).view(1, 1, 20, 24))
import nnunet_vmunet.trainers as trainers
print(json.dumps({
    "optional": optional,
    "shape": list(logits["numba"].shape),
    "error": float((logits["numba"] - logits["naive"]).abs().max() / logits["naive"].abs().max()),
    "trainer": trainers.nnUNetTrainerVMUNet.__name__,
    "files": {name: module.__file__ for name, module in sys.modules.items()
              if name.partition(".")[0] == "nnunet_vmunet"},
    "editable": [name for name in sys.modules if name.startswith("__editable__")],
}))
"""


def run(arguments: list, **settings) -> str:
    done = subprocess.run(list(map(str, arguments)), capture_output=True, text=True, **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pip(*arguments, **settings) -> None:
    run([sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments], **settings)


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """A copy of the checkout, as setuptools leaves build/ and *.egg-info in the tree and would reuse stale ones."""
    tree = tmp_path_factory.mktemp("checkout") / "tree"
    tree.mkdir()
    for name in ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, tree)
    for name in ("nnunet_vmunet", "tests"):
        shutil.copytree(CHECKOUT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tree


@pytest.fixture(scope="module")
def wheel(tree) -> Path:
    pip("wheel", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", tree.parent, tree)
    return next(tree.parent.glob("nnunet_vmunet-*.whl"))


class Environment:
    """A new virtual environment with our wheel and an nnU-Net of its own. What else they need, gigabytes of it, it
    finds where this environment has it; a checkout that is installed there with -e it does not find.
    """

    def __init__(self, folder: Path, wheel: Path) -> None:
        venv.create(folder, symlinks=True)
        self.bin = folder / "bin"
        self.site = next(folder.glob("lib/python*/site-packages"))
        pip("--python", self.bin / "python", "install", "--no-index", "--no-deps", wheel)
        copy_nnunet(self.site)
        # .pth files in the folders that a .pth file names are not read, and pip installs with -e by such files.
        outside = [entry for entry in sys.path if entry.endswith(("site-packages", "dist-packages"))]
        (self.site / "outside.pth").write_text("".join(f"{entry}\n" for entry in outside))

    def run(self, program: str, *arguments, cwd: Path) -> str:
        """What a program of this environment prints, run in another folder."""
        kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "nnUNet_extTrainer")}
        return run([self.bin / program, *arguments], cwd=cwd, env=kept)

    def python(self, code: str, cwd: Path) -> dict:
        """The JSON that the code prints last."""
        return json.loads(self.run("python", "-c", code, cwd=cwd).splitlines()[-1])


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory) -> Environment:
    return Environment(tmp_path_factory.mktemp("environment"), wheel)


@pytest.fixture(scope="module")
def requirements(environment) -> list[Requirement]:
    """What the installed wheel says that it needs, extras included."""
    installed = next(metadata.distributions(name="nnunet-vmunet", path=[str(environment.site)]))
    return [Requirement(line) for line in installed.requires]


def imported_packages(source: Path) -> set[str]:
    """Top-level names of the absolute imports anywhere in a file."""
    names = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def test_wheel_holds_every_module_and_nothing_else(wheel):
    expected = {str(path.relative_to(CHECKOUT)) for path in SOURCES} | {"nnunet_vmunet/py.typed"}
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name for name in names if ".dist-info/" not in name} == expected


def test_the_source_distribution_holds_every_module_and_no_test(tree):
    build = "from setuptools import build_meta; print(build_meta.build_sdist('..'))"
    file = tree.parent / run([sys.executable, "-c", build], cwd=tree).splitlines()[-1]
    with tarfile.open(file) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {str(path.relative_to(CHECKOUT)) for path in SOURCES} | {"nnunet_vmunet/py.typed"} < names
    assert not [name for name in names if name.startswith("tests")]


def test_every_dependency_is_installed_in_a_version_that_fits(requirements):
    needed = [requirement for requirement in requirements if requirement.marker is None]
    assert {"torch", "nnunetv2"} <= {requirement.name for requirement in needed}
    for requirement in needed:
        assert requirement.specifier.contains(metadata.version(requirement.name), prereleases=True), requirement


def test_every_import_is_a_dependency(requirements):
    listed = {canonicalize_name(requirement.name) for requirement in requirements}
    ours = {"nnunet_vmunet"}
    imported = set().union(*map(imported_packages, SOURCES)) - set(sys.stdlib_module_names) - ours - {*NOT_DEPENDENCIES}
    assert "torch" in imported
    distributions = metadata.packages_distributions()
    missing = [name for name in imported if not listed & set(map(canonicalize_name, distributions.get(name, ())))]
    assert not missing, f"imported, but pyproject.toml does not ask for them: {missing}"


def test_importing_is_light(environment, tmp_path):
    found = environment.python(LIGHT_IMPORTS, cwd=tmp_path)
    installed = environment.site / "nnunet_vmunet"
    assert found["files"] == [str(installed / "__init__.py"), str(installed / "dataset_conversion" / "__init__.py")]
    assert found["heavy"] == []


NAMES_OF_FILES = """
import importlib, json, pkgutil, sys
import nnunet_vmunet
for module in pkgutil.walk_packages(nnunet_vmunet.__path__, "nnunet_vmunet."):
    if not module.name.startswith(("nnunet_vmunet.nnunet_vmunet", "nnunet_vmunet.nnunet_shims")):
        try:
            importlib.import_module(module.name)
        except ImportError:  # mamba-ssm and Triton are not everywhere
            pass
found = {}
for name, module in list(sys.modules.items()):
    file = getattr(module, "__file__", None) or ""
    if "nnunet_vmunet" in file and name != "__main__":
        found.setdefault(file, []).append(name)
impossible = ("nnunet_vmunet.nnunet_vmunet", "nnunet_vmunet.tests", "nnunet_vmunet.docs", "nnunet_vmunet.benchmarks")
importable = [name for name in (*impossible, "dataset_conversion") if importlib.util.find_spec(name)]
print(json.dumps({"twice": [names for names in found.values() if len(names) > 1], "importable": importable,
                  "modules": len(found)}))
"""


def no_module_has_two_names(found: dict) -> None:
    assert found["modules"] > 80
    assert found["twice"] == []
    assert found["importable"] == []


def test_no_module_of_the_wheel_has_two_names(environment, tmp_path):
    no_module_has_two_names(environment.python(NAMES_OF_FILES, cwd=tmp_path))


def test_no_module_of_the_checkout_has_two_names():
    no_module_has_two_names(json.loads(run([sys.executable, "-c", NAMES_OF_FILES], cwd=CHECKOUT).splitlines()[-1]))


@pytest.mark.slow
def test_network_and_trainers(environment, tmp_path):
    found = environment.python(NETWORK_AND_TRAINERS, cwd=tmp_path)
    assert found["editable"] == []
    assert "nnunet_vmunet.ops.numba_cpu" in found["files"]
    assert all(file.startswith(str(environment.site)) for file in found["files"].values())
    assert found["optional"] == []
    assert found["shape"] == [1, 2, 20, 24]
    assert found["error"] < 1e-5
    assert found["trainer"] == "nnUNetTrainerVMUNet"


def test_commands_and_a_conversion(environment, tmp_path):
    assert environment.run("nnunet-vmunet", "--version", cwd=tmp_path) == f"nnunet-vmunet {nnunet_vmunet.__version__}\n"
    assert "isic18" in environment.run("nnunet-vmunet", "convert", "--help", cwd=tmp_path)
    (tmp_path / "photos").mkdir()
    photograph = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    for name in ("first.png", "second.bmp"):
        Image.fromarray(photograph).save(tmp_path / "photos" / name)
    environment.run("nnunet-vmunet", "convert", "images", "-i", "photos", "-o", "scans", "-np", "1", cwd=tmp_path)
    for case in ("first", "second"):
        converted = next((tmp_path / "scans").glob(f"{case}_0000.*"))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(converted)), photograph)


def test_the_wheel_registers_with_the_nnunet_beside_it(environment, tmp_path):
    """What nnU-Net then finds is tested in test_register.py."""
    register = ["nnunet-vmunet", "register"]
    assert environment.run(*register, cwd=tmp_path).count(f"wrote {environment.site / 'nnunetv2'}") == len(SHIMS)
    assert environment.run(*register, "--check", cwd=tmp_path).count("registered ") == len(SHIMS)
    environment.run(*register, "--remove", cwd=tmp_path)
    assert not list(environment.site.rglob("vmunet"))
