"""Conversions onto a disk that fills up: one line that names the folder, and nothing lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import forked
import pytest
from converters import CONVERTERS, contents
from full_disk import room_per_file

from nnunet_vmunet.cli import main

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")


@pytest.fixture
def releases(tmp_path):
    """Lay out an earlier release and a larger one."""

    def releases(converter) -> tuple[Path, Path]:
        folders = tmp_path / "earlier", tmp_path / "new"
        for folder, cases in zip(folders, (4, 5), strict=True):
            folder.mkdir()
            converter.lay_out(folder, cases)
        return folders

    return releases


def main_without_room(command: list[str], bytes_per_file: int) -> int:
    with room_per_file(bytes_per_file):
        return main(command)


def assert_one_line(error: str, target: Path, reason: str) -> None:
    assert error.startswith(f"nnunet-vmunet: error: {target} cannot be written, make room or choose another place (")
    assert reason in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("num_processes", [1, 2], ids=["alone", "two_processes"])
@pytest.mark.parametrize("converter", CONVERTERS)
def test_an_image_that_finds_no_room(releases, raw, converter, num_processes):
    converter = CONVERTERS[converter]
    earlier, new = releases(converter)
    assert main(converter.command(earlier, raw)) == 0
    before = contents(raw)
    command = converter.command(new, raw, "--overwrite", num_processes=num_processes)
    code, error = forked.run(partial(main_without_room, command, 50))
    assert code == 2
    assert_one_line(error, raw / converter.folder, "File too large")
    assert contents(raw) == before
    assert [f.name for f in raw.iterdir()] == [converter.folder]


@pytest.mark.parametrize("converter", [name for name in CONVERTERS if name != "images"])
def test_a_dataset_json_that_finds_no_room(releases, raw, converter):
    converter = CONVERTERS[converter]
    earlier, new = releases(converter)
    assert main(converter.command(earlier, raw)) == 0
    before = contents(raw)
    sizes = {len(content): name for name, content in before.items()}
    assert sizes[max(sizes)].endswith("dataset.json")  # all but this file will be written
    code, error = forked.run(partial(main_without_room, converter.command(new, raw, "--overwrite"), max(sizes) - 1))
    assert code == 2
    assert_one_line(error, raw / converter.folder, "File too large")
    assert contents(raw) == before
    assert [f.name for f in raw.iterdir()] == [converter.folder]


def can_mount() -> bool:
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    return shutil.which("unshare") is not None and subprocess.run(command, capture_output=True).returncode == 0


# Runs inside a mount namespace of its own: argv holds the folder to mount on, the earlier and the new release.
ON_A_SMALL_DISK = """
import os, subprocess, sys
from pathlib import Path
from converters import CONVERTERS, contents
from nnunet_vmunet.cli import main

raw, earlier, new = map(Path, sys.argv[2:])
os.environ["nnUNet_raw"] = str(raw)
converter = CONVERTERS[sys.argv[1]]
assert main(converter.command(earlier, raw)) == 0
before = contents(raw)
fill = raw / "fill"
with open(fill, "wb") as file:
    space = os.statvfs(raw)
    file.write(bytes((space.f_bavail - 3) * space.f_bsize))
assert main(converter.command(new, raw, "--overwrite")) == 2
fill.unlink()
assert contents(raw) == before and [f.name for f in raw.iterdir()] == [converter.folder]
assert main(converter.command(new, raw, "--overwrite")) == 0
"""


@pytest.mark.skipif(not can_mount(), reason="needs unshare and the right to mount a tmpfs in a namespace")
@pytest.mark.parametrize("converter", CONVERTERS)
def test_a_disk_that_is_full(releases, raw, converter):
    folders = releases(CONVERTERS[converter])
    mount_and_run = 'mount -t tmpfs -o size=1m none "$1" && shift && exec "$@"'
    command = ["unshare", "-rm", "sh", "-c", mount_and_run, "sh", raw, sys.executable, "-c", ON_A_SMALL_DISK]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    finished = subprocess.run([*command, converter, raw, *folders], capture_output=True, text=True, env=environment)
    assert finished.returncode == 0, finished.stderr
    assert_one_line(finished.stderr, raw / CONVERTERS[converter].folder, "No space left on device")
