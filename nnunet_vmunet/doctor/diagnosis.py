"""All checks in their order: what needs nothing first, what needs torch last."""

from __future__ import annotations

from collections.abc import Iterator

from . import folders, limits, torch_process, versions, workers
from .finding import Finding, Step, unknown
from .guard import guarded


def diagnose() -> Iterator[Finding | Step]:
    yield from guarded("versions", versions.check)
    yield from guarded("folders", folders.check)
    yield from guarded("registration", _registration)
    yield from guarded("machine", limits.check)
    yield from guarded("workers", workers.check)
    yield from guarded("GPU and scan", _with_torch)


def _registration() -> Iterator[Finding]:
    from . import registration  # imports packaging, which may be missing

    yield from registration.check()


def _with_torch() -> Iterator[Finding | Step]:
    if not versions.torch_is_there():
        yield unknown("GPU and scan", "cannot be looked at without torch")
    else:
        yield from torch_process.check()
