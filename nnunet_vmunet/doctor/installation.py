"""What is installed: Python, nnunet-vmunet, nnU-Net and what both require; and whether nnU-Net finds the plugin."""

from __future__ import annotations

import os
import platform
import sys
import warnings
from collections.abc import Iterator
from contextlib import redirect_stdout
from importlib import metadata
from pathlib import Path

from .. import __version__
from ..errors import InputError
from .finding import Finding, first_line, ok, pip_install, problem, quote, set_variable, unknown, uv, warning
from .folders import why_not_writable
from .machine import not_numbers

PACKAGE = Path(__file__).resolve().parents[1]
TRAINER = "nnUNetTrainerVMUNet"


def check() -> Iterator[Finding]:
    from packaging.specifiers import SpecifierSet  # here and below: where packaging is missing, that is a finding

    interpreter = f"{platform.python_version()} at {sys.executable}"
    try:
        supported = metadata.metadata("nnunet-vmunet")["Requires-Python"]
    except metadata.PackageNotFoundError:
        detail = f"found in {PACKAGE}, but not installed for Python {interpreter}"
        yield problem("nnunet-vmunet", detail, pip_install(_ourselves()))
        return
    if not SpecifierSet(supported).contains(platform.python_version(), prereleases=True):
        yield problem("Python", f"{interpreter}, but {supported} is needed", _new_environment(supported))
        return  # that environment will need all the rest anew
    yield ok("Python", interpreter)
    yield ok("nnunet-vmunet", f"{__version__} in {PACKAGE}")
    yield _nnunet()
    yield _requirements()


def _ourselves() -> str:
    """What pip has to install to get this package: the checkout that we are in, or else the name."""
    return str(PACKAGE.parent) if (PACKAGE.parent / "pyproject.toml").is_file() else "nnunet-vmunet"


def _new_environment(supported: str) -> str:
    """uv fetches a Python that fits, where the machine has none."""
    new = uv("venv", "--seed", "--python", supported, "vmunet")
    return f"{new} && vmunet/bin/python -m pip install {quote(_ourselves())}"


def _nnunet() -> Finding:
    from .. import register

    requirement = register.required_nnunet()
    try:
        nnunet = register.find_nnunet()
        version = register.version_of(nnunet)
    except InputError as error:
        return problem("nnU-Net", str(error), pip_install(str(requirement)))
    if not requirement.specifier.contains(version, prereleases=True):
        return problem("nnU-Net", f"{version} in {nnunet}, but {requirement} is needed", pip_install(str(requirement)))
    return ok("nnU-Net", f"{version} in {nnunet}")


def _requirements() -> Finding:
    """What our metadata and nnU-Net's require, but for extras; nnU-Net excludes some versions of torch, for example."""
    required = [(owner, each) for owner in ("nnunet-vmunet", "nnunetv2") for each in _required_by(owner)]
    versions = {requirement.name: _version(requirement.name) for _, requirement in required}
    reasons = {
        str(requirement): f"{requirement.name} is {version or 'not installed'}, but {owner} needs {requirement}"
        for owner, requirement in required
        if not (version := versions[requirement.name]) or not requirement.specifier.contains(version, prereleases=True)
    }
    if reasons:
        return problem("requirements", "; ".join(reasons.values()), pip_install(*reasons), **versions)
    detail = f"all {len(versions)} that nnunet-vmunet and nnU-Net require are installed"
    return ok("requirements", detail, **versions)


def _required_by(distribution: str) -> list:
    """The requirements of an installed distribution, without nnU-Net itself; none where it is not installed."""
    from packaging.requirements import Requirement

    lines = metadata.requires(distribution) if _version(distribution) else None
    requirements = [Requirement(line) for line in lines or ()]
    here = [each for each in requirements if each.marker is None or each.marker.evaluate({"extra": ""})]
    return [each for each in here if each.name != "nnunetv2"]


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def check_registration() -> Iterator[Finding]:
    """Whether nnU-Net would find the trainers, the planners and the image readers, by the files alone."""
    from .. import register

    name = "registration"
    try:
        nnunet = register.find_nnunet()
    except InputError:
        yield unknown(name, "there is no nnU-Net to register with")
        return
    unregistered = {path: state for path, state in register.states(nnunet).items() if state != "registered"}
    if not unregistered:
        yield ok(name, "nnU-Net finds the trainers, the planners and the image readers")
        return
    detail = "; ".join(f"{path.name} is {state}" for path, state in unregistered.items())
    fix = " && ".join([*_move_away(unregistered), "nnunet-vmunet register"])
    if _trainers_by_variable():
        detail += f". The trainers are found through {register.TRAINER_VARIABLE}; planners and image readers are not"
        yield warning(name, detail, fix)
        return
    if why_not_writable(nnunet):
        folders = filter(None, [os.environ.get(register.TRAINER_VARIABLE), str(register.SHIMS_FOLDER / "trainers")])
        fix = set_variable(register.TRAINER_VARIABLE, os.pathsep.join(folders))
    yield problem(name, detail, fix)


def _move_away(states: dict[Path, str]) -> list[str]:
    return [f"mv {quote(path)} {quote(f'{path}.away')}" for path, state in states.items() if state == "not ours"]


def _trainers_by_variable() -> bool:
    from .. import register

    folders = os.environ.get(register.TRAINER_VARIABLE, "").split(os.pathsep)
    return any(Path(folder, "vmunet_trainers.py").is_file() for folder in folders if folder)


def check_trainer() -> Iterator[Finding]:
    """Whether nnU-Net's own search finds the trainer, and all that it imports works. Needs torch."""
    from .. import register

    if not_numbers():
        yield unknown("trainer", f"cannot be looked for: nnU-Net stops at {' and '.join(not_numbers())}")
        return
    try:
        with redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

            trainer = recursive_find_trainer_class_by_name(TRAINER)
    except ModuleNotFoundError:
        raise  # whoever guards this check knows how to bring a module back
    except Exception as error:  # broken packages raise anything while they are imported
        if "Could not find" in str(error):  # its search went well, and it says in 300 letters where it looked
            yield problem("trainer", f"nnU-Net does not find {TRAINER}", "nnunet-vmunet register")
        else:
            reinstall = pip_install("--force-reinstall", "--no-deps", str(register.required_nnunet()))
            yield problem("trainer", first_line(error), reinstall)
    else:
        yield ok("trainer", f"nnU-Net finds {TRAINER}, in {trainer.__module__}")
