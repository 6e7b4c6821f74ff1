"""What docs/ says is true: tables against a real network, figures against the code, examples by running them."""

from __future__ import annotations

import ast
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from model_folders import CT, Trained, zipped
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode

from nnunet_vmunet.models import VMUNet
from nnunet_vmunet.ops.directions import to_sequences

CHECKOUT = Path(__file__).resolve().parents[1]
DOCS = CHECKOUT / "docs"
FLOAT = 4  # bytes


@pytest.fixture(scope="module")
def how_it_works() -> str:
    return (DOCS / "how-it-works.md").read_text(encoding="utf-8")


class Scans(TorchDispatchMode):
    """Collects the shapes of each scan's tensors, by the names of the operator's arguments, and of its y."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if function is torch.ops.nnunet_vmunet.ss2d_scan.default:
            names = [argument.name for argument in function._schema.arguments]
            tensors = {**dict(zip(names, args, strict=False)), "y": result[0]}
            self.shapes.append({name: tuple(t.shape) for name, t in tensors.items() if torch.is_tensor(t)})
        return result


@pytest.fixture(scope="module")
def paper_network():
    """VMUNet(3, 2), the output shape of each module in a forward pass at 256×256, and the shapes of each scan."""
    network, shapes = VMUNet(3, 2).eval(), {}
    for name, module in network.named_modules():
        module.register_forward_hook(lambda _, inputs, output, name=name: shapes.update({name: output}))
    with torch.inference_mode(), Scans() as scans:
        network(torch.zeros(1, 3, 256, 256))
    return network, {name: output.shape for name, output in shapes.items() if torch.is_tensor(output)}, scans.shapes


def rows(text: str, header: str) -> list[list[str]]:
    """The cells of the Markdown table whose header line begins with `header`."""
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith(header)) + 2
    last = next(i for i in range(first, len(lines)) if not lines[i].startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[first:last]]


def shape(cell: str) -> tuple[int, ...]:
    return tuple(int(number) for number in cell.split("×"))  # noqa: RUF001


def integer(cell: str) -> int:
    return int(cell.replace(",", ""))


def test_network_table_holds_the_shapes_and_parameters_of_a_forward_pass(how_it_works, paper_network):
    network, shapes, _ = paper_network
    *parts, whole = rows(how_it_works, "| part | module")
    for _, module, output, parameters in parts:
        name = module.strip("`")
        assert shapes[name] == shape(output), name
        assert sum(p.numel() for p in network.get_submodule(name).parameters()) == integer(parameters), name
    assert shape(whole[2]) == shapes[""]
    total = sum(p.numel() for p in network.parameters())
    assert integer(whole[3]) == total == sum(integer(parameters) for *_, parameters in parts)


def test_scan_table_holds_what_the_first_block_scans(how_it_works, paper_network):
    scanned = paper_network[2][0]
    symbols = ("x", "delta", "delta_weight", "delta_bias", "A", "B", "C", "D", "y")  # in the table's order
    documented = [shape(cells[1]) for cells in rows(how_it_works, "| symbol | shape")]
    assert documented == [scanned[symbol] for symbol in symbols]


def test_state_updates_are_counted_right(how_it_works, paper_network):
    network, _, scans = paper_network
    updates = [math.prod(scan["A"]) * math.prod(scan["x"][1:3]) for scan in scans]
    blocks = {}
    for _, tokens, channels, per_block, both in rows(how_it_works, "| stage | tokens"):
        blocks[int(tokens), int(channels), integer(per_block)] = [int(count) for count in both.split("+")]
    encoder, decoder = ([len(stage.blocks) for stage in part.stages] for part in (network.encoder, network.decoder))
    assert list(blocks.values()) == [list(pair) for pair in zip(encoder, decoder[::-1], strict=True)]
    for (tokens, channels, per_block), counts in blocks.items():
        found = [count for scan, count in zip(scans, updates, strict=True) if scan["x"][3] == channels]
        assert found == [per_block] * sum(counts)
        assert per_block == 4 * tokens * channels * 16
    assert f"{sum(updates):,}" in how_it_works


def test_sizes_in_memory_are_right(how_it_works):
    for what, numbers, megabytes in rows(how_it_works, "| tensor | numbers"):
        product = torch.tensor([int(n) for n in numbers.split("·")]).prod().item()
        assert f"{product * FLOAT / 1e6:.1f}" == megabytes, what


def test_directions_are_drawn_as_they_are_walked(how_it_works):
    drawing = re.search(r"^direction 0 .*\n((?:[ \d]+\n){3})", how_it_works, re.MULTILINE)[1]
    drawn = torch.tensor([[int(n) for n in line.split()] for line in drawing.splitlines()]).view(3, 4, 4)
    token = torch.arange(12).view(1, 3, 4, 1).expand(1, 3, 4, 4)
    walks = to_sequences(token)[:, 0]  # (step, direction): the token
    for k in range(4):
        assert drawn[:, k].flatten()[walks[:, k]].tolist() == list(range(12))


def prose(document: Path) -> str:
    """Without the code blocks."""
    return re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("document", sorted(DOCS.glob("*.md")), ids=lambda document: document.name)
def test_files_that_are_named_exist(document):
    new = set(re.findall(r"^# (\S+\.py)$", document.read_text(encoding="utf-8"), re.MULTILINE))
    folders = [
        CHECKOUT / folder
        for folder in (
            ".",
            "nnunet_vmunet",
            "nnunet_vmunet/ops",
            "nnunet_vmunet/dataset_conversion",
            "nnunet_vmunet/files",
            "tests",
        )
    ]
    for name in re.findall(r"`((?:\w+/)*\w+\.(?:py|md|toml))`", prose(document)):
        assert name in new or any((folder / name).exists() for folder in folders), name


@pytest.mark.slow
def test_the_examples_of_extending_work(tmp_path):
    """Applied to a copy of the checkout, whose tests, old and new ones, then cover them."""
    copy = copy_checkout(tmp_path / "checkout")
    touched = apply_examples((DOCS / "extending.md").read_text(encoding="utf-8"), copy)
    assert {"nnunet_vmunet/dataset_conversion/ultrasound.py", "nnunet_vmunet/ops/stepwise.py"} <= set(touched)
    (copy / "tests/test_shims.py").write_text(
        "from nnunet_vmunet.nnunet_shims.planners.vmunet_planners import VMUNetPlannerHalfWidth\n"
        "from nnunet_vmunet.nnunet_shims.trainers.vmunet_trainers import nnUNetTrainerVMUNet_100epochs_CeDice\n"
        "\n\ndef test_shims_have_the_new_planner_and_trainer():\n    assert True\n"
    )
    files = [file for file in touched if Path(file).name.startswith("test_")] + ["tests/test_shims.py"]
    files += ["tests/ops/test_ss2d_scan.py", "tests/ops/test_operator.py"]
    files += ["tests/trainers/test_family_trainers.py", "tests/weights/test_family_weights.py"]
    examples = ("ultrasound", "stepwise", "half_width", "CeDice", "cedice", "concatenating", "shims", "pyramid")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *files, "-k", " or ".join(examples)],
        cwd=copy,
        env={**os.environ, "NNUNET_VMUNET_SCAN": "blocked"},  # the copy's kernels are not compiled yet
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    passed = [line for line in done.stdout.splitlines() if "PASSED" in line]
    assert not [example for example in examples if not any(example in line for line in passed)]


def copy_checkout(folder: Path) -> Path:
    """Copy what makes the packages and the tests, so that Python finds this copy of them and no other."""
    shutil.copytree(CHECKOUT, folder, ignore=shutil.ignore_patterns(".*", "__pycache__", "*.nb?", "demo", "build"))
    return folder


def apply_examples(text: str, folder: Path) -> list[str]:
    """Write and change the files that the code blocks name, and return their names."""
    touched = []
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        first, _, code = block.partition("\n")
        name, at_the_end = re.fullmatch(r"(?:#|\+\+\+) (\S+)(, at the end)?", first).groups()
        file = folder / name
        if language == "diff":
            file.write_text(changed(file.read_text(encoding="utf-8"), code, name), encoding="utf-8")
        elif at_the_end:
            file.write_text(f"{file.read_text(encoding='utf-8')}\n\n{code}", encoding="utf-8")
        else:
            assert not file.exists(), f"{name} is there already"
            file.write_text(code, encoding="utf-8")
        touched.append(name)
    return list(dict.fromkeys(touched))


GAP = r"[\s,()]*"  # between two words or signs: a formatter breaks lines, and sets commas and parentheses for it


def changed(text: str, diff: str, name: str) -> str:
    """Change the one place of `text` that the lines of `diff` without a plus show, however a formatter has set it."""
    before, after = ("".join(line[1:] + "\n" for line in diff.splitlines() if line[:1] != sign) for sign in "+-")
    start, end = place(text, before, name)
    result = text[:start] + after.strip() + text[end:]
    if name.endswith(".py"):
        compile(result, f"{name} as docs/extending.md changes it", "exec")
    return result


def place(text: str, shown: str, name: str) -> tuple[int, int]:
    """Find where in `text` the words and signs of `shown` stand, from the beginning of a line if that is one place."""
    parts = ["[\"']" if part in "\"'" else re.escape(part) for part in re.findall(r"\w+|[^\w\s,()]", shown)]
    closing = "".join(rf"(\s*{re.escape(sign)})?" for sign in re.search(r"[,)]*$", shown.rstrip())[0])
    found = list(re.finditer(rf"(?<!\w){GAP.join(parts)}(?!\w){closing}", text))
    found = [match for match in found if not text[: match.start()].rpartition("\n")[2].strip()] or found
    assert len(found) == 1, (
        f"docs/extending.md shows these lines of {name}, which stand there {len(found)} times; "
        f"show what the file holds now, and enough of it:\n{shown}"
    )
    start, end = found[0].span()
    surplus = (text[start:end].count("(") - text[start:end].count(")")) - (shown.count("(") - shown.count(")"))
    return start, end + (re.match(rf"([\s,]*\)){{{surplus}}}", text[end:]).end() if surplus > 0 else 0)


@pytest.mark.parametrize(
    "text",
    [
        "from m import a, b\nnames = ['a', 'b']\nuse(b)\n",
        'from m import (\n    a,\n    b,\n)\n\nnames = [\n    "a",\n    "b",\n]\nuse(b)\n',
        'from m import (a,\n               b)\nnames = [ "a"\n        , "b" ]\nuse(\n    b,\n)\n',
    ],
    ids=["short", "long", "odd"],
)
def test_examples_find_their_place_however_the_code_is_set(text):
    text = changed(text, "-from m import a, b\n+from m import a, b, c\n", "m.py")
    text = changed(text, '     "b",\n+    "c",\n', "m.py")
    text = changed(text, " use(b)\n+use(c)\n", "m.py")
    expected = "from m import a, b, c\nnames = ['a', 'b', 'c']\nuse(b)\nuse(c)\n"
    assert ast.dump(ast.parse(text)) == ast.dump(ast.parse(expected))


@pytest.mark.parametrize("text", ["use(a)\n", "use(b)\nuse(b)\n"], ids=["nowhere", "twice"])
def test_an_example_without_its_one_place_says_so(text):
    with pytest.raises(AssertionError, match=r"(?s)lines of m\.py.*use\(b\)"):
        changed(text, " use(b)\n+use(c)\n", "m.py")


@pytest.fixture
def what_predict_md_names(tmp_path, monkeypatch):
    """model.zip and ct_model, photo.jpg and the folder photos, scan.nii.gz, in the current folder."""
    zipped(Trained().write(tmp_path / "results"), tmp_path / "model.zip")
    CT.write(tmp_path / "ct").rename(tmp_path / "ct_model")
    (tmp_path / "photos").mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    for name in ("photo.jpg", "photos/a.jpg", "photos/b.png"):
        Image.fromarray(noise).save(tmp_path / name)
    sitk.WriteImage(sitk.GetImageFromArray(noise[..., 0][None].repeat(3, 0)), str(tmp_path / "scan.nii.gz"))
    monkeypatch.chdir(tmp_path)


PREDICT = re.findall(r"^```python\n(.*?)^```$", (DOCS / "predict.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("example", PREDICT, ids=lambda example: example.splitlines()[-1].strip()[:40])
def test_an_example_of_predict_md_runs(what_predict_md_names, example, capsys):
    exec(example, {})
    assert capsys.readouterr().out or sorted(file.name for file in Path("masks").iterdir()) == ["a.png", "b.png"]
