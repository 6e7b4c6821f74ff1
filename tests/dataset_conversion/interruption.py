"""Conversions in processes of their own, to be interrupted."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path


def conversion_under_way(raw: Path, *arguments) -> subprocess.Popen:
    """`nnunet-vmunet convert ARGUMENTS` as the leader of a session, when it has written some of its images."""
    arguments = ["convert", *map(str, arguments)]
    code = (
        "import signal, sys; from nnunet_vmunet.cli import main; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); "  # a background job inherits that it is ignored
        f"sys.exit(main({arguments}))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while not any(raw.glob(".partial-*/imagesTr/*")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    return process


def wait_until_all_ended(session: int, seconds: float = 10) -> None:
    """A killed leader's workers notice by themselves."""
    deadline = time.monotonic() + seconds
    while running_in_session(session):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def running_in_session(session: int) -> list[str]:
    """The processes of a session that still run, from Linux's /proc."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, process_session = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue  # it ended meanwhile
        if int(process_session) == session and state != "Z":
            found.append(stat.parent.name)
    return found
