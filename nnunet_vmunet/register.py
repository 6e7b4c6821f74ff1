"""Lets nnU-Net's searches find VM-UNet, by shims: modules of one import each, copied into the installed nnunetv2.

nnU-Net looks for trainers, image readers, planners and preprocessors in its own package folder and offers plugins no
entry point. The shims go there at the user's command and can be taken away again. nnunetv2 itself is never imported
here: that is slow.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname
from uuid import uuid4

from packaging.requirements import Requirement

from . import __version__
from .errors import InputError

SHIMS_FOLDER = Path(__file__).resolve().parent / "nnunet_shims"
# Each shim, and the folder inside nnunetv2 in which nnU-Net's search will find it.
SHIMS = {
    "trainers/vmunet_trainers.py": "training/nnUNetTrainer/variants/vmunet",
    "imageio/vmunet_image_io.py": "imageio/vmunet",
    "planners/vmunet_planners.py": "experiment_planning/experiment_planners/vmunet",
    "preprocessing/vmunet_preprocessing.py": "preprocessing/vmunet",
    "resampling/vmunet_resampling.py": "preprocessing/resampling/vmunet",
}
MARK = b"# nnunet-vmunet shim"  # how each file that we write begins
INIT = MARK + b": nnU-Net searches only folders that have an __init__.py.\n"
TRAINER_VARIABLE = "nnUNet_extTrainer"  # nnU-Net's: folders, separated by colons, that it searches for trainers too
TEMPORARY = ".nnunet-vmunet"  # how a file that is not complete yet ends


def required_nnunet() -> Requirement:
    """The versions of nnunetv2 that we work with, as our own metadata (that is, pyproject.toml) says."""
    try:
        requirements = [Requirement(line) for line in metadata.requires("nnunet-vmunet") or ()]
    except metadata.PackageNotFoundError:
        raise InputError("nnunet-vmunet itself is not installed; run pip install . in its checkout") from None
    return next(requirement for requirement in requirements if requirement.name == "nnunetv2")


def find_nnunet() -> Path:
    """The package folder of the nnunetv2 that this interpreter would import."""
    spec = find_spec("nnunetv2")
    if spec is None:
        raise InputError(f'nnunetv2 is not installed for {sys.executable}; run pip install "{required_nnunet()}"')
    if spec.origin is None:  # a namespace package
        folders = " and ".join(spec.submodule_search_locations or ())
        raise InputError(
            f"Python takes {folders} for nnunetv2, but it has no __init__.py (an nnU-Net that was "
            "uninstalled may have left it): delete or rename it, then run this again"
        )
    return Path(spec.origin).parent


def version_of(nnunet: Path) -> str:
    """The version of the nnunetv2 in this folder, whichever other versions are installed elsewhere.

    A checkout's pyproject.toml is asked first: an editable install's metadata dates from the last pip install.
    """
    version = _checkout_version(nnunet.parent / "pyproject.toml")
    if version:
        return version
    for distribution in metadata.distributions(name="nnunetv2"):
        if _installs(distribution, nnunet):
            return distribution.version
    raise InputError(f'cannot tell the version of nnU-Net in {nnunet}; run pip install "{required_nnunet()}"')


def _checkout_version(pyproject: Path) -> str | None:
    """The version that an nnU-Net checkout states; None if this is no such file or it does not state one.

    Reads the two plain lines that are wanted; the standard library reads TOML only from Python 3.11 on.
    """
    if not pyproject.is_file():
        return None
    project = re.search(r"^\[project\](.*?)(?=^\[|\Z)", pyproject.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    values = dict(re.findall(r"""^(name|version)\s*=\s*["'](.+?)["']""", project[1], re.MULTILINE)) if project else {}
    return values.get("version") if values.get("name") == "nnunetv2" else None


def _installs(distribution: metadata.Distribution, nnunet: Path) -> bool:
    """Whether this metadata is that of the package in the folder: beside it, or an editable install of its project."""
    nnunet = nnunet.resolve()
    if Path(str(distribution.locate_file("nnunetv2"))).resolve() == nnunet:
        return True
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    if not origin.get("dir_info", {}).get("editable"):
        return False
    return nnunet.is_relative_to(Path(url2pathname(urlsplit(origin["url"]).path)).resolve())


def _refusal(version: str, nnunet: Path) -> str | None:
    """Why we do not work with this nnU-Net, or None if we do."""
    required = required_nnunet()
    if required.specifier.contains(version, prereleases=True):
        return None
    return (
        f"nnU-Net {version} in {nnunet} is not supported: nnunet-vmunet {__version__} needs {required}; "
        f'run pip install "{required}"'
    )


def _shims(nnunet: Path) -> list[tuple[Path, bytes, str]]:
    """Each shim: where it belongs in this nnU-Net, its content, and what is there now."""
    shims = [(nnunet / folder / Path(shim).name, (SHIMS_FOLDER / shim).read_bytes()) for shim, folder in SHIMS.items()]
    return [(path, content, _state(path, content)) for path, content in shims]


def _state(path: Path, content: bytes) -> str:
    found = path.read_bytes() if path.is_file() else None
    if found is not None and not found.startswith(MARK):
        return "not ours"
    if found is None or not (path.parent / "__init__.py").is_file():
        return "missing"
    return "registered" if found == content else "outdated"


def _write(path: Path, content: bytes) -> None:
    """Write the file whole or, when killed half way, not at all."""
    temporary = path.with_name(f"{path.name}.{uuid4().hex}{TEMPORARY}")
    temporary.write_bytes(content)
    os.replace(temporary, path)


def _write_shim(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(exist_ok=True)
        if not (path.parent / "__init__.py").exists():
            _write(path.parent / "__init__.py", INIT)
        _write(path, content)
    except OSError as error:
        searched = filter(None, [os.environ.get(TRAINER_VARIABLE), str(SHIMS_FOLDER / "trainers")])
        raise InputError(
            f"cannot write {path} ({error.strerror}): run register as the user who owns this nnU-Net. Or leave it as "
            f"it is and let nnU-Net find the trainers through its variable {TRAINER_VARIABLE}; it does not look there "
            "for planners, so leave out -pl, nor for image readers and would take its natural-image reader, so "
            "photographs must be brought to the training size first: "
            f"export {TRAINER_VARIABLE}={shlex.quote(os.pathsep.join(searched))}"
        ) from error


def _is_ours(path: Path) -> bool:
    """Whether we wrote this file, or Python when it compiled one of ours."""
    if path.suffix == ".pyc":
        return path.name.partition(".")[0] in {"__init__", *(Path(shim).stem for shim in SHIMS)}
    if path.suffix == TEMPORARY:
        return True
    return path.is_file() and path.read_bytes().startswith(MARK)


def _remove_folder(folder: Path) -> None:
    """Delete our files, then the folder. Files of others stay, and with them the __init__.py that they may need."""
    cache = folder / "__pycache__"
    files = sorted(path for path in (*folder.glob("*"), *cache.glob("*")) if path != cache)
    others = [path for path in files if not _is_ours(path)]
    for path in files:
        if path in others or (others and path.name.startswith("__init__.")):
            continue
        path.unlink()
        if path.parent == folder:
            print(f"removed {path}")
    for path in others:
        print(f"left {path}: it is not ours; delete it yourself if you do not need it")
    for empty in (cache, folder):
        if empty.is_dir() and not any(empty.iterdir()):
            empty.rmdir()


def states(nnunet: Path) -> dict[Path, str]:
    """Each shim's place in this nnU-Net, and whether it is registered, outdated, missing, or not ours."""
    return {path: state for path, _, state in _shims(nnunet)}


def register() -> None:
    """Copy the shims into the installed nnU-Net, those that are missing or outdated.

    Raises:
        InputError: there is no nnU-Net of a supported version, its folder cannot be written, or a file is in the way.
    """
    nnunet = find_nnunet()
    version = version_of(nnunet)
    refusal = _refusal(version, nnunet)
    if refusal:
        raise InputError(refusal)
    shims = _shims(nnunet)
    for path, _, state in shims:
        if state == "not ours":
            raise InputError(f"{path} is in the way and not ours: move it elsewhere, then run register again")
    unfinished = [(path, content, state) for path, content, state in shims if state != "registered"]
    for path, content, state in unfinished:
        _write_shim(path, content)
        print(f"{'wrote' if state == 'missing' else 'refreshed'} {path}")
    print(
        f"{'' if unfinished else 'already '}registered with nnU-Net {version} in {nnunet}; "
        "train with -tr nnUNetTrainerVMUNet"
    )


def check() -> bool:
    """Print what is registered, and with which nnU-Net. True if each shim is there as it should be."""
    nnunet = find_nnunet()
    version = version_of(nnunet)
    shims = _shims(nnunet)
    print(f"nnU-Net {version} in {nnunet}")
    for path, _, state in shims:
        print(f"{state:<10}  {path.relative_to(nnunet)}")
    complete = all(state == "registered" for *_, state in shims)
    refusal = _refusal(version, nnunet)
    if refusal:
        print(refusal)
    elif not complete:
        print("to register, run nnunet-vmunet register")
    return complete and not refusal


def remove() -> None:
    """Take the shims out of the installed nnU-Net, of whatever version, with the folders made for them."""
    nnunet = find_nnunet()
    folders = [nnunet / folder for folder in SHIMS.values() if (nnunet / folder).is_dir()]
    if not folders:
        print(f"nothing to remove from {nnunet}")
    for folder in folders:
        try:
            _remove_folder(folder)
        except OSError as error:
            raise InputError(
                f"cannot delete {error.filename} ({error.strerror}): run register --remove as the user "
                "who owns this nnU-Net"
            ) from error
