"""Which part of the package imports which, as CONTRIBUTING.md says: arrows run one way, and conversion is a leaf."""

import ast
from pathlib import Path

import nnunet_vmunet

PACKAGE = Path(nnunet_vmunet.__file__).parent
IMPORTS = {
    "__init__": "prediction",
    "plans": "models",
    "app": "dataset_json evaluation files overlay prediction",
    "cli": "app dataset_conversion demo doctor evaluation export overlay prediction register report weights",
    "dataset_conversion": "dataset_json files model_images organs",
    "dataset_json": "files",
    "demo": "overlay synthetic_lesions",
    "doctor": "dataset_json files ops register",
    "evaluation": "dataset_json files organs",
    "export": "files image_io model_images ops prediction preprocessing requirement",
    "image_io": "dataset_json",
    "memory_model": "losses models ops",
    "model_images": "dataset_json files",
    "models": "ops",
    "nnunet_shims": "image_io paper_planner planner preprocessing resampling trainers",
    "overlay": "dataset_json evaluation files",
    "paper_planner": "planner plans requirement",
    "planner": "dataset_json image_io memory_model plans requirement resampling",
    "prediction": (
        "dataset_json files image_io model_images overlay plans preprocessing requirement resampling trainers weights"
    ),
    "preprocessing": "files",
    "report": "evaluation files overlay weights",
    "requirement": "dataset_json",
    "trainers": "dataset_json files losses models plans requirement schedule weights",
    "weights": "dataset_json files models plans preprocessing requirement",
}  # besides `errors`, which anything may import


def imported_modules(file: Path) -> set[str]:
    """The package's own modules that a file imports, anywhere in it, by their full names."""
    package = ("nnunet_vmunet", *file.relative_to(PACKAGE).parent.parts)
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join((*above, *filter(None, [node.module])))
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return {name for name in names if name.startswith("nnunet_vmunet.")}


def part_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_parts_import_what_contributing_says_and_nothing_else():
    found: dict[str, set[str]] = {}
    for file in PACKAGE.rglob("*.py"):
        parts = {name.split(".")[1] for name in imported_modules(file)}
        found.setdefault(part_of(file), set()).update(parts - {part_of(file), "errors", "__version__"})
    assert {part: " ".join(sorted(others)) for part, others in found.items() if others} == IMPORTS


def test_only_the_command_line_imports_the_conversion():
    importing = {
        part_of(file)
        for file in PACKAGE.rglob("*.py")
        if any(name.startswith("nnunet_vmunet.dataset_conversion") for name in imported_modules(file))
    }
    assert importing == {"cli", "dataset_conversion"}
