"""Whether nnU-Net's own search finds the trainer, and all that it imports works."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import redirect_stdout

from . import workers
from .finding import Finding, first_line, ok, problem, unknown
from .shell import pip_install
from .versions import required

NAME = "trainer"
TRAINER = "nnUNetTrainerVMUNet"
DISTRIBUTIONS = {"distutils": "setuptools", "skimage": "scikit-image", "PIL": "pillow"}  # of modules named otherwise


def check() -> Iterator[Finding]:
    stopped_by = workers.not_numbers()
    if stopped_by:
        yield unknown(NAME, f"cannot be looked for: nnU-Net stops at {' and '.join(stopped_by)}")
        return
    try:
        with redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

            trainer = recursive_find_trainer_class_by_name(TRAINER)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        yield problem(NAME, first_line(error), pip_install(DISTRIBUTIONS.get(missing, missing)))
    except RuntimeError as error:
        yield problem(NAME, _not_found(error), "nnunet-vmunet register")
    except Exception as error:  # broken packages raise anything while they are imported
        yield problem(NAME, first_line(error), pip_install("--force-reinstall", "--no-deps", str(required("nnunetv2"))))
    else:
        yield ok(NAME, f"nnU-Net finds {TRAINER}, in {trainer.__module__}")


def _not_found(error: RuntimeError) -> str:
    return f"nnU-Net does not find {TRAINER}" if "Could not find" in str(error) else first_line(error)
