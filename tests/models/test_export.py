"""`torch.export` of the network at one patch size, and what another process needs to run the program."""

import subprocess
import sys

import pytest
import torch

from nnunet_vmunet.models import VMUNet
from nnunet_vmunet.ops import backends

SMALL = {"depths": (1, 1), "depths_decoder": (1, 1), "dims": (8, 16), "d_state": 4}
PATCH_SIZE = (8, 12)  # padded to 8 × 16 inside
WITH_OUR_OPERATOR = "import nnunet_vmunet.ops"
WITHOUT_THE_PLUGIN = "import sys; sys.modules['nnunet_vmunet'] = None"
RUN = """
import sys, torch
program, patches, logits = sys.argv[1:]
with torch.no_grad():
    torch.save(torch.export.load(program).module()(torch.load(patches)), logits)
"""


def exported(network: VMUNet, patches: torch.Tensor) -> torch.export.ExportedProgram:
    with torch.no_grad():
        return torch.export.export(network.eval(), (patches,))


def scans(program: torch.export.ExportedProgram) -> list[torch.fx.Node]:
    return [node for node in program.graph.nodes if node.target is torch.ops.nnunet_vmunet.ss2d_scan.default]


@pytest.mark.parametrize(
    ("backend", "preparation"),
    [("auto", WITH_OUR_OPERATOR), pytest.param("naive", WITHOUT_THE_PLUGIN, marks=pytest.mark.slow)],
    ids=["our operator, with the plugin", "torch's alone, without it"],
)
def test_another_process_runs_the_program(backend, preparation, tmp_path, monkeypatch):
    monkeypatch.setenv(backends.VARIABLE, backend)
    network, patches = VMUNet(3, 2, **SMALL), torch.randn(2, 3, *PATCH_SIZE)
    files = [tmp_path / name for name in ("program.pt2", "patches.pt", "logits.pt")]
    torch.export.save(exported(network, patches), files[0])
    torch.save(patches, files[1])
    subprocess.run([sys.executable, "-c", f"{preparation}\n{RUN}", *files], check=True)
    with torch.no_grad():
        torch.testing.assert_close(torch.load(files[2]), network(patches))


def test_the_papers_network_exports_with_one_operator_per_block():
    program = exported(VMUNet(3, 1), torch.zeros(1, 3, 64, 64))
    assert len(scans(program)) == 15


@pytest.mark.parametrize("backend", ["blocked", "numba"])
def test_the_program_keeps_the_backend_that_was_chosen(backend, monkeypatch):
    """blocked runs on every device; the others only where they are installed, on the device that they are for."""
    if backend == "numba":
        pytest.importorskip("numba")
    monkeypatch.setenv(backends.VARIABLE, backend)
    program = exported(VMUNet(1, 2, **SMALL), torch.zeros(1, 1, 8, 8))
    monkeypatch.setenv(backends.VARIABLE, "naive")
    assert {node.args[-2] for node in scans(program)} == {backend}
