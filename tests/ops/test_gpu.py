"""Every backend on an NVIDIA GPU, in the scan alone and in the compiled network. Skipped where there is none."""

import pytest
import torch
import torch.nn.functional as F

from nnunet_vmunet.models import VMUNet
from nnunet_vmunet.ops import backends, ss2d_scan, triton_launch

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")]
DEVICE = torch.device("cuda")
STAGES = {"stage 1": (64, 192), "stage 2": (32, 384), "stage 3": (16, 768), "stage 4": (8, 1536)}  # of 256×256 pixels
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}  # of a gradient that is handed back in bfloat16
STATES = 16


@pytest.fixture(autouse=True)
def fresh_memory_is_nan():
    """Not here: it would forbid cuDNN's convolutions, and fill gigabytes."""


@pytest.fixture(params=["triton", "mamba_ssm", "blocked"])
def backend(request) -> str:
    if reason := backends.why_not(request.param, DEVICE):
        pytest.skip(reason)
    return request.param


@pytest.fixture
def make_gpu_inputs(make_inputs):
    def make(batch, side, channels, dtype=torch.float32) -> list[torch.Tensor]:
        return [tensor.to(DEVICE) for tensor in make_inputs(batch, side, side, channels, STATES, dtype)]

    return make


def y_and_grads(inputs, backend: str) -> list[torch.Tensor]:
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    y = ss2d_scan(*leaves, backend=backend)
    dy = torch.linspace(-1, 1, y.numel(), dtype=y.dtype, device=y.device).view_as(y)
    return [y.detach(), *torch.autograd.grad(y, leaves, dy)]


def assert_close(ours, truth, tolerance: float) -> None:
    for tensor, expected in zip(ours, truth, strict=True):
        assert tensor.shape == expected.shape
        assert (tensor.double() - expected).abs().max() < tolerance * expected.abs().max()


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("side, channels", STAGES.values(), ids=STAGES.keys())
def test_matches_float64_at_every_stage(backend, side, channels, dtype, make_gpu_inputs):
    inputs = make_gpu_inputs(2, side, channels, dtype)
    truth = y_and_grads([tensor.double() for tensor in inputs], "naive")
    assert_close(y_and_grads(inputs, backend), truth, TOLERANCE[dtype])


@pytest.mark.parametrize("programs", [1, 10**6], ids=["walks whole", "walks cut at every span"])
@pytest.mark.parametrize("size", [(1, 64, 192), (1, 9, 5), (3, 17, 200)], ids=["stage 1", "5 channels", "200 channels"])
def test_triton_whole_and_cut(size, programs, monkeypatch, make_gpu_inputs):
    if reason := backends.why_not_triton(DEVICE):
        pytest.skip(reason)
    rule = triton_launch.Rule(block=4, programs_per_multiprocessor=programs)
    monkeypatch.setattr(triton_launch, "RULE", rule)
    inputs = make_gpu_inputs(*size)
    truth = y_and_grads([tensor.double() for tensor in inputs], "naive")
    assert_close(y_and_grads(inputs, "triton"), truth, 1e-5)


@pytest.mark.parametrize("backend", ["triton", "blocked"])  # mamba-ssm adds its gradients up atomically
def test_repeats_bit_by_bit(backend, make_gpu_inputs):
    if reason := backends.why_not(backend, DEVICE):
        pytest.skip(reason)
    inputs = make_gpu_inputs(8, 32, 384)
    first, second = y_and_grads(inputs, backend), y_and_grads(inputs, backend)
    assert all(map(torch.equal, first, second))


def test_extremes(backend, make_gpu_inputs):
    x, delta, A, B, C, D, delta_bias = make_gpu_inputs(1, 16, 96)
    delta = 100 * torch.rand(delta.shape, device=DEVICE)
    inputs = [6e4 * x / x.abs().max(), delta, 1e3 * A / A.abs().max(), B, C, D, 0 * delta_bias]
    truth = y_and_grads([tensor.double() for tensor in inputs], "naive")
    ours = y_and_grads(inputs, backend)
    assert all(tensor.isfinite().all() for tensor in ours)
    assert_close(ours, truth, 1e-5)


def training_step(network, image) -> torch.Tensor:
    target = torch.zeros(len(image), *image.shape[2:], dtype=torch.long, device=DEVICE)
    loss = F.cross_entropy(network(image), target)
    loss.backward()
    return loss.detach()


def test_compiled_network_trains_and_predicts_in_one_graph_each(backend, monkeypatch):
    monkeypatch.setenv(backends.VARIABLE, backend)
    torch._dynamo.reset()
    torch.manual_seed(0)
    network = VMUNet(3, 2, depths=(1, 1, 1, 1), depths_decoder=(1, 1, 1, 1), drop_path_rate=0.0).to(DEVICE)
    compiled = torch.compile(network, fullgraph=True)
    image = torch.randn(2, 3, 64, 64, device=DEVICE)
    graphs = torch._dynamo.utils.counters["stats"]

    eager = training_step(network, image)
    expected = [parameter.grad.clone() for parameter in network.parameters()]
    network.zero_grad()
    torch.testing.assert_close(training_step(compiled, image), eager, rtol=1e-3, atol=1e-3)
    for parameter, grad in zip(network.parameters(), expected, strict=True):
        assert (parameter.grad - grad).norm() < 0.01 * grad.norm() + 1e-6  # cuDNN rounds to TF32

    def predict(batch):
        network.eval()
        with torch.inference_mode():
            compiled(image[:batch])
        network.train()

    predict(2)
    after_one_round = graphs["unique_graphs"]
    training_step(compiled, image)
    predict(2)
    assert graphs["unique_graphs"] == after_one_round
    predict(1)
    predict(2)
    predict(1)
    assert graphs["unique_graphs"] <= after_one_round + 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_survives_inputs_a_thousand_times_too_large(backend, dtype, monkeypatch):
    monkeypatch.setenv(backends.VARIABLE, backend)
    torch.manual_seed(0)
    network = VMUNet(3, 2).to(DEVICE)
    with torch.autocast(DEVICE.type, dtype=dtype):
        loss = network(1000 * torch.randn(2, 3, 64, 64, device=DEVICE)).float().logsumexp(1).mean()
    loss.backward()
    assert loss.isfinite()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_auto_chooses_one_that_runs(make_gpu_inputs, monkeypatch):
    monkeypatch.delenv(backends.VARIABLE, raising=False)
    inputs = make_gpu_inputs(1, 8, 96)
    assert_close(y_and_grads(inputs, "auto"), y_and_grads([tensor.double() for tensor in inputs], "naive"), 1e-5)
