"""What the documents tell a reader: every command parses, every name, file and link exists, and the README's first job
runs as it stands there.
"""

import argparse
import re
import shlex
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import nnunetv2
import numpy as np
import pytest
import torch
from model_folders import Trained, zipped
from PIL import Image

from nnunet_vmunet import cli
from nnunet_vmunet.synthetic_lesions import lesion_photograph

CHECKOUT = Path(__file__).resolve().parents[1]
README = CHECKOUT / "README.md"
DOCUMENTS = [README, CHECKOUT / "CONTRIBUTING.md", *sorted((CHECKOUT / "docs").glob("*.md"))]

FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")
SHELL = ("", "bash", "sh", "console")  # the languages of blocks that hold commands
PROGRAM = re.compile(r"nnunet-vmunet|nnUNetv2_\w+|pip|make|python|export|cd|git")
PLACEHOLDER = re.compile(r"[A-Z][A-Z0-9_]*")  # FOLDER, ID: the reader's own


@dataclass(frozen=True)
class Command:
    words: tuple[str, ...]
    document: Path
    whole: bool  # in a block, so that no argument may be left out; else in a sentence or a table

    @property
    def program(self) -> str:
        return Path(self.words[0]).name

    def __str__(self) -> str:
        return f"{self.document.name}: {' '.join(self.words)}"


def blocks(document: Path, *languages: str) -> list[str]:
    return [text for language, text in FENCE.findall(document.read_text(encoding="utf-8")) if language in languages]


def lines(block: str) -> list[str]:
    """A shell block's, continued ones joined."""
    return [line.strip().removeprefix("$ ") for line in block.replace("\\\n", " ").splitlines() if line.strip()]


def simple_commands(text: str) -> list[tuple[str, ...]]:
    """What a line starts one after the other, without comments and without VARIABLE=VALUE in front."""
    separated = re.sub(r"\\?\||&&|;", " ; ", text)
    commands, words = [], []
    for word in [*shlex.split(separated, comments=True), ";"]:
        if word == ";":
            commands += [tuple(words)] if words else []
            words = []
        elif words or not re.fullmatch(r"\w+=.*", word):
            words.append(word)
    return commands


def commands(document: Path) -> list[Command]:
    """All that stand in a document, in blocks and in `code`, and begin with a program that this file knows."""
    found = []
    for block in blocks(document, *SHELL):
        found += [Command(words, document, True) for line in lines(block) for words in simple_commands(line)]
    for span in SPAN.findall(FENCE.sub("", document.read_text(encoding="utf-8"))):
        span = re.sub(r"\[(-[^]]*)\]", r"\1", span)  # [-r FOLDER], which may be left out
        if PROGRAM.match(Path(span.split()[0]).name):
            found += [Command(words, document, False) for words in simple_commands(span)]
    return [command for command in dict.fromkeys(found) if PROGRAM.fullmatch(command.program)]


def program_parser(program: str, monkeypatch) -> argparse.ArgumentParser:
    """The real one, of ours or of nnU-Net's commands: it is caught where the command is about to parse with it."""
    if program == "nnunet-vmunet":
        return cli.parser()
    caught = []

    def catch(parser, *_):
        caught.append(parser)
        raise SystemExit

    (entry,) = metadata.entry_points(group="console_scripts", name=program) or pytest.fail(f"nnU-Net has no {program}")
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(argparse.ArgumentParser, "parse_args", catch)
        entry.load()()
    return caught[0]


def require_nothing(parser: argparse.ArgumentParser) -> None:
    for action in parser._actions:
        action.required = False
        if isinstance(action, argparse._SubParsersAction):
            for subparser in action.choices.values():
                require_nothing(subparser)


def filled_in(words: tuple[str, ...]) -> list[str]:
    """With a 1 for each placeholder, which is a number as well as a name, and for an option's value that is …"""
    filled = []
    for word in words:
        if "…" not in word:
            filled.append("1" if PLACEHOLDER.fullmatch(word) else word)
        elif filled and filled[-1].startswith("-"):
            filled.append("1")
    return filled


