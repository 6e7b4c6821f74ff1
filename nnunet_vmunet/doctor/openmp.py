"""How torch's OpenMP threads share the cores with other processes."""

from __future__ import annotations

import os
from collections.abc import Iterator

from .finding import Finding, ok, warning
from .limits import usable_cores
from .shell import set_variable, unset_variables

POLICY = "OMP_WAIT_POLICY"
BINDING = ("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY")
BUSY = 0.5  # of the cores


def check_binding(cores_before_torch: int) -> Iterator[Finding]:
    """Variables for programs that compute alone make OpenMP bind this process, and its workers, to one core."""
    cores = usable_cores()
    if cores < cores_before_torch:
        named = [name for name in BINDING if name in os.environ]
        detail = (
            f"{' and '.join(named) or 'OpenMP'} bound this process, and would bind all of nnU-Net's workers, to "
            f"{cores} of {cores_before_torch} cores"
        )
        yield warning("OpenMP", detail, unset_variables(*(named or BINDING[:1])))


def check_waiting(on_cpu: bool) -> Iterator[Finding]:
    """Between two operators torch's threads wait by computing; that takes the cores from whoever else needs them."""
    if not on_cpu:
        return
    policy = os.environ.get(POLICY, "")
    if policy.lower() == "passive":
        yield ok(POLICY, "passive: torch's threads leave the cores to others while they wait")
    elif hasattr(os, "getloadavg") and os.getloadavg()[0] > BUSY * usable_cores():
        detail = f"the cores are busy (load {os.getloadavg()[0]:.1f}), and torch's threads wait actively: both lose"
        yield warning(POLICY, detail, set_variable(POLICY, "passive"))
    else:
        yield ok(POLICY, f"{policy or 'not set'}: best while nothing else uses the cores; set passive where much does")
