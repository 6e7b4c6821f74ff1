"""What a check yields: findings, each with the command that puts it right."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

OK, WARNING, PROBLEM, UNKNOWN = "ok", "warning", "problem", "unknown"
WINDOWS = os.name == "nt"  # commands are written for PowerShell there, elsewhere for a POSIX shell


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Args:
        name: what was looked at; stable, because `--json` has it too.
        state: PROBLEM if training cannot start, WARNING if it can but not as it should, UNKNOWN if it cannot be told.
        detail: what was found, in a sentence or less.
        fix: the command that puts it right.
        facts: numbers and names for `--json`.
    """

    name: str
    state: str
    detail: str
    fix: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """Work that may take Python down or hang, announced before it begins; `fix` is for that case."""

    doing: str
    fix: str


def ok(name: str, detail: str, **facts) -> Finding:
    return Finding(name, OK, detail, facts=facts)


def warning(name: str, detail: str, fix: str, **facts) -> Finding:
    return Finding(name, WARNING, detail, fix, facts)


def problem(name: str, detail: str, fix: str, **facts) -> Finding:
    return Finding(name, PROBLEM, detail, fix, facts)


def unknown(name: str, detail: str, **facts) -> Finding:
    return Finding(name, UNKNOWN, detail, facts=facts)


def guarded(name: str, check: Callable, *args, **kwargs) -> Iterator[Finding | Step]:
    """Yield what the check yields; if it raises, yield one finding more that says so."""
    try:
        yield from check(*args, **kwargs)
    except ModuleNotFoundError as error:
        yield problem(name, first_line(error), reinstall_module(error))
    except Exception as error:  # the machine is broken in a way that nobody thought of
        yield unknown(name, f"this check itself failed: {first_line(error)}")


def first_line(error: BaseException) -> str:
    """The error as one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def gigabytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count < 10e9 else f"{count / 1e9:.0f} GB"


def quote(word: object) -> str:
    return shlex.quote(str(word))


def set_variable(name: str, value: object) -> str:
    """The command that sets an environment variable for whatever runs next."""
    return f"$env:{name} = {quote(value)}" if WINDOWS else f"export {name}={quote(value)}"


def unset_variables(*names: str) -> str:
    return f"Remove-Item Env:{', Env:'.join(names)}" if WINDOWS else f"unset {' '.join(names)}"


def make_folder(path: Path) -> str:
    return f"mkdir -p {quote(path)}"


def pip_install(*arguments: str) -> str:
    """The command that installs into the environment of this Python, whether or not that is activated."""
    if any(metadata.distributions(name="pip")):
        return _python("-m", "pip", "install", *arguments)
    return " ".join(map(quote, ("uv", "pip", "install", "--python", sys.executable, *arguments)))  # uv leaves pip out


def uv(*arguments: str) -> str:
    """The command that installs uv here and runs it."""
    return f"{pip_install('uv')} && {_python('-m', 'uv', *arguments)}"


def _python(*arguments: str) -> str:
    return ("& " if WINDOWS else "") + " ".join(map(quote, (sys.executable, *arguments)))


def reinstall_module(error: ModuleNotFoundError) -> str:
    """The command that brings the missing module back, by the name of the distribution that it belongs to."""
    module = (error.name or "").partition(".")[0]
    distribution = metadata.packages_distributions().get(module, [module])[0]
    return pip_install("--force-reinstall", "--no-deps", distribution)
