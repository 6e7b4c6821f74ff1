"""A folder that appears complete or not at all."""

import errno
import os
import socket
import subprocess
import sys

import pytest

from nnunet_vmunet.errors import InputError
from nnunet_vmunet.files.atomic import atomic_folder


@pytest.fixture
def target(tmp_path):
    return tmp_path / "place" / "Dataset001_X"


@pytest.fixture
def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def write(target, text, *, overwrite=False):
    with atomic_folder(target, overwrite=overwrite) as folder:
        (folder / "file").write_text(text)


def leftover(target, role, pid, host=None):
    folder = target.parent / f".{role}-{target.name}-{host or socket.gethostname()}-{pid}"
    folder.mkdir(parents=True)
    (folder / "file").write_text(role)
    return folder


def test_nothing_is_there_until_the_block_ends(target):
    with atomic_folder(target, overwrite=False) as folder:
        assert not target.exists()
        assert folder.name.startswith(".partial-Dataset001_X-")
        (folder / "file").touch()
    assert [f.name for f in target.parent.iterdir()] == ["Dataset001_X"]
    assert (target / "file").exists()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_nothing(target, error):
    with pytest.raises(error), atomic_folder(target, overwrite=False) as folder:
        (folder / "file").touch()
        raise error
    assert list(target.parent.iterdir()) == []


def test_an_occupied_target_is_refused_and_kept(target):
    write(target, "old")
    with pytest.raises(InputError, match=r"Dataset001_X is not empty: give --overwrite"):
        write(target, "new")
    assert (target / "file").read_text() == "old"


def test_a_target_that_appears_meanwhile_is_refused_and_kept(target):
    with pytest.raises(InputError, match="not empty"), atomic_folder(target, overwrite=False):
        target.mkdir()
        (target / "file").write_text("somebody else's")
    assert (target / "file").read_text() == "somebody else's"
    assert len(list(target.parent.iterdir())) == 1


def test_an_empty_target_is_filled(target):
    target.mkdir(parents=True)
    write(target, "new")
    assert (target / "file").read_text() == "new"


def test_overwrite_replaces_the_whole_folder(target):
    write(target, "old")
    (target / "other").touch()
    write(target, "new", overwrite=True)
    assert [f.read_text() for f in target.iterdir()] == ["new"]
    assert len(list(target.parent.iterdir())) == 1


def test_what_is_replaced_could_not_come_back_while_it_is_deleted(target, monkeypatch):
    """A process killed in the middle would leave a part of it, for the next one to find."""
    write(target, "old")
    deleted = []
    monkeypatch.setattr("shutil.rmtree", lambda folder, **_: deleted.append(folder.name.split("-")[0]))
    write(target, "new", overwrite=True)
    assert set(deleted) == {".partial"}
    assert [f.read_text() for f in target.iterdir()] == ["new"]


def test_overwrite_that_fails_keeps_the_old(target):
    write(target, "old")
    with pytest.raises(ZeroDivisionError), atomic_folder(target, overwrite=True):
        _ = 1 / 0
    assert (target / "file").read_text() == "old"


def test_a_rename_that_fails_puts_the_old_back(target, monkeypatch):
    write(target, "old")
    rename = os.rename

    def fail_for_partial(source, *arguments):
        if ".partial-" in str(source):
            raise OSError(errno.EIO, "disk trouble")
        rename(source, *arguments)

    monkeypatch.setattr("pathlib.Path.rename", lambda source, new: fail_for_partial(source, new))
    with pytest.raises(InputError, match=r"Dataset001_X cannot be written.*disk trouble"):
        write(target, "new", overwrite=True)
    assert (target / "file").read_text() == "old"


def test_what_a_killed_process_left_half_written_is_removed(target, dead_pid):
    leftover(target, "partial", dead_pid)
    write(target, "new")
    assert [f.name for f in target.parent.iterdir()] == ["Dataset001_X"]


def test_what_a_process_killed_between_its_two_renames_had_replaced_comes_back(target, dead_pid):
    leftover(target, "replaced", dead_pid)
    with pytest.raises(InputError, match="not empty"):
        write(target, "new")
    assert (target / "file").read_text() == "replaced"


def test_what_running_processes_and_other_machines_write_is_left_alone(target):
    kept = [leftover(target, "partial", os.getppid()), leftover(target, "partial", 1, host="elsewhere")]
    write(target, "new")
    assert all(folder.exists() for folder in kept)


def test_a_file_in_the_way_is_refused(target):
    target.parent.mkdir()
    target.touch()
    with pytest.raises(InputError, match=r"Dataset001_X is a file"):
        write(target, "new", overwrite=True)


def test_a_full_disk_is_told_and_leaves_nothing(target):
    expected = r"Dataset001_X cannot be written, make room.*No space left"
    with pytest.raises(InputError, match=expected), atomic_folder(target, overwrite=False):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(target.parent.iterdir()) == []
