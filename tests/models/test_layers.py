import pytest
import torch

from nnunet_vmunet.models.layers import DropPath, PatchEmbedding, PatchExpanding, PatchMerging, silu_gate


def test_patch_embedding_makes_one_token_per_4x4_pixels():
    assert PatchEmbedding(input_channels=5, dim=8)(torch.randn(2, 5, 12, 20)).shape == (2, 3, 5, 8)


def test_patch_merging_reads_each_cell_column_by_column():
    merging = PatchMerging(dim=1, dim_out=4)
    merging.norm, merging.reduction = torch.nn.Identity(), torch.nn.Identity()
    image = torch.arange(8.0).view(1, 2, 4, 1)  # rows 0 1 2 3 and 4 5 6 7
    assert merging(image).tolist() == [[[[0, 4, 1, 5], [2, 6, 3, 7]]]]


def test_patch_expanding_lays_each_token_out_row_by_row():
    expanding = PatchExpanding(dim=4, dim_out=1, scale=2)
    expanding.norm, expanding.expand = torch.nn.Identity(), torch.nn.Identity()
    tokens = torch.tensor([[[[1.0, 2, 3, 4], [5, 6, 7, 8]]]])
    assert expanding(tokens).squeeze().tolist() == [[1, 2, 5, 6], [3, 4, 7, 8]]


def test_silu_gate_is_autograds_product_and_keeps_only_what_it_was_given():
    y, z = (torch.randn(2, 3, 5, 7, requires_grad=True) for _ in range(2))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.data_ptr()) or t, lambda t: t):
        ours = silu_gate(y, z)
    assert kept == [y.data_ptr(), z.data_ptr()]
    theirs, dy = y * torch.nn.functional.silu(z), torch.randn(2, 3, 5, 7)
    assert torch.equal(ours, theirs)
    for grad, expected in zip(*(torch.autograd.grad(out, (y, z), dy) for out in (ours, theirs)), strict=True):
        assert torch.equal(grad, expected)


def test_silu_gate_has_the_gradients_of_its_values():
    y, z = (torch.randn(2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(silu_gate, (y, z))


def test_silu_gate_under_autocast():
    """There y comes from a LayerNorm, in float32, and z from a product, half as wide."""
    y, z = torch.randn(2, 3, requires_grad=True), torch.randn(2, 3, dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = silu_gate(y, z)
    out.sum().backward()
    assert (out.dtype, y.grad.dtype, z.grad.dtype) == (torch.float32, torch.float32, torch.bfloat16)


def test_drop_path_leaves_inference_alone():
    branch = torch.randn(4, 2, 2, 3)
    assert DropPath(0.5).eval()(branch) is branch


def test_drop_path_drops_whole_samples_and_keeps_the_mean():
    torch.manual_seed(0)
    kept = DropPath(0.25)(torch.ones(4000, 2, 2, 1))
    assert kept.unique().tolist() == [0.0, pytest.approx(4 / 3)]
    assert torch.equal(kept.amax((1, 2, 3)), kept.amin((1, 2, 3)))
    assert kept.mean().item() == pytest.approx(1, abs=0.03)
