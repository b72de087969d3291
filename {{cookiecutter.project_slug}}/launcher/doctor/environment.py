"""What setup.py asks for, what of it is installed, and the commands that install the rest.

Standard library only, and nothing newer than Python 3.8. setup.py is read, not run.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.metadata
import importlib.util
import operator
import os
import platform
import re
import shlex
import shutil
import sys
from pathlib import Path

from launcher.doctor.checkup import Skip, Wrong, command

ROOT = Path(__file__).resolve().parents[2]
PYTHONS = ">=3.10,<3.14"  # where setup.py does not say
REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)\s*(?:\[[^]]*\])?\s*([^;]*)$")
OPERATORS = {
    **{">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt},
    **{"==": operator.eq, "!=": operator.ne},
}
CLAUSE = re.compile(r"\s*(>=|<=|==|!=|<|>)\s*([0-9.]+)\s*$")


def setup_keywords() -> dict:
    """What setup.py passes to setup(), as far as it is written out. It is read, not run.

    Raises:
        Wrong: it cannot be read.
    """
    try:
        tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError) as error:
        raise Wrong(f"setup.py cannot be read ({error})") from None
    keywords = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "setup":
            for keyword in node.keywords:
                try:
                    keywords[keyword.arg] = ast.literal_eval(keyword.value)
                except ValueError:
                    continue  # packages=find_packages(…), and whatever else is computed
    return keywords


def requirements(*extras: str) -> list[tuple[str, str]]:
    """(name, versions) of setup.py: of its core, extra "", or of the extras that are named.

    What is bound to a system by a marker is left out.
    """
    keywords = setup_keywords()
    listed = {"": keywords.get("install_requires", []), **keywords.get("extras_require", {})}
    texts = [text for extra in extras or ("",) for text in listed.get(extra, [])]
    matches = [REQUIREMENT.match(text) for text in texts]
    return [(match[1].lower(), match[2].strip()) for match in matches if match]


def installed(package: str) -> str:
    """The version of a package, "" where it is not installed. Nothing is imported."""
    try:
        return importlib.metadata.version(package) or ""
    except Exception:  # also a half-removed package, whose metadata cannot be read
        return ""


def numbers(version: str) -> tuple[int, ...]:
    """ "2.21.0rc1" → (2, 21, 0)"""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def fits(version: str, wanted: str) -> bool:
    """Whether "2.21.0" fits ">=2.21,<2.22"; what cannot be understood fits."""
    for match in filter(None, map(CLAUSE.match, wanted.split(","))):
        have, want = numbers(version), numbers(match[2])
        size = max(len(have), len(want))
        have, want = ((*t, *(0,) * (size - len(t))) for t in (have, want))
        if not OPERATORS[match[1]](have, want):
            return False
    return True


def python_wanted() -> str:
    """The Pythons that setup.py takes: ">=3.10,<3.14"."""
    with contextlib.suppress(Wrong):
        return setup_keywords().get("python_requires", PYTHONS)
    return PYTHONS


def python_fits() -> bool:
    return fits(platform.python_version(), python_wanted())


def fitting_python() -> str:
    """A command on PATH that is a Python of the right version, "" where there is none."""
    for minor in (13, 12, 11, 10):
        for words in ([f"python3.{minor}"], ["py", f"-3.{minor}"]):
            with contextlib.suppress(OSError, Skip):  # pyenv leaves names with nothing behind
                _, version, _ = command(
                    *words, "-c", "print(__import__('platform').python_version())"
                )
                if version and fits(version, python_wanted()):
                    return " ".join(words)
    return ""


def install(tool: str = "", extras: str = "dev") -> list[str]:
    """The commands that install what setup.py asks for, into an environment of this repo.

    Args:
        tool: what installs; "": what there is, in this environment, or in one to be made.
    """
    before = []
    if not tool:
        inside = sys.prefix != sys.base_prefix or "CONDA_PREFIX" in os.environ
        if not inside and not (ROOT / ".venv").is_dir():
            before = [f"{python_command()} -m venv .venv"]
        if not inside:
            before.append(activate())
        has_pip = not inside or importlib.util.find_spec("pip")
        tool = "python -m pip" if has_pip or not shutil.which("uv") else "uv pip"
    return [*before, f'{tool} install -e ".[{extras}]" -c constraints.txt']


def activate() -> str:
    return r".venv\Scripts\activate" if os.name == "nt" else ". .venv/bin/activate"


def python_command() -> str:
    """How this Python is called here: Debian has no `python`, Windows no `python3`."""
    for name in ("python", "python3"):
        path = shutil.which(name)
        if path and os.path.dirname(path) == os.path.dirname(sys.executable):
            return name
    if sys.prefix != sys.base_prefix:  # it was called by its path; another would lack the packages
        return shlex.quote(sys.executable)
    return "python" if os.name == "nt" else "python3"
