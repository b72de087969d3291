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
TENSORFLOW = {"tensorflow", "keras"}


def read_imports(folder: str, top: bool = False) -> Iterator[tuple[Path, list[list[str]]]]:
    """Yields each file with the parts of every name that it imports: ["launcher", "cloud", "jobs"].

    Args:
        top: leave out what is imported inside of functions.
    """
    for path in sorted((ROOT / folder).rglob("*.py")):
        tree, names = ast.parse(path.read_text(encoding="utf-8")), []
        for node in tree.body if top else ast.walk(tree):
            if isinstance(node, ast.Import):
                names += [alias.name.split(".") for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, "write the whole name: from launcher.cloud import jobs"
                names += [[*node.module.split("."), alias.name] for alias in node.names]
        yield path, names


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_a_folder_imports_only_what_it_may(folder):
    for path, names in read_imports(folder):
        others = OURS.intersection(name[0] for name in names) - {folder}
        assert others <= MAY_IMPORT[folder], path


@pytest.mark.parametrize("folder", ["codec", "launcher", "predictor"])
def test_tensorflow_is_imported_where_it_is_needed(folder):
    """By the trainer; by the predictor inside of functions, so that a bad request needs none."""
    for path, names in read_imports(folder, top=folder == "predictor"):
        assert not TENSORFLOW.intersection(name[0] for name in names), path
