import os
import subprocess
import sys

import pytest
from PIL import Image

from nnunet_vmunet import cli
from nnunet_vmunet.errors import InputError


@pytest.mark.parametrize("arguments", [[], ["convert"], ["no-such-command"], ["convert", "isic18"]], ids=str)
def test_wrong_arguments_exit_with_2(arguments):
    with pytest.raises(SystemExit) as exit_:
        cli.main(arguments)
    assert exit_.value.code == 2


@pytest.mark.parametrize(
    "command",
    [
        "",
        "register",
        "doctor",
        "convert",
        "convert isic17",
        "convert images",
        "convert pairs",
        "convert synapse",
        "evaluate",
        "evaluate labels",
        "evaluate isic",
        "evaluate synapse",
        "compare",
        "overlay",
        "weights",
        "weights download",
        "weights import",
        "weights show",
        "demo",
    ],
)
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main([*command.split(), "--help"])
    assert exit_.value.code == 0
    assert "usage: nnunet-vmunet" in capsys.readouterr().out


@pytest.mark.parametrize("size", ["0", "-1", "256x256", "large"])
def test_sizes_that_are_none_are_named(size, capsys, tmp_path):
    assert cli.main(["convert", "isic18", "-i", str(tmp_path), "-d", "118", f"--size={size}"]) == 2
    assert f"--size {size}: give a number of pixels" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [(InputError("scan.png: cut off"), 2, "nnunet-vmunet: error: scan.png: cut off\n"), (KeyboardInterrupt(), 130, "")],
    ids=["bad input", "Ctrl-C"],
)
def test_failures_end_in_an_exit_code_and_one_line(raised, code, message, monkeypatch, capsys):
    def fail(*args, **kwargs):
        raise raised

    monkeypatch.setattr("nnunet_vmunet.demo.demo", fail)
    assert cli.main(["demo"]) == code
    assert capsys.readouterr().err == message


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_a_reader_that_closes_the_pipe_early_ends_a_command_quietly_with_its_files_written(tmp_path, unbuffered):
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (8, 6)).save(tmp_path / "photos" / "a.png")
    reader, writer = os.pipe()
    os.close(reader)
    command = ["convert", "images", "-i", "photos", "-o", "scans", "-np", "1"]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; from nnunet_vmunet.cli import main; sys.exit(main({command!r}))"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")
    assert [file.name for file in (tmp_path / "scans").iterdir()] == ["a_0000.png"]
