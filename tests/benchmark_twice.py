"""`python benchmark_twice.py outcome OPTIONS`: a benchmark twice, its commands in this one process as of in_process.py.

The second time, after the line AGAIN, nothing may be left to run.
"""

import importlib
import os
import sys
from pathlib import Path

import in_process


def main() -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
    name, *options = sys.argv[1:]
    benchmark, trainings = importlib.import_module(name), importlib.import_module("whole_trainings")
    in_process._shorten()
    for run in (_run_here, _refuse_to_run):
        trainings.run = run
        sys.argv = [name, *options]  # which the commands replace
        benchmark.main()
        if run is _run_here:
            print("AGAIN")
    sys.stdout.flush()
    os._exit(0)


def _run_here(command, environment, log) -> int:
    os.environ.update(environment, nnUNet_n_proc_DA="0")
    return in_process._run(command)


def _refuse_to_run(command, *_) -> None:
    sys.exit(f"{command} runs again")


if __name__ == "__main__":
    main()