def check_parses(command: Command, monkeypatch) -> None:
    parser = program_parser(command.program, monkeypatch)
    if not command.whole:
        require_nothing(parser)
    try:
        parser.parse_args(filled_in(command.words[1:]))
    except SystemExit as exit_:  # argparse has printed why
        assert exit_.code == 0, command


def check_make(command: Command, monkeypatch) -> None:
    targets = re.findall(r"^([\w-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    variables = re.findall(r"\$\((\w+)\)", (CHECKOUT / "Makefile").read_text())
    words = [word.partition("=") for word in command.words[1:]]
    assert {name for name, equals, _ in words if not equals} <= set(targets)
    assert {name for name, equals, _ in words if equals} <= set(variables)


def check_pip(command: Command, monkeypatch) -> None:
    """Extras of ours that are asked for exist."""
    ours = {".", "nnunet-vmunet"}
    asked = [re.fullmatch(r"([^\[]+)\[([\w,-]+)\]", word) for word in command.words]
    extras = {extra for match in asked if match and match[1] in ours for extra in match[2].split(",")}
    assert extras <= set(metadata.metadata("nnunet-vmunet").get_all("Provides-Extra"))


def check_python(command: Command, monkeypatch) -> None:
    """A script of ours that is run exists."""
    scripts = [word for word in command.words if word.endswith(".py") and not PLACEHOLDER.match(word)]
    assert all((CHECKOUT / script).is_file() for script in scripts)


CHECKS = {"make": check_make, "pip": check_pip, "python": check_python}
NOT_CHECKED = ("export", "cd", "git")


@pytest.mark.parametrize("command", [command for document in DOCUMENTS for command in commands(document)], ids=str)
def test_command_can_be_given(command, monkeypatch):
    if command.program not in NOT_CHECKED:
        CHECKS.get(command.program, check_parses)(command, monkeypatch)


def test_blocks_of_the_readme_hold_commands_alone():
    """Else a command that this file does not know would pass unseen; output stands in blocks marked text."""
    unknown = [
        words
        for block in blocks(README, *SHELL)
        for line in lines(block)
        for words in simple_commands(line)
        if not PROGRAM.fullmatch(Path(words[0]).name)
    ]
    assert not unknown
    assert sum(command.whole for command in commands(README)) > 5


def test_a_wrong_command_is_noticed(monkeypatch):
    """In a sentence too, where required arguments may be left out."""
    for line in ("nnunet-vmunet convert isic18 --sise 64", "nnUNetv2_train 118 2d 0 -trainer nnUNetTrainerVMUNet"):
        with pytest.raises(AssertionError):
            check_parses(Command(tuple(line.split()), README, whole=False), monkeypatch)
    with pytest.raises(AssertionError):
        check_parses(Command(("nnunet-vmunet", "convert", "isic18"), README, whole=True), monkeypatch)


@pytest.fixture(scope="module")
def sources() -> str:
    """This package's code and nnU-Net's."""
    folders = (CHECKOUT / "nnunet_vmunet", Path(nnunetv2.__file__).parent)
    return "\n".join(file.read_text(encoding="utf-8") for folder in folders for file in sorted(folder.rglob("*.py")))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_names_exist(document, sources):
    """Trainers, planners, plans and environment variables: in the code, or in what the document adds to it."""
    text = document.read_text(encoding="utf-8")
    code = "\n".join([sources, *blocks(document, "python", "diff")])
    classes = set(re.findall(r"\b(?:nnUNetTrainer|VMUNet)\w*\b(?!\*)", text))
    assert classes <= set(re.findall(r"^\+?class (\w+)", code, re.MULTILINE))
    strings = set(re.findall(r"\b(?:nnUNet\w*Plans\w*|NNUNET_VMUNET_\w+|nnUNet_[A-Za-z_]+)\b(?!\*)", text))
    assert strings <= set(re.findall(r"""["'](\w+)["']""", code))


def anchors(document: Path) -> set[str]:
    """Of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", document.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_links_lead_somewhere(document):
    for path, anchor in LINK.findall(FENCE.sub("", document.read_text(encoding="utf-8"))):
        target = (document.parent / path) if path else document
        assert target.exists(), f"{path} is not there"
        assert not anchor or anchor in anchors(target), f"{path}#{anchor} is not there"


@pytest.mark.parametrize("snippet", blocks(README, "python"), ids=lambda snippet: snippet.splitlines()[0])
def test_python_of_the_readme_runs(snippet, tmp_path, monkeypatch, capsys):
    """On a model and a photograph of those names, and on weights with the original's tensors for three channels."""
    monkeypatch.syspath_prepend(Path(__file__).with_name("weights"))
    from published_weights import filled, vmunet_shapes

    monkeypatch.chdir(tmp_path)
    zipped(Trained().write(tmp_path / "results"), tmp_path / "model.zip")
    lesion_photograph(np.random.default_rng(0), *SIZE)[0].save("photo.jpg")
    for file in re.findall(r'"([^"]+\.pth)"', snippet):
        torch.save(filled(vmunet_shapes(3, 2)), file)
    exec(snippet, {})


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_python_of_the_documents_compiles(document):
    for snippet in blocks(document, "python"):
        compile(snippet, document.name, "exec")


# 5 epochs in place of 300, for which nnU-Net has no option; what reads the trained fold is told so.
TRAINER, SHORT_TRAINER = "nnUNetTrainerVMUNet", "nnUNetTrainerVMUNet_5epochs"
RELEASE = {"Training": 4, "Validation": 2}
SIZE = (150, 120)  # (width, height) in pixels of the generated photographs


def first_job() -> list[list[str]]:
    """The first block of the README that trains, but for the installation, which this environment has."""
    block = next(block for block in blocks(README, *SHELL) if "nnUNetv2_train" in block)
    return [list(words) for line in lines(block) for words in simple_commands(line) if words[0] != "pip"]


def shortened(words: list[str], device: list[str]) -> list[str]:
    """Trained for a few epochs; on the CPU as the README tells, and with fewer processes where nnU-Net starts up to 8,
    each of which imports torch.
    """
    words = [SHORT_TRAINER if word == TRAINER else word for word in words]
    if words[0] == "nnunet-vmunet" and "-f" in words and "-tr" not in words:  # reads a trained fold
        words += ["-tr", SHORT_TRAINER]
    added = {"nnUNetv2_plan_and_preprocess": ["-npfp", "1", "-np", "1"], "nnUNetv2_train": device}
    return [*words, *added.get(words[0], [])]


def write_release(folder: Path, photos: Path) -> None:
    """Generated photographs in the folders of ISIC 2018, and two that are in none of them."""
    places = [
        (folder / f"ISIC2018_Task1-2_{part}_Input", folder / f"ISIC2018_Task1_{part}_GroundTruth")
        for part, count in RELEASE.items()
        for _ in range(count)
    ]
    for number, (images, masks) in enumerate([*places, (photos, None), (photos, None)]):
        photograph, mask = lesion_photograph(np.random.default_rng(number), *SIZE)
        images.mkdir(parents=True, exist_ok=True)
        photograph.save(images / f"ISIC_{number:07d}.jpg")
        if masks:
            masks.mkdir(parents=True, exist_ok=True)
            mask.save(masks / f"ISIC_{number:07d}_segmentation.png")


@pytest.mark.end_to_end
def test_first_job_of_the_readme_runs(nnunet, monkeypatch):
    job = first_job()
    monkeypatch.chdir(nnunet.folder)
    (release, photos, masks) = (
        Path(words[words.index(option) + 1])
        for start, option in (
            (["nnunet-vmunet", "convert", "isic18"], "-i"),
            (["nnunet-vmunet", "predict"], "-i"),
            (["nnunet-vmunet", "predict"], "-o"),
        )
        for words in job
        if words[: len(start)] == start
    )
    write_release(release, photos)
    outputs = {" ".join(words[:2]): nnunet.run(*shortened(words, nnunet.device)) for words in job}
    assert "IoU" in outputs["nnunet-vmunet evaluate"]
    predicted = {file.stem: Image.open(file).size for file in masks.glob("*.png")}
    assert predicted == {file.stem: SIZE for file in photos.iterdir()}
    assert (masks / "overlay" / "contact_sheet.png").exists()
