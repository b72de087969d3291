"""The packages of the launcher import downwards."""

from __future__ import annotations

import ast

from conftest import ROOT

# The launcher's packages, bottom up: each imports only itself and those before it.
ORDER = ("common", "project", "jobfile", "local", "report", "study", "cost", "cloud")
ORDER += ("data", "endpoints", "doctor", "setup", "cli")


def list_packages(path) -> set[str]:
    """The packages of the launcher that a file imports, wherever in the file it does so."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("launcher.")}


def test_the_packages_of_the_launcher_import_downwards():
    packages = {path.parent.name for path in (ROOT / "launcher").glob("*/__init__.py")}
    assert packages == set(ORDER)
    for i, package in enumerate(ORDER):
        for path in (ROOT / "launcher" / package).rglob("*.py"):
            assert not list_packages(path).intersection(ORDER[i + 1 :]), path
