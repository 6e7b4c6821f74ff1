"""The choice of a backend, by what each says of itself."""

import importlib.util
import shutil
import warnings
from dataclasses import replace

import pytest
import torch

from nnunet_vmunet.ops import backends

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(autouse=True)
def fresh_choice(monkeypatch):
    monkeypatch.delenv(backends.VARIABLE, raising=False)
    backends.fastest.cache_clear()
    yield
    backends.fastest.cache_clear()


@pytest.fixture
def only(monkeypatch):
    """Let these backends run, and no other of those for GPUs."""

    def only(*names: str) -> None:
        def told(backend):
            reason = None if backend.name in names else f"{backend.name} is broken"
            return replace(backend, why_not=lambda device: reason)

        changed = (
            told(backend) if backend.name in ("triton", "mamba_ssm") else backend for backend in backends.BACKENDS
        )
        monkeypatch.setattr(backends, "BACKENDS", tuple(changed))

    return only


def test_environment_names_the_backend(monkeypatch):
    monkeypatch.setenv("NNUNET_VMUNET_SCAN", "naive")
    assert backends.choose(CPU) == "naive"
    assert backends.choose(CPU, "blocked") == "blocked"
    monkeypatch.setenv("NNUNET_VMUNET_SCAN", "nabla")
    with pytest.raises(ValueError, match=r"'nabla'.*NNUNET_VMUNET_SCAN"):
        backends.choose(CPU)


def test_without_numba(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.warns(UserWarning, match=r"plain torch on cpu.*pip install \"nnunet-vmunet\[cpu\]"):
        assert backends.choose(CPU) == "blocked"
    with pytest.raises(RuntimeError, match=r"nnunet-vmunet\[cpu\]"):
        backends.choose(CPU, "numba")


@pytest.mark.parametrize(
    "can_run, chosen", [(("triton", "mamba_ssm"), "triton"), (("triton",), "triton"), (("mamba_ssm",), "mamba_ssm")]
)
def test_the_fastest_that_can_run(can_run, chosen, only):
    only(*can_run)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert backends.choose(CUDA) == chosen


def test_one_warning_where_none_can_run(only):
    only()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert [backends.choose(CUDA), backends.choose(CUDA)] == ["blocked", "blocked"]
    assert len(caught) == 1
    assert "triton is broken" in str(caught[0].message) and "mamba_ssm is broken" in str(caught[0].message)


@pytest.mark.parametrize("device", ["mps", "xpu:0", "vulkan"])
def test_a_gpu_that_is_no_nvidia_card_gets_the_same_warning(device):
    with pytest.warns(UserWarning, match=rf"plain torch on {device}, many times slower.*triton would be faster"):
        assert backends.choose(torch.device(device)) == "blocked"


def test_an_amd_gpu_which_torch_calls_cuda_too_is_called_by_its_name(monkeypatch):
    monkeypatch.setattr(torch.version, "hip", "6.4")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.warns(UserWarning, match=r"plain torch on cuda of ROCm"):
        assert backends.choose(CUDA) == "blocked"


def test_no_warning_where_blocked_was_asked_for(only):
    only()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert backends.choose(CUDA, "blocked") == "blocked"


def test_choice_is_made_while_torch_compile_traces(only):
    only()

    @torch.compile(fullgraph=True, backend="eager")
    def name_length(x):
        return x + len(backends.choose(CUDA))

    with pytest.warns(UserWarning, match="many times slower"):
        assert name_length(torch.zeros(1)).item() == len("blocked")


def test_a_backend_that_cannot_run_says_why(only):
    only()
    with pytest.raises(RuntimeError, match="'triton' cannot run here: triton is broken"):
        backends.choose(CUDA, "triton")


@pytest.mark.parametrize("backend", ["triton", "mamba_ssm"])
def test_backends_of_gpus_refuse_a_cpu(backend, monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(
        RuntimeError, match=f"{backend!r} cannot run here: it runs on .*GPUs and the tensors are on cpu"
    ):
        backends.choose(torch.device("cpu"), backend)


REASONS = {
    "not installed": (
        lambda patch: patch.setattr(importlib.util, "find_spec", lambda name: None),
        "pip install triton",
    ),
    "old torch": (lambda patch: patch.setattr(torch, "__version__", torch.torch_version.TorchVersion("2.7.1")), "2.8"),
    "no C compiler": (lambda patch: (patch.delenv("CC"), patch.setattr(shutil, "which", lambda name: None)), "gcc"),
    "old GPU": (lambda patch: patch.setattr(torch.cuda, "get_device_capability", lambda device: (6, 1)), "older"),
    "AMD": (lambda patch: patch.setattr(torch.version, "hip", "6.4"), "NVIDIA"),
}


@pytest.mark.parametrize("break_it, reason", REASONS.values(), ids=REASONS.keys())
def test_why_not_triton(break_it, reason, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    monkeypatch.setenv("CC", "cc")
    if importlib.util.find_spec("triton"):
        assert backends.why_not_triton(CUDA) is None or torch.version.hip
    break_it(monkeypatch)
    assert reason in backends.why_not_triton(CUDA)
