"""The official VMamba weights, fetched into the user's cache: resumed, checked, and with their SHA-256 recorded."""

from __future__ import annotations

import os
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import requests
from tqdm import tqdm

from .. import __version__
from ..errors import InputError
from .checkpoint_file import checked_sha256, record_of, refuse_other_digest, sha256, why_damaged

FILES = {
    "vmamba-s": "vssmsmall_dp03_ckpt_epoch_238.pth",  # what the paper starts from
    "vmamba-t": "vssmtiny_dp01_ckpt_epoch_292.pth",
    "vmamba2-t": "vssm1_tiny_0230s_ckpt_epoch_264.pth",  # VMamba-T[s1l8], of the second version
}
# Release assets of github.com/MzeroMiko/VMamba. The tag begins with a hash sign; the first was renamed once.
RELEASES = (
    "https://github.com/MzeroMiko/VMamba/releases/download/%23v0cls/",
    "https://github.com/MzeroMiko/VMamba/releases/download/%2320240218/",
)
RELEASES_2 = ("https://github.com/MzeroMiko/VMamba/releases/download/%23v2cls/",)
CHUNK = 2**16  # bytes; less than that is lost where a connection breaks
HEADERS = {"User-Agent": f"nnunet-vmunet/{__version__}", "Accept-Encoding": "identity"}


@dataclass(frozen=True)
class Patience:
    """How long to wait, and how often to try again, where the network is bad."""

    timeout_s: float = 30  # without a byte, after which a connection counts as stalled
    tries: int = 4
    pause_s: float = 2  # before the second try; doubled before each further one


USUAL = Patience()


def download_weights(name: str, folder: Path | None = None, url: str | None = None, patience: Patience = USUAL) -> Path:
    """Fetch the ImageNet-pretrained weights `name` and print where they are; a complete file is not fetched again.

    What arrived stays beside the target as NAME.part and is continued by the next call. The file takes its name when
    it opens as a checkpoint; its SHA-256 is written to NAME.sha256, as `sha256sum` writes it.

    Args:
        name: a key of FILES.
        folder: where to keep the file; default `cache_folder()`.
        url: a mirror: the file's address, or its folder's, which then ends in a slash.
        patience: how long to wait, and how often to try again.

    Raises:
        InputError: the file cannot be had, written or opened, or is another than the one recorded in NAME.sha256.
    """
    target = (folder or cache_folder()).absolute() / FILES[name]
    releases = RELEASES_2 if name.startswith("vmamba2") else RELEASES
    folders = [url.replace("#", "%23")] if url else releases  # the one in the tag's name: files have no fragments
    urls = [f + target.name if f.endswith("/") and not f.endswith("://") else f for f in folders]
    try:
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            _fetch(urls, target, patience)
        digest = _checked(target)
    except OSError as error:
        raise InputError(
            f"{target} cannot be read or written: make room there or give a folder as -o, "
            f"and run the command again ({error})"
        ) from error
    print(target)
    print(f"SHA-256 {digest}, computed here and recorded in {record_of(target).name}: VMamba published none to compare")
    how = f"-o vmunet_{name.removeprefix('vmamba-')}.pth --dataset ID"
    if name.startswith("vmamba2"):
        how = "-o vmamba2_t.pth --dataset ID --network vmamba2-unet"
    print(f"next: nnunet-vmunet weights import {shlex.quote(str(target))} {how}")
    return target


def cache_folder() -> Path:
    """$NNUNET_VMUNET_CACHE, else the place that the system has for caches."""
    if own := os.environ.get("NNUNET_VMUNET_CACHE"):
        return Path(own).expanduser()
    caches = os.environ.get("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME")
    return (Path(caches) if caches else Path.home() / ".cache") / "nnunet-vmunet"


def _checked(target: Path) -> str:
    """The digest of a file that is there; one that a browser brought is checked and recorded as ours are."""
    if record_of(target).exists():
        return checked_sha256(target)
    if reason := why_damaged(target):
        raise InputError(f"{target} {reason}: delete it to download it again")
    return _recorded(target, sha256(target))


def _recorded(target: Path, digest: str) -> str:
    record_of(target).write_text(f"{digest}  {target.name}\n", encoding="utf-8")
    return digest


