"""`nnunet-vmunet evaluate` killed or without room: what was there stays whole, and the next run is as the first."""

from __future__ import annotations

import os
from pathlib import Path

import forked
import numpy as np
import pytest

OUTPUTS = ["metrics.csv", "metrics.json", "metrics.png"]


@pytest.fixture(params=["labels", "isic", "synapse"])
def evaluation(request, pairs):
    """The command, for two cases of either task."""
    for name in ("a", "b"):
        if request.param == "isic":
            pairs.add(f"{name}.png", np.eye(40), np.tri(40))
        else:
            pairs.add(f"{name}.nii.gz", np.eye(9, dtype=np.uint8)[None] * 3, np.tri(9, dtype=np.uint8)[None] * 3)
    return ("evaluate", request.param, *pairs.options, "-o", pairs.predictions.parent / "out")


def written(folder: Path) -> dict[str, bytes]:
    return {f.name: f.read_bytes() for f in sorted(folder.iterdir()) if not f.name.startswith(".")}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize("kills", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_killed_at_random_moments(kills, run, evaluation, tmp_path):
    assert run(*evaluation).code == 0
    whole = written(tmp_path / "out")
    assert sorted(whole) == OUTPUTS

    def evaluate() -> int:
        return run(*evaluation).code

    for run_and_kill in forked.random_kills(evaluate, kills, seed=0):
        for name in OUTPUTS:
            (tmp_path / "out" / name).write_text("earlier")
        run_and_kill()
        assert all(content in (b"earlier", whole[name]) for name, content in written(tmp_path / "out").items())
        assert run(*evaluation).code == 0
        assert written(tmp_path / "out") == whole


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full, a disk without room")
@pytest.mark.parametrize("output", OUTPUTS)
def test_a_full_disk_is_one_line_and_keeps_the_earlier_file(run, refused, evaluation, tmp_path, output):
    assert run(*evaluation).code == 0
    before = written(tmp_path / "out")
    stem, ending = output.split(".")
    (tmp_path / "out" / f".{stem}-{os.getpid()}.{ending}").symlink_to("/dev/full")
    message = refused(*evaluation)
    assert f"{tmp_path / 'out' / output} cannot be written, make room or choose another place" in message
    assert "No space left on device" in message
    assert written(tmp_path / "out") == before
    assert sorted(f.name for f in (tmp_path / "out").iterdir()) == OUTPUTS
