"""Commands as the user would type them, in the user's own shell."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from importlib.machinery import PathFinder
from pathlib import Path

# Not importlib.util's: setuptools' hook takes a search for pip for pip itself, and torch.compile fails from then on.
find_spec = PathFinder.find_spec


def quote(word: object) -> str:
    """One word of a command."""
    if _shell() == "powershell":
        text = str(word)
        return text if text.replace("\\", "").replace(":", "").isalnum() else "'" + text.replace("'", "''") + "'"
    return shlex.quote(str(word))


def set_variable(name: str, value: object) -> str:
    """The command that sets an environment variable for what is run next."""
    forms = {"powershell": "$env:{} = {}", "csh": "setenv {} {}", "tcsh": "setenv {} {}", "fish": "set -gx {} {}"}
    if _shell() == "powershell":
        return forms["powershell"].format(name, "'" + str(value).replace("'", "''") + "'")
    return forms.get(_shell(), "export {}={}").format(name, quote(value))


def unset_variables(*names: str) -> str:
    """The command that makes environment variables unset."""
    forms = {"powershell": "Remove-Item {}", "csh": "unsetenv {}", "tcsh": "unsetenv {}", "fish": "set -e {}"}
    form = forms.get(_shell(), "unset {}")
    prefix = "Env:" if _shell() == "powershell" else ""
    return then(*(form.format(prefix + name) for name in names))


def make_folder(path: Path) -> str:
    return f"mkdir {'' if _shell() == 'powershell' else '-p '}{quote(path)}"


def then(*commands: str) -> str:
    """One command after the other."""
    return ("; " if _shell() == "powershell" else " && ").join(commands)


def pip_install(*arguments: str) -> str:
    """The command that installs into the environment of this Python, activated or not."""
    if find_spec("pip") is not None:
        return _python("pip", "install", *arguments)
    if shutil.which("uv"):  # its environments have no pip
        return " ".join(map(quote, ("uv", "pip", "install", "--python", sys.executable, *arguments)))
    return then(_python("ensurepip"), _python("pip", "install", *arguments))


def _python(*module_and_arguments: str) -> str:
    call = "& " if _shell() == "powershell" else ""
    return call + " ".join(map(quote, (sys.executable, "-m", *module_and_arguments)))


def _shell() -> str:
    if os.name == "nt":
        return "powershell"
    return Path(os.environ.get("SHELL", "sh")).name
