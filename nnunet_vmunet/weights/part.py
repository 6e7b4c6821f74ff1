"""What has arrived of a download: NAME.part, and in NAME.part.json what the server said of the file it belongs to.

So the pieces of two different files are never joined.
"""

from __future__ import annotations

import json
import os
import re
import zipfile
from dataclasses import asdict, dataclass
from http.client import HTTPResponse
from pathlib import Path


@dataclass(frozen=True)
class Origin:
    """What a server said of a file."""

    etag: str | None
    last_modified: str | None
    size: int | None  # bytes of the whole file

    @classmethod
    def of_response(cls, response: HTTPResponse) -> Origin:
        if response.status == 206:
            size = content_range(response)[1]
        else:
            length = response.headers["Content-Length"] or ""
            size = int(length) if length.isdecimal() else None
        return cls(response.headers["ETag"], response.headers["Last-Modified"], size)

    @property
    def validator(self) -> str | None:
        """For If-Range, which takes no weak tag."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified

    def may_equal(self, other: Origin) -> bool:
        """No field that both have differs, and there is one that both have."""
        pairs = [pair for pair in zip(asdict(self).values(), asdict(other).values(), strict=True) if None not in pair]
        return bool(pairs) and all(ours == theirs for ours, theirs in pairs)


class Part:
    """Of `target`, as far as it has arrived."""

    def __init__(self, target: Path) -> None:
        self.file = target.with_name(f"{target.name}.part")
        self._origin_file = target.with_name(f"{target.name}.part.json")

    @property
    def size(self) -> int:
        return self.file.stat().st_size if self.file.exists() else 0

    @property
    def origin(self) -> Origin | None:
        try:
            return Origin(**json.loads(self._origin_file.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None  # a process was killed while it wrote this

    def begin(self, origin: Origin) -> None:
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


def content_range(response: HTTPResponse) -> tuple[int | None, int | None]:
    """The first byte's position, and the size of the whole file."""
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers["Content-Range"] or "")
    if not match:
        return None, None
    return int(match[1]), None if match[2] == "*" else int(match[2])
