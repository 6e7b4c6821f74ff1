"""Python, nnunet-vmunet, nnU-Net, torch and what else is required: installed, and in versions that fit."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from .. import __version__
from .finding import PROBLEM, Finding, ok, problem, unknown
from .shell import pip_install, quote, then

CHECKOUT = Path(__file__).resolve().parents[2]
NEWEST_PYTHON = "3.13"  # what to get where this Python does not fit
OWN_LINES = ("nnunetv2", "torch")


def check() -> Iterator[Finding]:
    python = _python()
    yield python
    if python.state == PROBLEM:  # another one needs an environment of its own, and everything in it
        return
    if find_spec("packaging") is None:
        yield problem("requirements", f"not installed: {', '.join(_missing())}", pip_install(*_everything()))
        return
    if not any(metadata.distributions(name="nnunet-vmunet")):
        yield problem("nnunet-vmunet", f"found in {CHECKOUT}, but not installed", pip_install(*_everything()))
        return
    yield ok("nnunet-vmunet", f"{__version__} in {Path(__file__).resolve().parents[1]}")
    yield _nnunet()
    yield _torch()
    yield _others()


def _everything() -> list[str]:
    """What pip is to install where we are not installed properly."""
    return [str(CHECKOUT)] if (CHECKOUT / "pyproject.toml").is_file() else ["nnunet-vmunet"]


def _missing() -> list[str]:
    """The names of what is required and not there, for where `packaging` is among them."""
    try:
        lines = metadata.requires("nnunet-vmunet") or ()
    except metadata.PackageNotFoundError:
        return ["packaging"]
    names = {re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in lines if "extra ==" not in line} | {"packaging"}
    return sorted(name for name in names if not any(metadata.distributions(name=name)))


def required(name: str):
    """The requirement of this name in our metadata, that is in pyproject.toml; extras included."""
    return next(requirement for requirement in _requirements() if requirement.name == name)


def _requirements() -> list:
    from packaging.requirements import Requirement

    return [Requirement(line) for line in metadata.requires("nnunet-vmunet") or ()]


def _python() -> Finding:
    detail = f"{platform.python_version()} at {sys.executable}"
    try:
        supported = metadata.metadata("nnunet-vmunet")["Requires-Python"]
    except metadata.PackageNotFoundError:
        return unknown("Python", f"{detail}; which versions will do is known once nnunet-vmunet is installed")
    if _fits(platform.python_version(), supported):
        return ok("Python", detail)
    environment = f"python{NEWEST_PYTHON} -m venv vmunet"
    install = f"vmunet/bin/python -m pip install {' '.join(map(quote, _everything()))}"
    return problem("Python", f"{detail}, but {supported} is needed", then(environment, install))


def _fits(version: str, supported: str) -> bool:
    """Whether Python 3.11.7 is in >=3.10,<3.14, say; without `packaging`, which may be missing."""

    def numbers(text: str) -> list[int]:
        return [int(number) for number in text.split(".")[:2]]

    bounds = re.findall(r"(>=|<)\s*(\d+\.\d+)", supported)
    return all((numbers(version) >= numbers(bound)) == (operator == ">=") for operator, bound in bounds)


def _nnunet() -> Finding:
    from .. import register
    from ..errors import InputError

    requirement = register.required_nnunet()
    try:
        nnunet = register.find_nnunet()
        version = register.version_of(nnunet)
    except InputError as error:
        return problem("nnU-Net", str(error), pip_install(str(requirement)))
    if not requirement.specifier.contains(version, prereleases=True):
        return problem("nnU-Net", f"{version} in {nnunet}, but {requirement} is needed", pip_install(str(requirement)))
    return ok("nnU-Net", f"{version} in {nnunet}")


def _torch() -> Finding:
    requirement = required("torch")
    reason = _why_unfit(requirement)
    if reason:
        return problem("torch", reason, pip_install(str(requirement)))
    if not torch_is_there():
        detail = f"{metadata.version('torch')} is noted as installed, but its files are not there"
        return problem("torch", detail, pip_install("--force-reinstall", str(requirement)))
    return ok("torch", metadata.version("torch"))


def torch_is_there() -> bool:
    """Whether Python finds torch; a folder that an uninstalled torch left is none."""
    try:
        spec = find_spec("torch")
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None


def _others() -> Finding:
    """All other requirements in one line."""
    requirements = [
        requirement
        for requirement in _requirements()
        if requirement.name not in OWN_LINES and (not requirement.marker or requirement.marker.evaluate({"extra": ""}))
    ]
    unfit = {str(requirement): reason for requirement in requirements if (reason := _why_unfit(requirement))}
    if unfit:
        return problem("requirements", "; ".join(unfit.values()), pip_install(*unfit))
    return ok("requirements", f"all {len(requirements)} others are installed")


def _why_unfit(requirement) -> str | None:
    """Why what is installed does not meet the requirement, or None if it does."""
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return f"{requirement.name} is not installed"
    if requirement.specifier.contains(version, prereleases=True):
        return None
    return f"{requirement.name} is {version}, but {requirement.specifier} is needed"
