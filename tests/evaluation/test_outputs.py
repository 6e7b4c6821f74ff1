"""Output files appear complete or not at all."""

import csv
import json

import pytest

from nnunet_vmunet.errors import InputError
from nnunet_vmunet.evaluation.outputs import make_folder, write_csv
from nnunet_vmunet.files.atomic import atomic_file
from nnunet_vmunet.files.nnunet import write_json


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, ZeroDivisionError])
def test_an_interrupted_writer_leaves_the_earlier_file(tmp_path, interruption):
    file = tmp_path / "metrics.json"
    file.write_text("earlier")
    with pytest.raises(interruption), atomic_file(file) as partial:
        partial.write_text("half")
        raise interruption
    assert [f.name for f in tmp_path.iterdir()] == ["metrics.json"]
    assert file.read_text() == "earlier"


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "metrics.json").mkdir()
    with pytest.raises(InputError, match=r"metrics\.json cannot be written, make room or choose another place"):
        write_json(tmp_path / "metrics.json", {})
    assert [f.name for f in tmp_path.iterdir()] == ["metrics.json"]


def test_a_folder_is_made_with_its_parents(tmp_path):
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    assert not list((tmp_path / "a" / "b").iterdir())


def test_nan_is_null_in_json_and_nothing_in_csv(tmp_path):
    rows = [{"case": "a, b", "dice": 0.5}, {"case": "c", "dice": float("nan")}]
    write_json(tmp_path / "metrics.json", {"rows": rows})
    write_csv(tmp_path / "metrics.csv", rows)
    assert json.loads((tmp_path / "metrics.json").read_text())["rows"][1]["dice"] is None
    with (tmp_path / "metrics.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["case", "dice"], ["a, b", "0.5"], ["c", ""]]
