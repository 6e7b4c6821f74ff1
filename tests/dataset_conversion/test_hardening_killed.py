"""Conversions killed at random moments, and before every change that they make to the disk."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import forked
import pytest
from converters import CONVERTERS, Converter, contents

from nnunet_vmunet.cli import main

KILLS = 16  # 3 where there is little time
CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir")

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")


class Scene:
    """A release, and what an undisturbed conversion makes of it."""

    def __init__(self, converter: Converter, release: Path, raw: Path, cases: int) -> None:
        self.converter, self.release, self.raw = converter, release, raw
        self.target = raw / converter.folder
        release.mkdir()
        converter.lay_out(release, cases)
        self.whole = self.converted()

    def convert(self, num_processes: int = 1) -> int:
        return main(self.converter.command(self.release, self.raw, "--overwrite", num_processes=num_processes))

    def converted(self) -> dict[str, bytes]:
        """The dataset after a conversion that succeeds and leaves nothing beside it."""
        assert self.convert() == 0
        assert [f.name for f in self.raw.iterdir()] == [self.converter.folder]
        return contents(self.target)

    def start_over(self, *, with_earlier: bool) -> dict[str, bytes]:
        """An earlier dataset, or nothing."""
        shutil.rmtree(self.target)
        if with_earlier:
            self.target.mkdir()
            for name in ("earlier_0000.png", "other_0000.png"):
                (self.target / name).write_text(f"what an earlier conversion wrote to {name}")
        return contents(self.target)

    def check(self, before: dict[str, bytes]) -> None:
        """After a kill the dataset is what it was or the new one, whole, and another conversion makes the new one."""
        found = contents(self.target)
        if before and not found:  # between two renames: the next conversion puts it back
            (replaced,) = self.raw.glob(".replaced-*")
            found = contents(replaced)
        assert found in (before, self.whole)
        assert self.converted() == self.whole


@pytest.fixture
def scene(tmp_path, raw):
    return lambda converter, cases: Scene(CONVERTERS[converter], tmp_path / "release", raw, cases)


@pytest.mark.parametrize(
    ("converter", "num_processes", "kills"),
    [
        *((name, 1, 3) for name in CONVERTERS),
        *(pytest.param(name, 1, KILLS, marks=pytest.mark.slow) for name in CONVERTERS),
        pytest.param("isic18", 2, 5, marks=pytest.mark.slow),
    ],
)
def test_killed_at_random_moments(scene, converter, num_processes, kills):
    scene = scene(converter, 25)
    random_kills = forked.random_kills(partial(scene.convert, num_processes), kills, seed=converter)
    for kill, run_and_kill in enumerate(random_kills):
        before = scene.start_over(with_earlier=kill % 2 == 1)
        run_and_kill()
        scene.check(before)


def killed_before_change(number: int, conversion: Callable[[], int]) -> int:
    """Run conversion() and kill the process when it is about to change the disk for the `number`th time."""
    changes = 0

    def count(event: str, arguments: tuple) -> None:
        nonlocal changes
        writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if event in CHANGES or writes:
            changes += 1
            if changes == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    return conversion()


@pytest.mark.parametrize(
    "converter", ["images", *(pytest.param(name, marks=pytest.mark.slow) for name in ("isic17", "synapse_raw"))]
)
def test_killed_before_every_change_to_the_disk(scene, converter):
    scene = scene(converter, 3)
    end, number = -signal.SIGKILL, 0
    while end == -signal.SIGKILL:
        number += 1
        before = scene.start_over(with_earlier=True)
        end = forked.wait(forked.start(partial(killed_before_change, number, scene.convert)))
        scene.check(before)
    assert end == 0  # there was no further change to make
    assert number > 10
