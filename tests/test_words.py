"""The repo speaks plain English: one word for one meaning, as in docs/glossary.md of the bake."""

import ast
import re

import pytest

from conftest import PRODUCT

# Rooms join this list when they are rewritten. Most of the launcher does not belong to it yet.
ROOMS = ["codec", "docs", "notebooks", "predictor", "scripts", "trainer", "problems", "tests"]
ROOMS += ["README.md", "configs", "setup.py", "launcher/notebook.py"]
LAUNCHER = ["local", "cloud", "common", "cost", "doctor", "jobfile", "project", "report", "setup"]
ROOMS += [f"launcher/{package}" for package in LAUNCHER]
NAMES = {"found", "told", "asked", "place", "said", "news", "some", "each"}
PHRASES = re.compile(
    r"\b(go(es|ing)? on|anew|torn|mend(s|ed)?|tells|told|asked|what it is told)\b", re.IGNORECASE
)


def list_files(room):
    paths = [PRODUCT / room, *sorted((PRODUCT / room).rglob("*"))]
    suffixes = (".py", ".md", ".ipynb", ".yaml")
    return [path for path in paths if path.suffix in suffixes and path.is_file()]


def list_names(path):
    """Yields (line, name) of each function, argument and variable that a file defines."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_has_none_of_the_old_words(room):
    faults = []
    for path in list_files(room):
        name = path.relative_to(PRODUCT)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            faults += [f"{name}:{number}: {match[0]}" for match in PHRASES.finditer(line)]
        if path.suffix == ".py":
            faults += [f"{name}:{line}: {word}" for line, word in list_names(path) if word in NAMES]
    assert not faults, "\n".join(faults)


def test_every_room_has_files():
    assert all(map(list_files, ROOMS))


def test_the_glossary_has_one_line_for_each_word():
    lines = (PRODUCT / "docs" / "glossary.md").read_text(encoding="utf-8").splitlines()
    words = [line.split(" | ")[0].removeprefix("| ") for line in lines if line.startswith("| ")][1:]
    assert words == sorted(set(words), key=str.lower) and 25 <= len(words) <= 32
