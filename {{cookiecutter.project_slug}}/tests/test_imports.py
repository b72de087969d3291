"""Which folder may import which: a job, a prediction and the launcher stand on their own."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

# Those that may not meet by an import meet at a command line, an environment and a model's directory.
MAY_IMPORT = {
    "codec": set(),
    "trainer": {"codec"},
    "predictor": {"codec"},
    "launcher": set(),
    "scripts": {"launcher", "predictor", "codec"},
}
OURS = {*MAY_IMPORT, "tests"}
# The launcher's packages, bottom up: each imports only itself and those before it.
ORDER = ("common", "project", "jobfile", "local", "report", "study", "cost", "cloud")
ORDER += ("doctor", "setup", "cli")
TENSORFLOW = {"tensorflow", "keras"}


def find_imports(tree: ast.AST, functions: bool = True) -> Iterator[str]:
    """Top-level names of the imports in a file, with or without those inside of functions."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.partition(".")[0]
        elif functions or not isinstance(node, ast.FunctionDef):
            yield from find_imports(node, functions)


def parse_files(folder: str) -> Iterator[tuple[Path, ast.AST]]:
    for path in sorted((ROOT / folder).rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_a_folder_imports_only_what_it_may(folder):
    for path, tree in parse_files(folder):
        others = OURS.intersection(find_imports(tree)) - {folder}
        assert others <= MAY_IMPORT[folder], path


@pytest.mark.parametrize("folder", ["codec", "launcher", "predictor"])
def test_tensorflow_is_imported_where_it_is_needed(folder):
    """By the trainer; by the predictor inside of functions, so that a bad request needs none."""
    for path, tree in parse_files(folder):
        names = find_imports(tree, functions=folder != "predictor")
        assert not TENSORFLOW.intersection(names), path


def test_the_packages_of_the_launcher_import_downwards():
    packages = {path.parent.name for path in (ROOT / "launcher").glob("*/__init__.py")}
    assert packages == set(ORDER)
    for i, package in enumerate(ORDER):
        for path, tree in parse_files(f"launcher/{package}"):
            above = find_packages(tree).intersection(ORDER[i + 1 :])
            assert not above, f"{path} imports {above}"


def find_packages(tree: ast.AST) -> set[str]:
    """Packages of the launcher that a file imports, inside of functions too."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "write the whole name: from launcher.cloud import jobs"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("launcher.")}


def test_an_import_is_found_however_it_is_written():
    source = """
import os, launcher.cli.start
from launcher import cloud
def late():
    from launcher.report.runs import load
"""
    assert find_packages(ast.parse(source)) == {"cli", "cloud", "report"}
