"""The SHA-256 of a weights file, recorded beside it: nobody published one to compare with."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from ..errors import InputError

CHUNK = 2**20  # bytes


def compare_digest(file: Path) -> str:
    """The SHA-256 of `file` in hexadecimal. An InputError says if NAME.sha256 beside it holds another."""
    digest = sha256(file)
    refuse_other_digest(file, digest, str(file), "delete both and download it again")
    return digest


def refuse_other_digest(target: Path, digest: str, what: str, way_out: str) -> None:
    """An InputError if NAME.sha256 beside `target` holds another digest."""
    recording = record(target)
    text = recording.read_text(encoding="utf-8", errors="replace") if recording.exists() else ""
    recorded = re.search(r"\b[0-9a-f]{64}\b", text.lower())
    if recorded and recorded[0] != digest:
        raise InputError(
            f"{what} has SHA-256 {digest}, but {recording} recorded {recorded[0]}: it has changed, {way_out}"
        )


def sha256(file: Path) -> str:
    """Of the whole file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(file, "rb") as opened:
        while data := opened.read(CHUNK):
            digest.update(data)
    return digest.hexdigest()


def record(target: Path) -> Path:
    """Where the digest of `target` stands, as `sha256sum` writes it."""
    return target.with_name(f"{target.name}.sha256")


def record_digest(file: Path, target: Path) -> str:
    """Write the digest of `file`, which is or will be `target`, and return it."""
    digest = sha256(file)
    record(target).write_text(f"{digest}  {target.name}\n", encoding="utf-8")
    return digest
