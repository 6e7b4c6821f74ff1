"""A file fetched over HTTP in as many pieces as the network breaks it into."""

from __future__ import annotations

import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse, IncompleteRead
from ssl import SSLCertVerificationError
from urllib.error import HTTPError

from tqdm import tqdm

from .. import __version__
from ..errors import InputError
from .part import Origin, Part, content_range
from .whole_file import begins_as_zip

CHUNK = 2**20  # bytes
ENDED_EARLY = "the connection ended early"


@dataclass(frozen=True)
class Patience:
    """With a bad network."""

    timeout_s: float = 30  # without a byte, after which a connection counts as stalled
    tries: int = 4  # to connect
    pause_s: float = 2  # before the second try; doubled before each further one


USUAL = Patience()


class _Broken(Exception):
    """A transfer that ended early: trying again may help."""


def fetch(url: str, part: Part, patience: Patience, otherwise: str) -> None:
    """Complete `part` from `url`.

    Args:
        otherwise: what the user can do instead, for the message of a failure.

    Raises:
        HTTPError: the server refuses, and waiting would not help.
        InputError: patience is exhausted, or what the server sends is not the file.
    """
    print(f"downloading {url}", file=sys.stderr)
    try:
        _try_repeatedly(url, part, patience, otherwise)
    except KeyboardInterrupt:
        print(f"\ninterrupted, {part}: the same command resumes", file=sys.stderr)
        raise


def _try_repeatedly(url: str, part: Part, patience: Patience, otherwise: str) -> None:
    pause_s = patience.pause_s
    for left in reversed(range(patience.tries)):
        if part.is_whole:  # before the first try if a process was killed after the last byte
            return
        try:
            _receive(url, part, patience.timeout_s, otherwise)
            return
        except _Broken as error:
            if not left:
                raise InputError(f"{url}: {error}, {_kept(part)}, or {otherwise}") from error
            print(f"{error}, {part}: trying again in {pause_s:g} s", file=sys.stderr)
            time.sleep(pause_s)
            pause_s *= 2


def _kept(part: Part) -> str:
    if not part.size:
        return f"{part}: run the command again"
    return f"{part} and are kept in {part.file}: run the command again to resume"


def _receive(url: str, part: Part, timeout_s: float, otherwise: str) -> None:
    """Append to `part` what it lacks, or start it anew where the server cannot continue it."""
    origin, offset = part.origin, part.size
    if origin is None or (origin.size is not None and offset > origin.size):
        origin, offset = None, 0
    with _open(url, part, origin if offset else None, timeout_s, otherwise) as response:
        served = Origin.of_response(response)
        if response.status == 206:
            if origin is None or content_range(response)[0] != offset or not origin.may_equal(served):
                part.remove()
                raise _Broken("the server's file has changed")
        else:
            if offset:
                print("the server's file has changed, or it cannot resume: from the start", file=sys.stderr)
            part.begin(served)
            offset = 0
        _save(response, part, offset, served.size)
    # A server without lengths closes the connection at the end; what is no zip archive can be tried only.
    if not part.is_whole and (served.size is not None or begins_as_zip(part.file)):
        raise _Broken(ENDED_EARLY)


def _open(url: str, part: Part, origin: Origin | None, timeout_s: float, otherwise: str) -> HTTPResponse:
    """origin: what the server must still have for `part` to be continued; None starts anew."""
    headers = {"User-Agent": f"nnunet-vmunet/{__version__}"}
    if origin:
        headers["Range"] = f"bytes={part.size}-"
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
        raise InputError(
            f"{url} answers with a web page instead of the file, perhaps a proxy's or a login page: {otherwise}"
        )
    return response


def _save(response: HTTPResponse, part: Part, offset: int, size: int | None) -> None:
    # Unbuffered: whatever ends this process, the bytes are in the file. read1 hands over what has come before a stall.
    with open(part.file, "ab", buffering=0) as file, _progress(part, offset, size) as bar:
        while data := _read(response):
            bar.update(len(data))
            while data:
                data = data[file.write(data) :]


def _read(response: HTTPResponse) -> bytes:
    with _broken_network():
        return response.read1(CHUNK)


def _progress(part: Part, offset: int, size: int | None) -> tqdm:
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
            raise InputError(
                f"the server's certificate is not trusted ({reason.verify_message}): if a proxy is in the "
                f"way, name its certificate file in SSL_CERT_FILE"
            ) from error
        if isinstance(reason, TimeoutError):
            reason = "no answer"
        raise _Broken(f"the connection failed ({reason})") from error
