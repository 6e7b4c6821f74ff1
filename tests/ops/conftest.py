"""What the scan's tests share: random inputs, and memory that shows when it was never written."""

import pytest
import torch

from nnunet_vmunet.ops import backends, ss2d_scan

CPU = torch.device("cpu")
OF_GPUS = ("triton", "mamba_ssm")


def on_cpu(names) -> list[str]:
    """Without the backends of GPUs, but with triton in Triton's interpreter (see test_triton_gpu)."""
    return [name for name in names if name not in OF_GPUS or backends.why_not(name, CPU) is None]


@pytest.fixture(autouse=True)
def fresh_memory_is_nan():
    torch.use_deterministic_algorithms(True, warn_only=True)  # and so torch.empty fills with NaN
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(params=on_cpu(backends.NAMES))
def any_backend(request) -> str:
    return skip_if_it_cannot_run(request.param)


@pytest.fixture(params=on_cpu(name for name in backends.NAMES if name != "naive"))
def backend(request) -> str:
    """Every backend but naive, the truth."""
    return skip_if_it_cannot_run(request.param)


def skip_if_it_cannot_run(name: str) -> str:
    if backends.why_not(name, CPU):
        pytest.skip(backends.why_not(name, CPU))
    return name


@pytest.fixture
def make_inputs():
    """Inputs of `ss2d_scan` after initialisation's statistics; B and C are views of one tensor, as in the network."""

    def make(b, h, w, d, n, dtype=torch.float64, seed=0) -> list[torch.Tensor]:
        torch.manual_seed(seed)
        projection = torch.randn(b, h, w, 4, 3 + 2 * n, dtype=torch.float64).to(dtype)
        inputs = [
            torch.randn(b, h, w, d, dtype=torch.float64),
            torch.randn(b, h, w, 4, d, dtype=torch.float64) - 2,
            -torch.linspace(0.2, 8, n, dtype=torch.float64).expand(4, d, n) * (1 + torch.rand(4, d, 1)),
            torch.randn(4, d, dtype=torch.float64),
            torch.randn(4, d, dtype=torch.float64) * 0.3,
        ]
        x, delta, A, D, delta_bias = (tensor.to(dtype).contiguous() for tensor in inputs)
        return [x, delta, A, projection[..., 3 : 3 + n], projection[..., 3 + n :], D, delta_bias]

    return make


@pytest.fixture
def output_and_grads():
    """y, and the gradients of every input for a fixed gradient of y."""

    def run(inputs, backend: str) -> dict[str, torch.Tensor]:
        inputs = [tensor.detach().requires_grad_() for tensor in inputs]
        y = ss2d_scan(*inputs, backend=backend)
        dy = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
        grads = torch.autograd.grad(y, inputs, dy)
        names = ("y", "dx", "ddelta", "dA", "dB", "dC", "dD", "ddelta_bias", "ddelta_weight")
        return dict(zip(names, (y.detach(), *grads), strict=False))

    return run
