"""The triton backend without a GPU: in Triton's interpreter, and compiled for two GPUs. test_gpu has one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

triton = pytest.importorskip("triton")
from nnunet_vmunet.ops import triton_launch  # noqa: E402  its constants are Triton's

HERE = Path(__file__).parent
# The other tests of these files pass too; the interpreter takes five minutes for them:
# TRITON_INTERPRET=1 pytest tests/ops/test_ss2d_scan.py tests/ops/test_operator.py -k triton
SHARED = {
    "test_operator.py": "(opcheck and full) or compile or export",
    "test_ss2d_scan.py": "(extremes and (once or 13)) or nan or half_precision or (low_rank and one and vector)",
}


def in_the_interpreter(*arguments: str) -> str:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=HERE.parents[1], timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "names", ["bfloat16 and half_precision", pytest.param("", marks=pytest.mark.slow)], ids=["some", "all"]
)
def test_interpreted(names):
    assert " passed" in in_the_interpreter(str(HERE / "triton_interpreted.py"), "-k", names)


@pytest.mark.slow
@pytest.mark.parametrize("file, names", SHARED.items(), ids=SHARED.keys())
def test_what_every_backend_must_pass(file, names):
    output = in_the_interpreter(str(HERE / file), "-k", f"triton and ({names})")
    assert " passed" in output and "skipped" not in output


COMPILED = {  # side, channels, what the pixels' tensors are, states
    "stage 1, float32": (64, 192, torch.float32, 16),
    "stage 1, bfloat16": (64, 192, torch.bfloat16, 16),
    "part of a tile": (64, 208, torch.float32, 16),
    "odd channels, rows unaligned": (64, 193, torch.float32, 16),
    "odd sides": (63, 192, torch.float32, 16),
    "odd all over": (63, 193, torch.bfloat16, 16),
    "one state": (64, 96, torch.float32, 1),
    "one state, odd all over": (63, 97, torch.float32, 1),
}
# Bytes a thread, measured with Triton 3.8.0 of torch 2.14: VM-UNet has no such channels, but others may.
SPILLED = {("scan_backward", 90, 63, 193, torch.bfloat16): 40}
QUICK = ("stage 1, float32", "odd all over", "one state")  # the others, and another GPU, are slow tests
KERNELS = ("chunk_ends", "chain_chunks", "scan", "scan_backward")
BINARIES = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
HALF = ("x_ptr",)  # as under autocast, where the step is projected in float32, and B and C are widened


@pytest.mark.skipif(not (BINARIES / "cuobjdump").exists(), reason="this Triton brings no NVIDIA tools")
@pytest.mark.parametrize(
    "side, channels, dtype, states",
    [pytest.param(*sizes, marks=() if name in QUICK else pytest.mark.slow) for name, sizes in COMPILED.items()],
    ids=COMPILED.keys(),
)
@pytest.mark.parametrize("capability", [80, pytest.param(90, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kernel", KERNELS)
def test_compiles_without_spilling_registers(kernel, capability, side, channels, dtype, states, tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    cubin = tmp_path / "kernel.cubin"
    problem, launch = launch_of(kernel, side, channels, dtype, states)
    cubin.write_bytes(compiled(kernel, capability, problem, launch))
    usage = subprocess.run([BINARIES / "cuobjdump", "-res-usage", cubin], capture_output=True, text=True, check=True)
    registers, stack, local = (int(re.search(rf"{name}:(\d+)", usage.stdout)[1]) for name in ("REG", "STACK", "LOCAL"))
    loops = ", ".join(f"{count:.1f}" for count in instructions_per_update(cubin, problem, launch))
    print(
        f"\n{kernel}, sm_{capability}, {side}x{side}, {channels} channels, {states} states, {dtype}: "
        f"{registers} registers a thread, {stack} bytes spilled; "
        f"instructions per 32 state updates, loop by loop: {loops}"
    )
    assert stack + local <= SPILLED.get((kernel, capability, side, channels, dtype), 0)


def launch_of(kernel: str, side: int, channels: int, dtype: torch.dtype, states: int):
    """A problem of batch 32 on as many multiprocessors as an H100 has, and what the table says about it."""
    which = "backward" if kernel == "scan_backward" else "forward"
    problem = triton_launch.Problem(which, 132, 32, side, side, channels, states, dtype)
    return problem, triton_launch.choose(problem)


def compiled(name: str, capability: int, problem: triton_launch.Problem, launch: triton_launch.Launch) -> bytes:
    """The kernel's machine code."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from nnunet_vmunet.ops import triton_kernels

    kernel = getattr(triton_kernels, name)
    constants = triton_launch.constants(problem)
    options = {key: constants.pop(key) for key in ("num_warps", "num_stages", "enable_fp_fusion")}
    constants |= {"SPAN": triton_launch.SPAN, "CHUNKED": True, "SAVE": True, "ADJOINT": True}
    constants |= triton_launch.walking_constants(launch, problem)
    constants = {key: value for key, value in constants.items() if key in kernel.arg_names}
    aligned, signature = {}, {}
    for i, argument in enumerate(kernel.arg_names):
        half = problem.dtype == torch.bfloat16 and argument in HALF
        pointer = "*bf16" if half else "*fp32"
        kind = "constexpr" if argument in constants else pointer if argument.endswith("_ptr") else "i32"
        signature[argument] = kind
        if kind.startswith("*") or (argument == "channels" and problem.channels % 16 == 0):
            aligned[(i,)] = [["tt.divisibility", 16]]
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=aligned)
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options).asm["cubin"]


def instructions_per_update(cubin: Path, problem, launch) -> list[float]:
    """Of each loop over a block, inner ones first."""
    disassembled = subprocess.run([BINARIES / "nvdisasm", "-c", cubin], capture_output=True, text=True, check=True)
    labels, loops, count = {}, [], 0
    for line in disassembled.stdout.splitlines():
        if label := re.match(r"\s*(\.L_x_\d+):", line):
            labels[label[1]] = count
        elif instruction := re.match(r"\s+/\*[0-9a-f]+\*/\s+(.*?);", line):
            count += 1
            jump = re.search(r"\bBRA\b.*`\((\.L_x_\d+)\)", instruction[1])
            if jump and labels.get(jump[1], count) < count - 1:
                loops.append(count - labels[jump[1]])
    return [loop / (launch.block * problem.states * problem.tile / 32) for loop in loops]
