"""The numba backend beyond its numbers: threads, forks, caches of compiled code."""

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

pytest.importorskip("numba")
from nnunet_vmunet.ops import numba_cpu, threads

SIZE = (1, 6, 7, 100, 5)


@pytest.fixture
def set_threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def assert_same(ours: dict, expected: dict) -> None:
    for name in expected:
        assert torch.equal(ours[name], expected[name]), name


@pytest.mark.parametrize("states", [1, 16])
def test_one_thread_and_two_give_the_same_bits(states, make_inputs, output_and_grads, set_threads):
    x, delta, *others = make_inputs(1, 9, 8, 200, states, torch.float32)
    inputs = [x, delta[..., :7], *others, torch.randn(4, 200, 7)]
    set_threads(1)
    one = output_and_grads(inputs, "numba")
    set_threads(2)
    assert_same(output_and_grads(inputs, "numba"), one)


@pytest.mark.parametrize("count", [3, 5, 8])
def test_more_threads(count, make_inputs, output_and_grads, set_threads):
    inputs = make_inputs(*SIZE, torch.float32)
    expected = output_and_grads(inputs, "numba")
    set_threads(count)
    torch.testing.assert_close(output_and_grads(inputs, "numba"), expected)


def test_thread_pool_where_openmp_is_out_of_reach(monkeypatch, make_inputs, output_and_grads, set_threads):
    set_threads(2)
    inputs = make_inputs(*SIZE, torch.float32)
    expected = output_and_grads(inputs, "numba")
    monkeypatch.setattr(threads, "_parallel", lambda: None)
    assert_same(output_and_grads(inputs, "numba"), expected)


def test_concurrent_callers(make_inputs, output_and_grads, set_threads):
    set_threads(2)
    inputs = [make_inputs(*SIZE, torch.float32, seed=seed) for seed in range(8)]
    expected = [output_and_grads(each, "numba") for each in inputs]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            results = list(pool.map(lambda each: output_and_grads(each, "numba"), inputs))
            for ours, alone in zip(results, expected, strict=True):
                assert_same(ours, alone)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("openmp", [True, False], ids=["after OpenMP", "after the thread pool"])
def test_forked_child(openmp, monkeypatch, make_inputs, set_threads):
    set_threads(2)
    if not openmp:
        monkeypatch.setattr(threads, "_parallel", lambda: None)
    x, delta, *others = make_inputs(*SIZE, torch.float32)

    def both_passes() -> list[torch.Tensor]:  # without autograd, which refuses forks where it knows of a GPU
        y, states = numba_cpu.forward(x, delta, None, *others, True)
        return [y, *numba_cpu.backward(torch.ones_like(y), states, x, delta, None, *others)]

    expected = both_passes()
    fork = multiprocessing.get_context("fork")
    results = fork.Queue()

    def child():  # torch's own parallel operators would hang here: OpenMP's threads do not survive a fork
        results.put(all(map(torch.equal, both_passes(), expected)))

    process = fork.Process(target=child)
    process.start()
    try:
        assert results.get(timeout=60)
        process.join(60)
        assert process.exitcode == 0
    finally:
        process.kill()


FIRST_SCAN_IN_A_CHILD = """
import multiprocessing, torch
torch.set_num_threads(2)
torch.randn(2000, 2000).sin()  # starts OpenMP's threads

def child():
    from nnunet_vmunet.ops import ss2d_scan
    b, h, w, d, n = 1, 4, 4, 64, 3
    x, delta, B = torch.ones(b, h, w, d), torch.zeros(b, h, w, 4, d), torch.ones(b, h, w, 4, n)
    ss2d_scan(x, delta, -torch.ones(4, d, n), B, B, torch.ones(4, d), torch.zeros(4, d), backend="numba")

process = multiprocessing.get_context("fork").Process(target=child)
process.start()
process.join(120)  # numba compiles in it, for a minute where other work shares the cores
process.kill()
assert process.exitcode == 0, process.exitcode
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_child_that_scans_first():
    _run(FIRST_SCAN_IN_A_CHILD)


def test_a_failing_job_raises_here(set_threads):
    set_threads(2)

    def work(first, last):
        raise ZeroDivisionError(first)

    with pytest.raises(ZeroDivisionError):
        threads.run(work, 4)


@pytest.mark.parametrize("jobs", [1, 2, 7, 64])
def test_every_job_is_done_once(jobs, set_threads):
    set_threads(2)
    done = []
    threads.run(lambda first, last: done.extend(range(first, last)), jobs)
    assert sorted(done) == list(range(jobs))


FIRST_CALL = """
import time, torch
from nnunet_vmunet.ops import ss2d_scan
b, h, w, d, n = 1, 4, 4, 20, 3
x, delta = torch.ones(b, h, w, d, requires_grad=True), torch.zeros(b, h, w, 4, d)
B = C = torch.ones(b, h, w, 4, n)
A, D, bias = -torch.ones(4, d, n), torch.ones(4, d), torch.zeros(4, d)
start = time.perf_counter()
y = ss2d_scan(x, delta, A, B, C, D, bias, backend="numba")
y.sum().backward()
from nnunet_vmunet.ops import numba_kernels as kernels
hits = sum(sum(kernel.stats.cache_hits.values()) for kernel in (kernels.forward, kernels.backward))
print(hits, time.perf_counter() - start, y.sum().item(), x.grad.sum().item())
"""


@pytest.mark.slow
def test_compiled_code_is_cached_across_processes(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    (cold_hits, cold_s, *cold), (warm_hits, warm_s, *warm) = (
        [float(word) for word in _run(FIRST_CALL, environment).split()] for _ in range(2)
    )
    assert (cold_hits, warm_hits) == (0, 2)
    assert warm == cold
    assert warm_s < cold_s / 2


def test_importing_loads_neither_numba_nor_triton():
    _run(
        "import sys, nnunet_vmunet\n"
        "assert 'torch' not in sys.modules\n"
        "import nnunet_vmunet.ops\n"
        "assert not {'numba', 'triton'} & set(sys.modules)"
    )


def _run(code: str, environment=None) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout
