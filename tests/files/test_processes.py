"""Many jobs in a few processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nnunet_vmunet.errors import InputError
from nnunet_vmunet.files.processes import run_parallel

# The functions stand at the top of the module because the spawned processes import them from here.


def write_pid(file: Path) -> None:
    file.write_text(str(os.getpid()))


def refuse_number_three(file: Path) -> None:
    if file.name == "3":
        raise InputError(f"{file.name} is bad")
    file.touch()


def die(file: Path) -> None:
    os._exit(1)


@pytest.mark.parametrize("num_processes", [1, 2])
def test_every_job_is_done(tmp_path, num_processes):
    files = [tmp_path / str(i) for i in range(8)]
    run_parallel(write_pid, files, num_processes, "Writing")
    in_this_process = {file.read_text() == str(os.getpid()) for file in files}
    assert in_this_process == {num_processes == 1}


@pytest.mark.parametrize("num_processes", [1, 2])
def test_the_first_error_ends_all(tmp_path, num_processes):
    files = [tmp_path / str(i) for i in range(3000)]
    with pytest.raises(InputError, match="3 is bad"):
        run_parallel(refuse_number_three, files, num_processes, "Writing")
    assert len(list(tmp_path.iterdir())) < 2999


def test_a_dead_process_is_told(tmp_path):
    with pytest.raises(InputError, match="a process died, perhaps out of memory: try fewer than -np 2"):
        run_parallel(die, [tmp_path, tmp_path], 2, "Dying")


def test_no_process_is_refused(tmp_path):
    with pytest.raises(InputError, match="-np 0: give at least 1 process"):
        run_parallel(write_pid, [tmp_path], 0, "Writing")


def test_no_progress_bar_in_a_log_file(tmp_path, capfd):
    run_parallel(write_pid, [tmp_path / "1"], 1, "Writing")
    assert capfd.readouterr().err == ""


def test_the_workers_import_nothing_heavy():
    code = "import sys, nnunet_vmunet.dataset_conversion.isic; print({'torch', 'nnunetv2'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
