"""The checks that need torch, in their order."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from .finding import PROBLEM, Finding, Step, first_line, ok, problem
from .guard import guarded
from .limits import usable_cores
from .openmp import check_binding, check_waiting
from .shell import pip_install


def check() -> Iterator[Finding | Step]:
    reinstall = pip_install("--force-reinstall", "torch")
    cores = usable_cores()
    yield Step("torch is imported", reinstall)
    try:
        import torch
    except Exception as error:  # a broken installation raises anything: ImportError, OSError, AttributeError...
        yield problem("torch import", f"import torch fails: {first_line(error)}", reinstall)
        return
    yield ok("torch import", f"works: build {torch.__version__}")
    yield from check_binding(cores)
    yield Step("torch asks for GPUs", reinstall)
    from . import backends, compiling, devices, self_test, trainer

    gpus = list(guarded("GPU", devices.check))
    yield from gpus
    unusable = any(isinstance(each, Finding) and each.state == PROBLEM for each in gpus)
    training_device = torch.device("cpu") if unusable else devices.training_device()
    on_cpu = training_device.type == "cpu"
    yield from guarded(compiling.VARIABLE, compiling.check, training_device)
    yield from guarded("OpenMP", check_waiting, on_cpu)
    if find_spec("nnunetv2") is not None:
        yield Step("nnU-Net looks for the trainer", pip_install("--force-reinstall", "nnunetv2"))
        yield from guarded(trainer.NAME, trainer.check)
    for device in dict.fromkeys((training_device, torch.device("cpu"))):
        trains = device == training_device
        yield from guarded(f"scan on {device}", backends.check, device, trains=trains)
        yield from guarded(f"self-test on {device}", self_test.check, device, trains=trains)
