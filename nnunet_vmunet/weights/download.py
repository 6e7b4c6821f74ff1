"""The official VMamba weights, fetched into the user's cache: resumed, checked, and with their SHA-256 recorded."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.client import HTTPException, HTTPResponse, IncompleteRead
from pathlib import Path
from ssl import SSLCertVerificationError
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit

from tqdm import tqdm

from .. import __version__
from ..errors import InputError
from .digest import compare_digest, record, record_digest, refuse_other_digest, sha256

FILES = {
    "vmamba-s": "vssmsmall_dp03_ckpt_epoch_238.pth",  # what the paper starts from
    "vmamba-t": "vssmtiny_dp01_ckpt_epoch_292.pth",
}
# Release assets of github.com/MzeroMiko/VMamba. The tag begins with a hash sign and was renamed once.
RELEASES = (
    "https://github.com/MzeroMiko/VMamba/releases/download/%23v0cls/",
    "https://github.com/MzeroMiko/VMamba/releases/download/%2320240218/",
)
CHUNK = 2**20  # bytes
ENDED_EARLY = "the connection ended early"


def download_weights(
    name: str, folder: Path | None = None, url: str | None = None,
    *, timeout_s: float = 30, tries: int = 4, pause_s: float = 2,
) -> Path:  # fmt: skip
    """Fetch the ImageNet-pretrained weights `name` and print where they are; a complete file is not fetched again.

    What arrived stays beside the target as NAME.part and is continued by the next call, unless the server's file has
    changed. The file takes its name when it opens as a checkpoint; its SHA-256 is written to NAME.sha256, as
    `sha256sum` writes it.

    Args:
        name: a key of FILES.
        folder: where to keep the file; default `cache_folder()`.
        url: a mirror: the file's address, or its folder's, which then ends in a slash.
        timeout_s: seconds without a byte after which a connection counts as stalled.
        tries: how often to connect before giving up.
        pause_s: seconds before the second try; doubled before each further one.

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
                    _fetch_first(urls, target, timeout_s, tries, pause_s)
        digest = _checked(target)
    except OSError as error:
        raise InputError(f"{target} cannot be read or written: make room there or give a folder as -o, "
                         f"and run the command again ({error})") from error  # fmt: skip
    print(target)
    print(f"SHA-256 {digest}, computed here and recorded in {record(target).name}: VMamba published none to compare")
    print(f"next: nnunet-vmunet weights import {shlex.quote(str(target))} "
          f"-o vmunet_{name.removeprefix('vmamba-')}.pth --dataset ID")  # fmt: skip
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
    if reason := _why_no_checkpoint(target):
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
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


class _Broken(Exception):
    """A transfer that ended early: trying again may help."""


