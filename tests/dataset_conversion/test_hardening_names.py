"""File and folder names as people give them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from converters import CONVERTERS, TINY
from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets
from PIL import Image
from release_layouts import PARTS

NAMES = {
    "umlauts": "Müttermal Größe",
    "decomposed": unicodedata.normalize("NFD", "Müttermal Größe"),
    "chinese": "黑色素瘤",
    "emoji": "🩺👩‍⚕️",
    "leading_dash": "-rf",
    "quotes": 'it\'s "new"',
    "line_break": "first\nsecond",
    "percent_and_braces": "%s {0} $HOME",
    "dots": "a.b.jpg.c",
    "upper_case": "ISIC_A",
    "lower_case": "isic_a",
    "ends_in_channel": "x_0001",
    "no_text": os.fsdecode(b"latin-1 \xfc"),
}

# How long a name may be, in bytes, so that NAME_0000.png is one.
LONGEST = 255 - len("_0000.png")


def disk_takes(name: str, folder: Path) -> bool:
    try:
        (folder / name).touch()
        (folder / name).unlink()
        return True
    except OSError:
        return False


@pytest.fixture
def official(releases):
    """Write an official ISIC 2018 release whose cases have the names given."""

    def official(*names: str) -> Path:
        images, masks = (releases.root / part for part in PARTS[2018, "Training"])
        for folder in (images, masks):
            folder.mkdir()
        for number, name in enumerate(names):
            TINY.save(name, number, images, masks, ".jpg", "_segmentation.png")
        return releases.root

    return official


def test_names_of_photographs(run, tmp_path, raw):
    names = [name for name in NAMES.values() if disk_takes(name, tmp_path)]
    (tmp_path / "photos").mkdir()
    for number, name in enumerate(names):
        TINY.photograph(number).save(tmp_path / "photos" / f"{name}.png")
    assert run("convert", "images", "-i", tmp_path / "photos", "-o", tmp_path / "out", "-np", 1).code == 0
    assert {f.name for f in (tmp_path / "out").iterdir()} == {f"{name}_0000.png" for name in names}
    for number, name in enumerate(names):
        written = np.asarray(Image.open(tmp_path / "out" / f"{name}_0000.png"))
        np.testing.assert_array_equal(written, np.asarray(TINY.photograph(number)))


def test_names_of_cases_come_through_to_the_table(run, official, raw, tmp_path):
    """Converted, found by nnU-Net, and evaluated: the labels against themselves."""
    names = [name for name in NAMES.values() if disk_takes(name, tmp_path)]
    assert run("convert", "isic18", "-i", official(*names), "-d", 118, "-np", 1, "--size", "native").code == 0
    dataset = raw / "Dataset118_ISIC2018"
    cases = get_filenames_of_train_images_and_targets(str(dataset))
    assert set(cases) == set(names)
    for name in names:
        assert cases[name]["images"] == [str(dataset / "imagesTr" / f"{name}_0000.png")]
        assert Path(cases[name]["label"]).exists()
    (fold,) = json.loads((dataset / "splits_final.json").read_text())
    assert set(fold["train"] + fold["val"]) == set(names)

    predictions, references = tmp_path / "predictions", dataset / "labelsTr"
    shutil.copytree(references, predictions)
    assert run("evaluate", "isic", "-p", predictions, "-r", references, "-np", 1).code == 0
    table = (predictions / "metrics" / "metrics.csv").read_bytes()
    assert all(os.fsencode(name.replace('"', '""')) in table for name in names)


@pytest.mark.parametrize("converter", CONVERTERS)
def test_paths_with_spaces_and_more(run, tmp_path, monkeypatch, converter):
    converter = CONVERTERS[converter]
    release, raw = tmp_path / "my scans -ü\n黑 'x'" / "release 1", tmp_path / "nnUNet raw -ü\n黑 'x'"
    release.mkdir(parents=True)
    raw.mkdir()
    monkeypatch.setenv("nnUNet_raw", str(raw))
    converter.lay_out(release, 4)
    outcome = run(*converter.command(release, raw))
    assert (outcome.code, outcome.err) == (0, "")
    assert [f.name for f in raw.iterdir()] == [converter.folder]


@pytest.mark.parametrize("name", ["x" * LONGEST, "ü" * (LONGEST // 2), "黑" * (LONGEST // 3)], ids=["1", "2", "3"])
def test_the_longest_names_convert(run, tmp_path, raw, name):
    """In letters of one, two and three bytes."""
    TINY.photograph(0).save(tmp_path / f"{name}.png")
    assert run("convert", "images", "-i", tmp_path, "-o", raw / "out", "-np", 1).code == 0
    assert (raw / "out" / f"{name}_0000.png").exists()


@pytest.mark.parametrize("num_processes", [1, 2])
def test_a_name_that_becomes_too_long_is_named(refused, tmp_path, raw, num_processes):
    name = "x" * (LONGEST + 1)
    for number, stem in enumerate(["a", name]):
        TINY.photograph(number).save(tmp_path / f"{stem}.png")
    message = refused("convert", "images", "-i", tmp_path, "-o", raw / "out", "-np", num_processes)
    assert f"{raw / 'out'} cannot be written, shorten the name {name}_0000.png: it is too long" in message
    assert not list(raw.iterdir())


TOO_LONG = Path("x" * 300)


@pytest.mark.parametrize(
    "command",
    [
        ("convert", "isic17", "-d", 1, "-i", TOO_LONG),
        ("convert", "synapse", "-d", 1, "-i", TOO_LONG),
        ("convert", "images", "-o", "out", "-i", TOO_LONG),
        ("evaluate", "isic", "-r", ".", "-p", TOO_LONG),
        ("evaluate", "synapse", "-p", ".", "-r", TOO_LONG),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_a_folder_with_a_name_too_long_is_no_folder(refused, raw, command):
    assert f"{TOO_LONG} is no folder" in refused(*command)


def test_an_output_with_a_name_too_long_is_named(refused, tmp_path):
    TINY.photograph(0).save(tmp_path / "a.png")
    message = refused("convert", "images", "-i", tmp_path, "-o", tmp_path / TOO_LONG, "-np", 1, "--overwrite")
    assert f"{TOO_LONG} cannot be written, shorten the name" in message


def test_a_name_with_a_line_break_is_refused_in_one_line(refused, official, raw):
    release = official("a", "b\nc")
    image = next(release.glob("*Input/b*"))
    image.write_bytes(b"")
    assert r"b\nc.jpg cannot be read as an image" in refused("convert", "isic18", "-i", release, "-d", 1, "-np", 1)


def test_a_terminal_that_lacks_the_letters_of_a_name(tmp_path):
    """As with LANG=C before Python 3.7, and on Windows where the output goes to a file."""
    TINY.photograph(0).save(tmp_path / "a.png")
    program = "import sys; from nnunet_vmunet.cli import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["convert", "images", "-i", tmp_path, "-o", tmp_path / "größer", "-np", "1"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    first, second = (
        subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, env=environment, check=False)
        for _ in range(2)
    )
    assert (first.returncode, first.stderr) == (0, b"")
    assert second.returncode == 2
    assert rb"gr\xf6\xdfer is not empty: give --overwrite" in second.stderr


@pytest.mark.parametrize("part", [0, 1], ids=["image", "mask"])
def test_names_that_differ_in_unicodes_normal_form_are_no_pair(refused, official, raw, part):
    """As after copying one of two folders through an older Mac; on such a disk both are the same name."""
    folder = official("a", "ü") / PARTS[2018, "Training"][part]
    file = next(folder.glob("ü*"))
    file.rename(file.with_name(unicodedata.normalize("NFD", file.name)))
    message = refused("convert", "isic18", "-i", folder.parent, "-d", 118, "-np", 1)
    assert "has no mask in" in message


def test_a_photograph_whose_name_is_the_mark_of_a_channel(run, tmp_path, raw):
    TINY.photograph(0).save(tmp_path / "_0000.png")
    assert run("convert", "images", "-i", tmp_path, "-o", raw / "out", "-np", 1).code == 0
    assert [f.name for f in (raw / "out").iterdir()] == ["_0000_0000.png"]