def _fetch(urls: list[str], target: Path, patience: Patience) -> None:
    """Write `target`, complete and checked, from the first address that has it."""
    way_out = f"give a mirror as --url, or save {target.name} with a browser and use nnunet-vmunet weights import on it"
    part = target.with_name(f"{target.name}.part")
    try:
        with open(part, "ab", buffering=0) as file:  # unbuffered: whatever ends this process, the bytes are there
            _lock(file, target)
            if target.exists():  # another process has finished it just now
                return
            if not _size(file) or why_damaged(part):  # else a process was killed after the last byte
                _receive_patiently(urls, file, patience, way_out)
        _accept(urls[0], part, target, way_out)
    except KeyboardInterrupt:
        print(f"\ninterrupted, {_arrived(part)}: the same command resumes", file=sys.stderr)
        raise
    finally:
        if part.exists() and not part.stat().st_size:
            part.unlink()


def _lock(file: IO[bytes], target: Path) -> None:
    """Send a second process away; the system lifts the lock when the first ends, in whatever way."""
    if sys.platform != "win32":  # where the checksums tell if two have written to one file
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"another process is downloading {target}: wait for it") from None


def _accept(url: str, part: Path, target: Path, way_out: str) -> None:
    if reason := why_damaged(part):
        size = part.stat().st_size
        part.unlink()
        raise InputError(
            f"{url}: what arrived, {size} bytes, {reason} and was removed: run the command again, or {way_out}"
        )
    digest = sha256(part)
    refuse_other_digest(target, digest, url, "delete the record to accept it")
    _recorded(target, digest)
    os.replace(part, target)


def _receive_patiently(urls: list[str], file: IO[bytes], patience: Patience, way_out: str) -> None:
    """Receive, and try again after what may pass.

    urllib3's Retry would not do: it does not know what has arrived when a connection breaks in the middle.
    """
    for i in range(patience.tries):
        try:
            return _receive(urls, file, patience.timeout_s, way_out)
        except ValueError as error:  # what requests raises for an address that is none is a ValueError too
            raise InputError(f"--url {urls[0]}: give a whole address that begins with https:// or http://") from error
        except requests.exceptions.SSLError as error:
            raise InputError(
                f"{urls[0]}: the server's certificate is not trusted ({_one_line(error)}): if a proxy is in the way, "
                "name its certificate file in REQUESTS_CA_BUNDLE"
            ) from error
        except requests.RequestException as error:
            state = f"{_one_line(error)}, {_arrived(Path(file.name))}"
            if i == patience.tries - 1:
                raise InputError(f"{urls[0]}: {state}: run the command again to resume, or {way_out}") from error
            pause_s = patience.pause_s * 2**i
            print(f"{state}: trying again in {pause_s:g} s", file=sys.stderr)
            time.sleep(pause_s)


def _receive(urls: list[str], file: IO[bytes], timeout_s: float, way_out: str) -> None:
    """Append to `file` what it lacks, or start it anew where the server cannot continue it."""
    offset = _size(file)
    headers = {**HEADERS, "Range": f"bytes={offset}-"} if offset else HEADERS
    for url in urls:
        print(f"downloading {url}", file=sys.stderr)
        response = requests.get(url, headers=headers, stream=True, timeout=timeout_s)
        if response.status_code != 404:
            break
    with response:
        _refuse_other_answers(response, url, way_out)
        if offset and not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
            print("the server's file has changed, or it cannot resume: from the start", file=sys.stderr)
            file.truncate(0)
            offset = 0
            if response.status_code != 200:
                raise requests.ConnectionError("the server's file has changed")
        length = response.headers.get("Content-Length", "")
        size = offset + int(length) if length.isdecimal() else None
        with tqdm(total=size, initial=offset, desc=Path(url).name, unit="B", unit_scale=True, disable=None) as bar:
            for data in response.iter_content(CHUNK):
                bar.update(len(data))
                while data:
                    data = data[file.write(data) :]
    if size is not None and _size(file) < size:
        raise requests.ConnectionError("the connection ended early")


def _refuse_other_answers(response: requests.Response, url: str, way_out: str) -> None:
    answer = f"{response.status_code} {response.reason}"
    if response.status_code in (408, 429) or response.status_code >= 500:
        raise requests.ConnectionError(f"the server answers {answer}")
    if response.status_code >= 400 and response.status_code != 416:  # the file is shorter than what has arrived
        raise InputError(f"{url} answers {answer}: {way_out}")
    if response.headers.get("Content-Type", "").startswith("text/html"):  # before it replaces what has arrived
        raise InputError(
            f"{url} answers with a web page instead of the file, perhaps a proxy's or a login page: {way_out}"
        )


def _size(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_size


def _arrived(part: Path) -> str:
    size = part.stat().st_size
    return f"{size / 1e6:.1f} MB have arrived and are kept in {part}" if size else "nothing has arrived"


def _one_line(error: requests.RequestException) -> str:
    reason = getattr(error.args[0], "reason", error) if error.args else error  # urllib3's, without the address again
    return " ".join(str(reason).split())[:200]
