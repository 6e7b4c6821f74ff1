"""How an InputError ends a program that knows nothing of it, as nnU-Net's commands do."""

import multiprocessing
import os
import pickle
import subprocess
import sys

import pytest

from nnunet_vmunet.errors import NOTE, InputError

PROGRAM = """
import sys
sys.excepthook = lambda kind, error, traceback: print("the hook before", kind.__name__, file=sys.stderr)
from nnunet_vmunet.errors import InputError, end_in_one_line
end_in_one_line()
end_in_one_line()  # each shim calls it
raise {error}
"""


def run(error: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", PROGRAM.format(error=error)], capture_output=True, text=True)


def test_it_ends_in_its_line_and_with_code_2():
    ended = run('InputError("a.png is torn: copy it again")')
    assert (ended.returncode, ended.stderr) == (2, "nnunet-vmunet: error: a.png is torn: copy it again\n")


def test_its_cause_is_not_shown():
    ended = run('InputError("a.png is torn: copy it again") from OSError("bad sector")')
    assert (ended.returncode, ended.stderr) == (2, "nnunet-vmunet: error: a.png is torn: copy it again\n")


@pytest.mark.parametrize("error", ["ValueError('nnU-Net\\'s own')", "KeyboardInterrupt"])
def test_whatever_else_goes_to_the_hook_before(error):
    ended = run(error)
    assert ended.returncode not in (0, 2)
    assert ended.stderr.startswith("the hook before")


def refuse(file: str) -> None:
    raise InputError(f"{file} is torn: copy it again")


def test_a_worker_process_hands_it_to_its_parent():
    assert str(pickle.loads(pickle.dumps(InputError("a\nb")))) == str(InputError("a\nb"))
    with multiprocessing.get_context("spawn").Pool(1) as pool, pytest.raises(InputError, match=r"a\.png is torn"):
        pool.starmap_async(refuse, [("a.png",)]).get()


WORKERS = """
import multiprocessing
from nnunet_vmunet.errors import InputError, end_in_one_line, noted_for_parent

@noted_for_parent()
def read(file):
    raise {error}

if __name__ == "__main__":
    end_in_one_line()
    worker = multiprocessing.get_context("spawn").Process(target=read, args=("a.png",))
    worker.start()
    worker.join()
    raise RuntimeError("Background workers died")  # nnU-Net's, when it predicts
"""


@pytest.mark.parametrize(
    ("error", "code", "last_line"),
    [
        ('InputError(f"{file} is torn: copy it again")', 2, "nnunet-vmunet: error: a.png is torn: copy it again"),
        ('ValueError("nnU-Net\'s own")', 1, "RuntimeError: Background workers died"),
    ],
    ids=["refused", "something else"],
)
def test_a_worker_that_hands_on_nothing_leaves_its_line(tmp_path, error, code, last_line):
    """What it leaves is gone when the program ends."""
    script = tmp_path / "predict.py"
    script.write_text(WORKERS.replace("{error}", error))
    (tmp_path / "temporary").mkdir()
    environment = os.environ | {"TMPDIR": str(tmp_path / "temporary")}
    environment.pop(NOTE, None)
    ended = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True)
    assert ended.returncode == code
    assert ended.stderr.splitlines()[-1] == last_line
    assert not list((tmp_path / "temporary").iterdir())
