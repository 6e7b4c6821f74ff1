"""Copies of the installed nnU-Net, to be written to."""

from __future__ import annotations

import shutil
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path


def copy_nnunet(site: Path) -> Path:
    """Install a copy of nnU-Net into a folder, as far as Python sees it, and return the package's folder."""
    copy = copy_package(site)
    installed = metadata.distribution("nnunetv2")
    notes = write_metadata(site, installed.version)
    (notes / "entry_points.txt").write_text(installed.read_text("entry_points.txt") or "")
    return copy


def copy_package(folder: Path) -> Path:
    """Copy the package alone, with what Python compiled of it and without our shims."""
    source = Path(find_spec("nnunetv2").origin).parent
    return Path(shutil.copytree(source, folder / "nnunetv2", ignore=shutil.ignore_patterns("vmunet")))


def write_metadata(site: Path, version: str) -> Path:
    """Note that nnU-Net is installed there in this version, as pip does, and return the folder of such notes."""
    notes = site / f"nnunetv2-{version}.dist-info"
    notes.mkdir(parents=True)
    (notes / "METADATA").write_text(f"Metadata-Version: 2.1\nName: nnunetv2\nVersion: {version}\n")
    return notes
