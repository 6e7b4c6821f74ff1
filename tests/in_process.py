"""Many commands in one process: importing nnU-Net takes seconds, which a matrix of small datasets cannot pay each time.

`python in_process.py` reads {name: [command line, ...]} as JSON from standard input. It runs the command lines of a
name until one fails, and prints {"name", "code", "written"} as a line of JSON. nnU-Net's worker processes are forked
here, networks are small, and a training takes one epoch: all else is as a user gets it.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import sys
import traceback
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from importlib.metadata import entry_points

SMALL = {"depths": [1, 1, 1, 1], "depths_decoder": [1, 1, 1, 1], "dims": [8, 16, 32, 64]}


def main() -> None:
    chains = json.load(sys.stdin)
    _shorten()
    for name, commands in chains.items():
        written = io.StringIO()
        with redirect_stdout(written), redirect_stderr(written):
            code = next(filter(None, map(_run, commands)), 0)
        print(json.dumps({"name": name, "code": code, "written": written.getvalue()}), flush=True)


def _shorten() -> None:
    import torch
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
    from nnunetv2.training.logging.nnunet_logger import LocalLogger

    from nnunet_vmunet.plans import NETWORKS, architecture_of
    from nnunet_vmunet.trainers import nnUNetTrainerVMUNet

    torch.set_num_threads(1)  # with more, forked workers would wait for the threads of their parent
    torch.set_num_threads = lambda number: None
    context = multiprocessing.get_context("fork")
    multiprocessing.get_context = lambda method=None: context
    for name, network in NETWORKS.items():
        planned = architecture_of(name)["arch_kwargs"]
        small = {size: value[: len(planned[size])] for size, value in SMALL.items() if size in planned}
        NETWORKS[name] = replace(network, sizes=small)
    nnUNetTrainerVMUNet.epochs = 1
    DatasetFingerprintExtractor.__init__ = _with_fewer_pixels(DatasetFingerprintExtractor.__init__)
    LocalLogger.plot_progress_png = lambda self, folder: None  # a second for each epoch


def _with_fewer_pixels(init):
    """nnU-Net draws 10^8 foreground pixels for its statistics, from images of however few: ten seconds for each."""

    def initialise(self, *args, **kwargs) -> None:
        init(self, *args, **kwargs)
        self.num_foreground_voxels_for_intensitystats = 10**5

    return initialise


def _run(command: list[str]) -> int:
    """The exit code, 1 for an exception. An InputError says so itself, as the shims' hook would."""
    from nnunet_vmunet.errors import InputError

    program, *arguments = command
    sys.argv = [program, *arguments]
    (script,) = (entry for entry in entry_points(group="console_scripts") if entry.name == program)
    print("$", *command)
    try:
        return script.load()() or 0
    except InputError as error:
        print(f"nnunet-vmunet: error: {error}")
        return 2
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else bool(end.code)
    except BaseException:
        traceback.print_exc(file=sys.stdout)
        return 1


if __name__ == "__main__":
    os.environ["nnUNet_n_proc_DA"] = "0"
    main()
    os._exit(0)  # to free everything that was imported takes longer than a cell