@dataclass(frozen=True)
class _Origin:
    """What a server said of the file that a part belongs to; kept beside the part."""

    etag: str | None
    last_modified: str | None
    size: int | None  # bytes of the whole file

    @classmethod
    def of_response(cls, response: HTTPResponse) -> _Origin:
        if response.status == 206:
            size = _content_range(response)[1]
        else:
            length = response.headers["Content-Length"] or ""
            size = int(length) if length.isdecimal() else None
        return cls(response.headers["ETag"], response.headers["Last-Modified"], size)

    @property
    def validator(self) -> str | None:
        """For If-Range, which takes no weak tag."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified

    def may_equal(self, other: _Origin) -> bool:
        """No field that both have differs, and there is one that both have."""
        pairs = [pair for pair in zip(asdict(self).values(), asdict(other).values(), strict=True) if None not in pair]
        return bool(pairs) and all(ours == theirs for ours, theirs in pairs)


class _Part:
    """What has arrived of `target`: NAME.part, and its origin in NAME.part.json."""

    def __init__(self, target: Path) -> None:
        self.file = target.with_name(f"{target.name}.part")
        self._origin_file = target.with_name(f"{target.name}.part.json")

    @property
    def size(self) -> int:
        return self.file.stat().st_size if self.file.exists() else 0

    @property
    def origin(self) -> _Origin | None:
        try:
            return _Origin(**json.loads(self._origin_file.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None  # a process was killed while it wrote this

    def begin(self, origin: _Origin) -> None:
        # The old bytes go first: they must never be taken for the new file's.
        self._origin_file.unlink(missing_ok=True)
        open(self.file, "wb").close()
        self._origin_file.write_text(json.dumps(asdict(origin)), encoding="utf-8")

    def remove(self) -> None:
        self.file.unlink(missing_ok=True)
        self._origin_file.unlink(missing_ok=True)

    def become(self, target: Path) -> None:
        os.replace(self.file, target)
        self._origin_file.unlink(missing_ok=True)

    @property
    def is_whole(self) -> bool:
        origin = self.origin
        if origin is None or not self.size:
            return False
        # Where the server told no length, a zip archive's end is recognisable.
        return zipfile.is_zipfile(self.file) if origin.size is None else self.size == origin.size

    def __str__(self) -> str:
        if not self.size:
            return "nothing has arrived"
        origin = self.origin
        of = f" of {_megabytes(origin.size)}" if origin and origin.size else ""
        return f"{_megabytes(self.size)}{of} have arrived"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _fetch_first(urls: list[str], target: Path, timeout_s: float, tries: int, pause_s: float) -> None:
    """From the first address that does not answer 404."""
    for url in urls:
        try:
            _fetch(url, target, timeout_s, tries, pause_s)
            return
        except HTTPError as error:
            if error.code != 404 or url == urls[-1]:
                raise InputError(f"{url} answers {error.code} {error.reason}: {_way_out(target.name)}") from None


def _way_out(name: str) -> str:
    return (f"give a mirror as --url, or save {name} with a browser and use "
            f"nnunet-vmunet weights import on it")  # fmt: skip


def _fetch(url: str, target: Path, timeout_s: float, tries: int, pause_s: float) -> None:
    """Write `target`, complete and checked. HTTP errors that do not pass by waiting are left to the caller."""
    part = _Part(target)
    print(f"downloading {url}", file=sys.stderr)
    try:
        for left in reversed(range(tries)):
            try:
                if not part.is_whole:  # it is if a process was killed after the last byte
                    _receive(url, part, timeout_s)
                break
            except _Broken as error:
                if not left:
                    kept = f" and are kept in {part.file}" if part.size else ""
                    again = "run the command again to resume" if part.size else "run the command again"
                    raise InputError(f"{url}: {error}, {part}{kept}: {again}, or {_way_out(target.name)}") from error
                print(f"{error}, {part}: trying again in {pause_s:g} s", file=sys.stderr)
                time.sleep(pause_s)
                pause_s *= 2
    except KeyboardInterrupt:
        print(f"\ninterrupted, {part}: the same command resumes", file=sys.stderr)
        raise
    _accept(url, part, target)


def _accept(url: str, part: _Part, target: Path) -> None:
    if reason := _why_no_checkpoint(part.file):
        size = part.size
        part.remove()
        raise InputError(f"{url}: the {size} bytes that arrived are no PyTorch checkpoint ({reason}) and were removed: "
                         f"run the command again, or {_way_out(target.name)}")  # fmt: skip
    digest = sha256(part.file)
    refuse_other_digest(target, digest, url, "delete the record to accept it")
    record_digest(part.file, target)
    part.become(target)


def _receive(url: str, part: _Part, timeout_s: float) -> None:
    """Append to `part` what it lacks, or start it anew where the server cannot continue it."""
    origin, offset = part.origin, part.size
    if origin is None or (origin.size is not None and offset > origin.size):
        origin, offset = None, 0
    with _open(url, part, origin if offset else None, offset, timeout_s) as response:
        served = _Origin.of_response(response)
        if response.status == 206:
            if origin is None or _content_range(response)[0] != offset or not origin.may_equal(served):
                part.remove()
                raise _Broken("the server's file has changed")
        else:
            if offset:
                print("the server's file has changed, or it cannot resume: from the start", file=sys.stderr)
            part.begin(served)
            offset = 0
        _save(response, part, offset, served.size)
    # A server without lengths closes the connection at the end; what is no zip archive can be tried only.
    if not part.is_whole and (served.size is not None or _begins_as_zip(part.file)):
        raise _Broken(ENDED_EARLY)


def _open(url: str, part: _Part, origin: _Origin | None, offset: int, timeout_s: float) -> HTTPResponse:
    headers = {"User-Agent": f"nnunet-vmunet/{__version__}"}
    if origin:
        headers["Range"] = f"bytes={offset}-"
        if origin.validator:
            headers["If-Range"] = origin.validator
    try:
        with _broken_network():
            response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout_s)
    except HTTPError as error:
        error.close()
        if error.code == 416 and origin:
            part.remove()
            raise _Broken("the server's file has changed") from error
        if error.code in (408, 429) or error.code >= 500:
            raise _Broken(f"the server answers {error.code} {error.reason}") from error
        raise
    if response.headers.get_content_type() == "text/html":  # before it replaces what has arrived
        response.close()
        raise InputError(f"{url} answers with a web page instead of the file, perhaps a proxy's or a login page: "
                         f"{_way_out(part.file.stem)}")  # fmt: skip
    return response


def _save(response: HTTPResponse, part: _Part, offset: int, size: int | None) -> None:
    # Unbuffered: whatever ends this process, the bytes are in the file. read1 hands over what has come before a stall.
    with open(part.file, "ab", buffering=0) as file, _progress(part, offset, size) as bar:
        while data := _read(response):
            bar.update(len(data))
            while data:
                data = data[file.write(data) :]


def _read(response: HTTPResponse) -> bytes:
    with _broken_network():
        return response.read1(CHUNK)


def _progress(part: _Part, offset: int, size: int | None) -> tqdm:
    """A progress bar where someone watches; a log file gets none."""
    return tqdm(total=size, initial=offset, desc=part.file.stem, unit="B", unit_scale=True, disable=None)


@contextmanager
def _broken_network() -> Iterator[None]:
    """Errors of the network, told apart here from those of the disk: both are OSErrors."""
    try:
        yield
    except HTTPError:
        raise
    except TimeoutError as error:
        raise _Broken("the connection stalled") from error
    except IncompleteRead as error:
        raise _Broken(ENDED_EARLY) from error
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, SSLCertVerificationError):
            raise InputError(f"the server's certificate is not trusted ({reason.verify_message}): if a proxy is in the "
                             f"way, name its certificate file in SSL_CERT_FILE") from error  # fmt: skip
        if isinstance(reason, TimeoutError):
            reason = "no answer"
        raise _Broken(f"the connection failed ({reason})") from error


def _content_range(response: HTTPResponse) -> tuple[int | None, int | None]:
    """The first byte's position, and the size of the whole file."""
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers["Content-Range"] or "")
    if not match:
        return None, None
    return int(match[1]), None if match[2] == "*" else int(match[2])


def _why_no_checkpoint(file: Path) -> str | None:
    """None for a file as torch.save writes it: a zip archive whose checksums fit, or the form before torch 1.6."""
    return _why_no_zip(file) if _begins_as_zip(file) else _why_no_pickle(file)


def _begins_as_zip(file: Path) -> bool:
    return _begin(file, 2) == b"PK"


def _begin(file: Path, count: int) -> bytes:
    with open(file, "rb") as opened:
        return opened.read(count)


def _why_no_zip(file: Path) -> str | None:
    try:
        with zipfile.ZipFile(file) as archive:
            if not any(name.endswith("/data.pkl") for name in archive.namelist()):
                return "a zip archive without tensors"
            damaged = archive.testzip()
    except Exception as error:  # zipfile raises nearly anything for damaged files
        return f"a damaged zip archive: {error}"
    return f"damaged at {damaged}" if damaged else None


def _why_no_pickle(file: Path) -> str | None:
    if _begin(file, 1) != b"\x80":
        return "it does not begin as one"
    import torch

    try:
        torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # so does torch
        return f"{type(error).__name__} on opening it"
    return None
