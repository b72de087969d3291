"""Which folder may import which: a job, a prediction and the launcher stand on their own."""

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


def list_imports(node: ast.AST, functions: bool = True) -> Iterator[list[str]]:
    """The parts of each imported name: ["launcher", "cloud", "jobs"].

    Args:
        functions: whether imports inside of functions count.
    """
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name.split(".") for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert not child.level, "write the whole name: from launcher.cloud import jobs"
            yield from ([*child.module.split("."), alias.name] for alias in child.names)
        elif functions or not isinstance(child, ast.FunctionDef):
            yield from list_imports(child, functions)


def read_imports(folder: str, functions: bool = True) -> Iterator[tuple[Path, list[list[str]]]]:
    for path in sorted((ROOT / folder).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        yield path, [*list_imports(tree, functions)]


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_a_folder_imports_only_what_it_may(folder):
    for path, names in read_imports(folder):
        others = OURS.intersection(name[0] for name in names) - {folder}
        assert others <= MAY_IMPORT[folder], path


@pytest.mark.parametrize("folder", ["codec", "launcher", "predictor"])
def test_tensorflow_is_imported_where_it_is_needed(folder):
    """By the trainer; by the predictor inside of functions, so that a bad request needs none."""
    for path, names in read_imports(folder, functions=folder != "predictor"):
        assert not TENSORFLOW.intersection(name[0] for name in names), path


def test_the_packages_of_the_launcher_import_downwards():
    packages = {path.parent.name for path in (ROOT / "launcher").glob("*/__init__.py")}
    assert packages == set(ORDER)
    for i, package in enumerate(ORDER):
        for path, names in read_imports(f"launcher/{package}"):
            imported = {name[1] for name in names if name[0] == "launcher"}
            assert not imported.intersection(ORDER[i + 1 :]), path


def test_an_import_is_found_however_it_is_written():
    source = """
import os, launcher.cli.start
from launcher import cloud
def late():
    from launcher.report.runs import load
"""
    names = [".".join(name) for name in list_imports(ast.parse(source))]
    assert names == ["os", "launcher.cli.start", "launcher.cloud", "launcher.report.runs.load"]
