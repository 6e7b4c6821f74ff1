"""The scan as a torch operator: opcheck, torch.compile, torch.export, activation checkpointing."""

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from nnunet_vmunet.ops import ss2d_scan
from nnunet_vmunet.ops.operator import ss2d_scan_op

SIZE = (2, 3, 5, 20, 3)


def operator_inputs(inputs: list[torch.Tensor], rank: int | None = None) -> list[torch.Tensor | None]:
    """As the operator wants them, with a delta of low rank if asked for."""
    x, delta, *others = inputs
    if rank is None:
        return [x, delta, None, *others]
    return [x, delta[..., :rank].contiguous(), torch.randn(4, x.shape[-1], rank), *others]


@pytest.mark.parametrize("rank", [None, 2], ids=["full delta", "delta of rank 2"])
@pytest.mark.parametrize("save_states", [True, False], ids=["training", "inference"])
def test_opcheck(backend, save_states, rank, make_inputs):
    inputs = operator_inputs(make_inputs(*SIZE, torch.float32), rank)
    inputs = [tensor if tensor is None else tensor.requires_grad_(save_states) for tensor in inputs]
    torch.library.opcheck(ss2d_scan_op, (*inputs, backend, save_states))


def test_compile_without_graph_breaks(backend, make_inputs, output_and_grads):
    inputs = make_inputs(*SIZE, torch.float32)
    eager = output_and_grads(inputs, backend)

    @torch.compile(fullgraph=True, backend="aot_eager")
    def compiled(*tensors):
        return 2 * ss2d_scan(*tensors, backend=backend)

    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    y = compiled(*leaves)
    dy = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
    grads = torch.autograd.grad(y, leaves, dy / 2)
    torch.testing.assert_close(y, 2 * eager.pop("y"))
    torch.testing.assert_close(list(grads), list(eager.values()))


class Scan(torch.nn.Module):
    def __init__(self, backend):
        super().__init__()
        self.backend = backend

    def forward(self, *tensors):
        return ss2d_scan(*tensors, backend=self.backend)


def test_export(backend, make_inputs):
    inputs = tuple(make_inputs(*SIZE, torch.float32))
    with torch.no_grad():
        exported = torch.export.export(Scan(backend), inputs)
        y = exported.module()(*inputs)
    torch.testing.assert_close(y, ss2d_scan(*inputs, backend=backend))


def test_activation_checkpointing(backend, make_inputs):
    inputs = make_inputs(*SIZE, torch.float32)
    grads = []
    for wrap in (lambda f, *args: f(*args), lambda f, *args: checkpoint(f, *args, use_reentrant=False)):
        leaves = [tensor.detach().requires_grad_() for tensor in inputs]
        grads.append(torch.autograd.grad(wrap(Scan(backend), *leaves).square().sum(), leaves))
    torch.testing.assert_close(grads[0], grads[1], rtol=0, atol=0)


def test_inference_saves_no_states(backend, make_inputs):
    inputs = operator_inputs(make_inputs(*SIZE, torch.float32))
    with torch.no_grad():
        _, states = ss2d_scan_op(*inputs, backend, False)
    assert states.numel() == 0
