"""Weights files made to harm: no code runs, the memory stays as it was, and the refusal is one line."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import pickle
import resource
import struct
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from nnunet_vmunet.cli import main
from nnunet_vmunet.weights import importing  # noqa: F401 - in memory before it is measured

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="measures memory as Linux tells it")

MB = 2**20
BOMB = 300 * MB  # what the bombs grow to if they go off: enough to tell, and harmless
ALLOWED = 100 * MB
NUMEL = 77_777  # stands out in a pickle: b"J" and four bytes
V0 = {  # by these two names VMamba v0 is told
    "patch_embed.proj.weight": torch.ones(8, 3, 4, 4),
    "layers.0.blocks.0.self_attention.x_proj_weight": torch.ones(4, 33, 16),
}


@dataclass
class Opened:
    code: int
    err: str
    grown: int  # bytes of memory at most, beyond what the process had before


def in_a_child(*arguments) -> Opened:
    """`nnunet-vmunet ARGUMENTS` in a fork of this process."""
    receiver, sender = multiprocessing.Pipe(duplex=False)

    def run():
        torch.set_num_threads(1)
        err = io.StringIO()
        before = peak_memory()
        with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
            code = main([str(argument) for argument in arguments])
        sender.send(Opened(code, err.getvalue(), peak_memory() - before))

    child = multiprocessing.get_context("fork").Process(target=run)
    child.start()
    sender.close()
    try:
        assert receiver.poll(60)
        return receiver.recv()
    finally:
        child.kill()
        child.join()


def peak_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.fixture(params=["show", "import"])
def refusal(request, tmp_path):
    """Let `weights show` or `weights import` refuse a file, and return the line."""

    def refuse(file, *options) -> str:
        output = tmp_path / "imported.pth"
        network = ["-o", output, "--input-channels", 3, "--num-classes", 2] if request.param == "import" else []
        opened = in_a_child("weights", request.param, file, *network, *options)
        assert opened.code == 2, opened.err
        assert opened.err.startswith(f"nnunet-vmunet: error: {file}")
        assert opened.err.count("\n") == 1
        assert opened.grown < ALLOWED
        assert not output.exists()
        return opened.err

    return refuse


class Calls:
    """Pickled, it calls `function` where it is unpickled."""

    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def call_marker(how: str, marker: Path) -> Calls:
    return {
        "os.system": Calls(os.system, f"touch '{marker}'"),
        "eval": Calls(eval, f"open({str(marker)!r}, 'w')"),
        "exec": Calls(exec, f"open({str(marker)!r}, 'w')"),
        "open": Calls(open, str(marker), "w"),
        "import": Calls(pickle.loads, pickle.dumps(Calls(os.system, f"touch '{marker}'"))),
    }[how]


def rewritten(file: Path, change, compression=zipfile.ZIP_STORED) -> Path:
    """The archive `file` with change(name, content) for the content of its entries."""
    with zipfile.ZipFile(file) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w", compression, compresslevel=1) as archive:
        for name, content in entries.items():
            archive.writestr(name, change(name, content))
    return file


def with_other_pickle(file: Path, change) -> Path:
    return rewritten(file, lambda name, content: change(content) if name.endswith("data.pkl") else content)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("how", ["os.system", "eval", "exec", "open", "import"])
def test_no_code_runs(how, zipped, saved, refusal, tmp_path):
    marker = tmp_path / "executed"
    file = saved({"model": V0, "hook": call_marker(how, marker)}, _use_new_zipfile_serialization=zipped)
    assert "give --trust only if you trust whoever made it" in refusal(file)
    assert not marker.exists()


def test_no_code_runs_from_a_bare_pickle(refusal, tmp_path):
    file, marker = tmp_path / "weights.pth", tmp_path / "executed"
    file.write_bytes(pickle.dumps(call_marker("os.system", marker), protocol=2))
    refusal(file)
    assert not marker.exists()


def test_with_trust_it_does_run(saved, tmp_path):
    """So that the tests above would see it."""
    marker = tmp_path / "executed"
    in_a_child("weights", "show", saved({"model": V0, "hook": call_marker("os.system", marker)}), "--trust")
    assert marker.exists()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_bytes_of_any_number_are_not_built(zipped, saved, refusal):
    file = saved({"model": V0, "bomb": Calls(bytearray, BOMB)}, _use_new_zipfile_serialization=zipped)
    assert "bytearray" in refusal(file)


def test_bytes_that_double_are_not_built(saved, refusal):
    """Each of 20 calls returns twice as many bytes as it is given."""
    import codecs

    bomb = b"x" * (BOMB >> 20)
    for _ in range(20):
        bomb = Calls(codecs.encode, bomb, "hex")
    assert "_codecs.encode" in refusal(saved({"model": V0, "bomb": bomb}))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_bytes_that_repeat_a_long_text_are_not_built(zipped, saved, refusal):
    """NumPy's numbers are bytes by the same function, which must not open the door to others."""
    import codecs

    text = "x" * MB
    bomb = [np.float64(0.5), *(Calls(codecs.encode, text, "latin1") for _ in range(BOMB // MB)), np.float64(0.25)]
    file = saved({"model": V0, "bomb": bomb}, _use_new_zipfile_serialization=zipped)
    assert "_codecs.encode" in refusal(file)


@pytest.mark.parametrize("trust", [[], ["--trust"]], ids=["tensors only", "--trust"])
def test_an_archive_that_inflates_is_not_unpacked(trust, saved, refusal):
    zeros = bytes(BOMB)
    file = rewritten(
        saved({"model": V0}), lambda name, content: zeros if name.endswith("data/0") else content, zipfile.ZIP_DEFLATED
    )
    assert file.stat().st_size < 2 * MB
    assert "no checkpoint that torch.save wrote" in refusal(file, *trust)


def test_a_tensor_of_one_value_everywhere_is_not_spread_out(saved, refusal):
    spread = torch.zeros(1).expand(BOMB // 1000, 1000)
    assert "does not hold as many values" in refusal(saved({"model": V0 | {"norm.weight": spread}}))


@pytest.mark.parametrize("claimed", [2**31 - 1, 2**40, 2**62], ids=["2^31", "2^40", "2^62 overflows in bytes"])
def test_sizes_that_the_archive_does_not_hold(claimed, saved, refusal):
    number = b"\x8a\x08" + struct.pack("<q", claimed)
    file = saved({"model": V0 | {"norm.weight": torch.zeros(NUMEL)}})
    with_other_pickle(file, lambda pickled: pickled.replace(b"J" + struct.pack("<i", NUMEL), number))
    assert "cut off or damaged" in refusal(file)


def test_sizes_that_a_file_from_before_torch_1_6_does_not_hold(saved, refusal):
    file = saved({"model": V0 | {"norm.weight": torch.zeros(NUMEL)}}, _use_new_zipfile_serialization=False)
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"J" + struct.pack("<i", NUMEL), b"J" + struct.pack("<i", 2**31 - 1)))
    assert "cut off or damaged" in refusal(file)


def test_nothing_is_unpacked_beside_the_file(saved, tmp_path):
    file = saved({"model": V0})
    with zipfile.ZipFile(file, "a") as archive:
        for name in ("../evil", "../../evil", "/tmp/evil", f"{tmp_path}/evil"):
            archive.writestr(name, "evil")
    opened = in_a_child("weights", "show", file)
    assert opened.code == 2  # it is no whole VMamba
    assert list(tmp_path.iterdir()) == [file]
    assert not tmp_path.with_name("evil").exists()


@pytest.mark.parametrize(
    ("tensors", "expected"),
    [
        ({"patch_embed.proj.weight": torch.tensor(1.0)}, r"patch_embed.proj.weight of shape ()"),
        ({"patch_embed.proj.weight": torch.ones(96)}, "patch_embed.proj.weight of shape (96,)"),
        ({"norm.weight": torch.tensor(1.0)}, "norm.weight of shape ()"),
        ({"final_conv.weight": torch.zeros(10**15, 0, 1, 1)}, "final_conv.weight of shape (1000000000000000, 0, 1, 1)"),
        ({"layers.999999999999.blocks.0.ln_1.bias": torch.ones(1)}, "outside the four stages"),
        ({f"layers.{'9' * 5000}.blocks.0.ln_1.bias": torch.ones(1)}, "outside the four stages"),
        ({"norm\nweight\x1b[2J": torch.ones(1)}, r"'norm\nweight\x1b[2J'"),
        ({"norm.weight": torch.ones(3).to_sparse()}, "a form other than plain numbers"),
    ],
    ids=["0 axes", "1 axis", "0 axes elsewhere", "empty", "many stages", "5000 digits", "control characters", "sparse"],
)
def test_shapes_and_names_of_no_network(tensors, expected, saved, refusal):
    assert expected in refusal(saved({"model": V0 | tensors}))


def test_a_provenance_of_another_form_is_left_out(saved):
    nested = ["bomb"]
    for _ in range(26):
        nested = [nested, nested]  # a few bytes in the file, and 2^26 words as text
    for provenance in (7, ["source"], {"source": 3}, dict.fromkeys(("source", "kind", "sha256"), nested)):
        opened = in_a_child("weights", "show", saved({"model": V0, "provenance": provenance}))
        assert opened.err.count("\n") == 1
        assert opened.grown < BOMB  # `show` makes the paper's network
