"""Whether torch.compile, which nnU-Net applies to every network on a GPU, can work. Needs torch."""

from __future__ import annotations

import os
from collections.abc import Iterator

import torch

from ..ops import backends
from .backends import torch_is_too_old_for_triton
from .finding import Finding, ok, problem, warning
from .shell import set_variable

VARIABLE = "nnUNet_compile"
YES, NO = ("true", "1", "t"), ("false", "0", "f")  # what nnU-Net takes for yes; it takes anything else for no


def check(device: torch.device) -> Iterator[Finding]:
    if device.type != "cuda" or os.name == "nt":
        yield ok(VARIABLE, "nnU-Net does not compile the network here")
        return
    value = os.environ.get(VARIABLE)
    if value is not None and value.lower() not in YES + NO:
        yield warning(
            VARIABLE,
            f"{value!r} means no to nnU-Net, whose words for yes are {', '.join(YES)}",
            set_variable(VARIABLE, "f"),
        )
    elif value is not None and value.lower() in NO:
        yield ok(VARIABLE, f"{value}: nnU-Net does not compile the network")
    else:
        yield _compiled(device)


def _compiled(device: torch.device) -> Finding:
    """torch.compile needs of Triton what our kernels need, but for the version."""
    reason = backends.why_not_triton(device)
    if reason is None or torch_is_too_old_for_triton() or torch.version.hip:
        return ok(VARIABLE, "nnU-Net compiles the network, as it does by default")
    return problem(VARIABLE, f"nnU-Net would compile the network and fail: {reason}", set_variable(VARIABLE, "f"))
