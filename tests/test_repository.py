"""What the files around the package say of it agrees with the package: workflows, pins, versions, docs/api.md."""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import nnunet_vmunet
from nnunet_vmunet import cli

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CHECKOUT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
WORKFLOWS = sorted((CHECKOUT / ".github/workflows").glob("*.yml"))
PYTHONS = {
    match[1]
    for line in PROJECT["classifiers"]
    if (match := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line))
}


def load(name: str | Path):
    return yaml.safe_load((CHECKOUT / name).read_text(encoding="utf-8"))


def jobs(workflow: Path) -> dict[str, dict]:
    return load(workflow)["jobs"]


def steps(workflow: Path) -> list[dict]:
    return [step for job in jobs(workflow).values() for step in job["steps"]]


def lower_bound(requirement: Requirement) -> str | None:
    return next((each.version for each in requirement.specifier if each.operator == ">="), None)


def requirements(*extras: str) -> list[Requirement]:
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in PROJECT["optional-dependencies"][extra])]
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: workflow.stem)
def test_a_workflow_names_only_what_exists(workflow):
    targets = re.findall(r"^([\w-]+):", (CHECKOUT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    markers = {line.partition(":")[0] for line in PYPROJECT["tool"]["pytest"]["ini_options"]["markers"]}
    commands = "\n".join(step["run"] for step in steps(workflow) if "run" in step)
    assert set(re.findall(r"\bmake ([\w-]+)", commands)) <= set(targets)
    for expression in re.findall(r'-m "([^"]+)"|pytest -m (\w+)', commands):
        assert set(re.findall(r"\w+", " ".join(expression))) - {"not", "and", "or"} <= markers
    for extras in re.findall(r'"\.\[([\w,]+)\]"', commands):
        assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])
    for file in re.findall(r"-c (\S+\.txt)", commands):
        assert (CHECKOUT / file).is_file()


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: workflow.stem)
def test_a_workflow_ends_pins_its_actions_and_may_write_nothing(workflow):
    content = load(workflow)
    assert content["permissions"] == {"contents": "read"}
    assert all(job["timeout-minutes"] > 0 for job in jobs(workflow).values())
    for step in steps(workflow):
        assert "uses" not in step or re.fullmatch(r"[\w./-]+@(v|release/v)\d+", step["uses"]), step


def test_workflows_run_every_python_that_the_classifiers_name():
    matrix = jobs(CHECKOUT / ".github/workflows/tests.yml")["test"]["strategy"]["matrix"]["python"]
    assert set(matrix) == PYTHONS
    bounds = SpecifierSet(PROJECT["requires-python"])
    assert {f"3.{minor}" for minor in range(40) if f"3.{minor}" in bounds} == PYTHONS
    used = {step["with"]["python-version"] for file in WORKFLOWS for step in steps(file) if "setup-python" in str(step)}
    assert used - {"${{ matrix.python }}"} <= PYTHONS


def test_documents_name_these_pythons():
    pythons = sorted(PYTHONS, key=lambda version: int(version.partition(".")[2]))
    assert f"Python {pythons[0]} to {pythons[-1]}" in (CHECKOUT / "README.md").read_text(encoding="utf-8")
    bounds = {each.operator: each.version for each in SpecifierSet(PROJECT["requires-python"])}
    versions = (CHECKOUT / "docs/versions.md").read_text(encoding="utf-8")
    assert f"| Python | {bounds['>=']} | {bounds['<']} |" in versions
    for name, title in (("nnunetv2", "nnU-Net"), ("torch", "torch")):
        bound = lower_bound(next(requirement for requirement in requirements() if requirement.name == name))
        assert f"| {title} | {bound} |" in versions


