"""The official VMamba weights, fetched into the user's cache: resumed, checked, and with their SHA-256 recorded."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit

from ..errors import InputError
from .digest import compare_digest, record, record_digest, refuse_other_digest, sha256
from .part import Part
from .transfer import USUAL, Patience, fetch
from .whole_file import why_no_checkpoint

FILES = {
    "vmamba-s": "vssmsmall_dp03_ckpt_epoch_238.pth",  # what the paper starts from
    "vmamba-t": "vssmtiny_dp01_ckpt_epoch_292.pth",
}
# Release assets of github.com/MzeroMiko/VMamba. The tag begins with a hash sign and was renamed once.
RELEASES = (
    "https://github.com/MzeroMiko/VMamba/releases/download/%23v0cls/",
    "https://github.com/MzeroMiko/VMamba/releases/download/%2320240218/",
)


def download_weights(name: str, folder: Path | None = None, url: str | None = None, patience: Patience = USUAL) -> Path:
    """Fetch the ImageNet-pretrained weights `name` and print where they are; a complete file is not fetched again.

    What arrived stays beside the target as NAME.part and is continued by the next call, unless the server's file has
    changed. The file takes its name when it opens as a checkpoint; its SHA-256 is written to NAME.sha256, as
    `sha256sum` writes it.

    Args:
        name: a key of FILES.
        folder: where to keep the file; default `cache_folder()`.
        url: a mirror: the file's address, or its folder's, which then ends in a slash.
        patience: with a bad network.

    Raises:
        InputError: the file cannot be had, written or opened, or is another than the one recorded in NAME.sha256.
    """
    target = (folder or cache_folder()).absolute() / FILES[name]
    urls = [_mirrored(url, target.name)] if url else [release + target.name for release in RELEASES]
    try:
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            with _locked(target):
                if not target.exists():  # another process may have finished it just now
                    _fetch_first(urls, target, patience)
        digest = _checked(target)
    except OSError as error:
        raise InputError(
            f"{target} cannot be read or written: make room there or give a folder as -o, "
            f"and run the command again ({error})"
        ) from error
    print(target)
    print(f"SHA-256 {digest}, computed here and recorded in {record(target).name}: VMamba published none to compare")
    print(
        f"next: nnunet-vmunet weights import {shlex.quote(str(target))} "
        f"-o vmunet_{name.removeprefix('vmamba-')}.pth --dataset ID"
    )
    return target


def cache_folder() -> Path:
    """$NNUNET_VMUNET_CACHE, else the place that the system has for caches."""
    if own := os.environ.get("NNUNET_VMUNET_CACHE"):
        return Path(own).expanduser()
    caches = os.environ.get("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME")
    return (Path(caches) if caches else Path.home() / ".cache") / "nnunet-vmunet"


def _checked(target: Path) -> str:
    """The digest of a file that is there; one that a browser brought is checked and recorded as ours are."""
    if record(target).exists():
        return compare_digest(target)
    if reason := why_no_checkpoint(target):
        raise InputError(f"{target} is no whole PyTorch checkpoint ({reason}): delete it to download it again")
    return record_digest(target, target)


def _mirrored(url: str, name: str) -> str:
    """The address with what must be escaped escaped; refused unless it is http or https."""
    try:
        parts = urlsplit(url)  # and .port raises ValueError for what is no number
        complete = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or True)
    except ValueError:
        complete = False
    if not complete:
        raise InputError(f"--url {url}: give a whole address that begins with https:// or http://")
    # A hash sign can only be the one in the tag's name: files have no fragments.
    return quote(url + name if url.endswith("/") else url, safe="%/:=&?~+!$,;'@()*[]")


def _fetch_first(urls: list[str], target: Path, patience: Patience) -> None:
    """Write `target`, complete and checked, from the first address that does not answer 404."""
    otherwise = (
        f"give a mirror as --url, or save {target.name} with a browser and use nnunet-vmunet weights import on it"
    )
    part = Part(target)
    for url in urls:
        try:
            fetch(url, part, patience, otherwise)
        except HTTPError as error:
            if error.code != 404 or url == urls[-1]:
                raise InputError(f"{url} answers {error.code} {error.reason}: {otherwise}") from None
        else:
            _accept(url, part, target, otherwise)
            return


def _accept(url: str, part: Part, target: Path, otherwise: str) -> None:
    if reason := why_no_checkpoint(part.file):
        size = part.size
        part.remove()
        raise InputError(
            f"{url}: the {size} bytes that arrived are no PyTorch checkpoint ({reason}) and were removed: "
            f"run the command again, or {otherwise}"
        )
    digest = sha256(part.file)
    refuse_other_digest(target, digest, url, "delete the record to accept it")
    record_digest(part.file, target)
    part.become(target)


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Keep other processes from the same target. The system lifts the lock when a process dies; the file stays."""
    with open(target.with_name(f".{target.name}.lock"), "a") as file:
        try:
            _lock(file)
        except (BlockingIOError, PermissionError):
            raise InputError(f"another process is downloading {target}: wait for it") from None
        yield


def _lock(file) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
