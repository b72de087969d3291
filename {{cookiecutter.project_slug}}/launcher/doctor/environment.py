"""What setup.py requires, what of it is installed, and the commands that install the rest.

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
REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)\s*(?:\[[^]]*\])?\s*([^;]*)$")
OPERATORS = {
    **{">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt},
    **{"==": operator.eq, "!=": operator.ne},
}
CLAUSE = re.compile(r"\s*(>=|<=|==|!=|<|>)\s*([0-9.]+)\s*$")


def read_keywords() -> dict:
    """Read what setup.py passes to setup(), as far as it is written out.

    Raises:
        Wrong: the file cannot be read.
    """
    try:
        tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError) as error:
        raise Wrong(f"setup.py cannot be read ({error})") from None
    keywords = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword):
            with contextlib.suppress(ValueError):  # packages=find_packages(…) is computed
                keywords[node.arg] = ast.literal_eval(node.value)
    return keywords


def requirements(*extras: str) -> list[tuple[str, str]]:
    """(name, versions) of setup.py: of its core, extra "", or of the extras that are named.

    A requirement with a marker, such as one for a single system, is left out.
    """
    keywords = read_keywords()
    listed = {"": keywords.get("install_requires", []), **keywords.get("extras_require", {})}
    texts = [text for extra in extras or ("",) for text in listed.get(extra, [])]
    matches = filter(None, map(REQUIREMENT.match, texts))
    return [(match[1].lower(), match[2].strip()) for match in matches]


def installed(package: str) -> str:
    """The version of a package, "" where it is not installed. Nothing is imported."""
    try:
        return importlib.metadata.version(package) or ""
    except Exception:  # also a half-removed package, whose metadata cannot be read
        return ""


def numbers(version: str) -> tuple[int, ...]:
    """ "2.20.0rc1" → (2, 20), without zeros at the end: 2.20 is the same version."""
    parts = [int(part) for part in re.match("[0-9.]*", version)[0].split(".") if part]
    while parts and not parts[-1]:
        parts.pop()
    return tuple(parts)


def fits(version: str, wanted: str) -> bool:
    """Whether "2.21.0" fits ">=2.21,<2.22"; what cannot be understood fits."""
    clauses = filter(None, map(CLAUSE.match, wanted.split(",")))
    return all(OPERATORS[c[1]](numbers(version), numbers(c[2])) for c in clauses)


def python_wanted() -> str:
    """The Pythons that setup.py takes, ">=3.10,<3.14"; "" where it cannot be read."""
    with contextlib.suppress(Wrong):
        return read_keywords().get("python_requires", "")
    return ""


def python_fits() -> bool:
    return fits(platform.python_version(), python_wanted())


def find_python() -> str:
    """A command on PATH that is a Python of the right version, "" where there is none."""
    for minor in (13, 12, 11, 10):
        for words in ([f"python3.{minor}"], ["py", f"-3.{minor}"]):
            with contextlib.suppress(OSError, Skip):  # pyenv leaves names with nothing behind
                code = "print(__import__('platform').python_version())"
                _, version, _ = command(*words, "-c", code)
                if version and fits(version, python_wanted()):
                    return " ".join(words)
    return ""


def install(tool: str = "", extras: str = "dev") -> list[str]:
    """The commands that install what setup.py requires, into an environment of this repo.

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