def test_the_oldest_dependencies_are_the_lower_bounds():
    lines = (CHECKOUT / ".github/oldest.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    bounds = {requirement.name: lower_bound(requirement) for requirement in requirements("cpu")}
    assert set(pins) == {name for name, bound in bounds.items() if bound}
    for name, pin in pins.items():
        assert pin in SpecifierSet(f"=={bounds[name]}"), name  # 10.0.0 is 10


def test_pre_commit_formats_as_make_lint_does():
    hooks = {repository["repo"]: repository for repository in load(".pre-commit-config.yaml")["repos"]}
    ruff = next(Requirement(line) for line in PROJECT["optional-dependencies"]["dev"] if line.startswith("ruff"))
    assert hooks["https://github.com/astral-sh/ruff-pre-commit"]["rev"] == f"v{lower_bound(ruff)}"
    assert [hook["entry"] for hook in hooks["local"]["hooks"]] == ["make lint"]


def test_every_file_names_this_version():
    assert load("CITATION.cff")["version"] == nnunet_vmunet.__version__
    changelog = (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## (\S+?),", changelog, re.MULTILINE)[1] == nnunet_vmunet.__version__


def test_the_conda_environment_fits():
    environment = load("environment.yml")
    python = next(line for line in environment["dependencies"] if str(line).startswith("python="))
    assert python.removeprefix("python=") in PYTHONS
    (installed,) = environment["dependencies"][-1]["pip"]
    assert re.fullmatch(r"-e \.\[(\w+)\]", installed)[1] in PROJECT["optional-dependencies"]


def test_the_dockerfile_copies_what_exists_and_runs_as_a_user():
    text = (CHECKOUT / "Dockerfile").read_text(encoding="utf-8")
    copied = [name for line in re.findall(r"^COPY (.+)$", text, re.MULTILINE) for name in line.split()[:-1]]
    assert {"pyproject.toml", "nnunet_vmunet"} <= set(copied)
    assert all((CHECKOUT / name).exists() for name in copied)
    ignored = (CHECKOUT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == set(copied)
    assert re.search(r"^FROM python:(3\.\d+)-slim$", text, re.MULTILINE)[1] in PYTHONS
    assert re.findall(r"^USER (\w+)$", text, re.MULTILINE)[-1] != "root"
    command, *arguments = yaml.safe_load(re.search(r"^CMD (.+)$", text, re.MULTILINE)[1])
    assert command in PROJECT["scripts"]
    cli.parser().parse_args(arguments)


@pytest.mark.parametrize("name", ["bug", "feature"])
def test_an_issue_form_can_be_filled_in(name):
    form = load(f".github/ISSUE_TEMPLATE/{name}.yml")
    assert {"name", "description", "body"} <= set(form)
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields)
    assert any(field.get("validations", {}).get("required") for field in fields)


API = (CHECKOUT / "docs/api.md").read_text(encoding="utf-8")


def attribute(dotted: str):
    module, _, name = dotted.rpartition(".")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize(
    "name, documented", re.findall(r"^\| `(nnunet_vmunet[\w.]+)(\(.*?\))` \|", API, re.MULTILINE), ids=lambda text: text
)
def test_a_documented_signature_is_true(name, documented):
    signature = inspect.signature(attribute(name))
    bare = [parameter.replace(annotation=parameter.empty) for parameter in signature.parameters.values()]
    assert str(signature.replace(parameters=bare, return_annotation=signature.empty)) == documented


@pytest.mark.parametrize(
    "modules, names",
    [
        (["nnunet_vmunet.trainers"], r"nnUNetTrainerVMUNet\w*"),
        (["nnunet_vmunet.planner", "nnunet_vmunet.paper_planner"], r"VMUNetPlanner\w*"),
        (["nnunet_vmunet.preprocessing"], r"\w+Preprocessor"),
    ],
    ids=["trainers", "planners", "preprocessor"],
)
def test_documented_names_are_those_that_nnunet_finds(modules, names):
    found = {name for module in modules for name in importlib.import_module(module).__all__}
    assert set(re.findall(f"`({names})`", API)) == found


def test_the_documented_readers_are_those_that_nnunet_finds():
    line, module = re.search(r"image readers (.*), from `([\w.]+)`", API).groups()
    assert re.findall(r"`(\w+)`", line) == attribute(f"{module}.__all__")


def test_documented_signatures_are_all_that_packages_offer():
    documented = set(re.findall(r"^\| `(nnunet_vmunet[\w.]+)\(", API, re.MULTILINE))
    packages = ("models", "ops", "evaluation")  # a trainer or planner is nnU-Net's to find, and stands in the list
    offered = {
        f"nnunet_vmunet.{package}.{name}"
        for package in packages
        for name in importlib.import_module(f"nnunet_vmunet.{package}").__all__
    }
    assert offered <= documented


def test_documented_commands_and_backends_are_all_there_are():
    from nnunet_vmunet.ops import backends

    (commands,) = (action.choices for action in cli.parser()._actions if isinstance(action, argparse._SubParsersAction))
    sentence = re.search(r"The commands (.+?) of `nnunet-vmunet`", API, re.DOTALL)[1]
    assert set(re.findall(r"`(\w+)`", sentence)) == set(commands)
    sentence = re.search(r"\(the scan backend: (.+?)\)", API, re.DOTALL)[1]
    assert set(re.findall(r"`(\w+)`", sentence)) == set(backends.NAMES)
