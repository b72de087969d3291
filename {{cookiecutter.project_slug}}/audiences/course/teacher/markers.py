"""Strip solutions and hidden tests from Python files and notebooks.

    ### BEGIN SOLUTION … ### END SOLUTION           becomes `raise NotImplementedError`
    ### BEGIN HIDDEN TESTS … ### END HIDDEN TESTS   disappears

A marker is a line of its own. A line that only resembles a marker is an error: what a teacher meant
to hide must never be released because of a spelling mistake.
"""

from __future__ import annotations

import ast
import difflib
import json
import re
from dataclasses import dataclass

BEGIN = {"### BEGIN SOLUTION": "### END SOLUTION", "### BEGIN HIDDEN TESTS": "### END HIDDEN TESTS"}
MARKERS = (*BEGIN, *BEGIN.values())
STUB = 'raise NotImplementedError("write your code here")'
COMMENT = re.compile(  # in any language
    r"#.*|^[\W\d_]*(?:BEGIN|END)\b.*|(?-i:\b(?:BEGIN|END)\W+(?:SOLUTION|HIDDEN)).*", re.IGNORECASE
)
SIMILAR = 0.8  # of 1: a comment this close to a marker was meant as one
# A marker of another tool: OWN in capitals or behind ###, or in a few words with EDGE.
OWN = re.compile(r"\b(SOLUTION|HIDDEN|ANSWER)")
EDGE = re.compile(r"\b(BEGIN|START|END|STOP)")


class MarkerError(Exception):
    """One line for each thing that is wrong, with file and line."""


@dataclass(frozen=True)
class Block:
    """Lines that a release must not contain."""

    file: str
    line: int  # of its first line; in a notebook, of the cell
    lines: tuple[str, ...]  # without indentation and empty lines


def strip_file(name: str, data: bytes) -> tuple[bytes, list[Block]]:
    """The file as students get it, and what was removed from it.

    Args:
        name: the file's path, for errors; its ending decides how it is read.

    Raises:
        MarkerError: a marker is unknown, misspelt, nested or without its partner, or stands in a
            file that is neither Python nor a notebook; or what is left is not Python.
    """
    if not name.lower().endswith((".py", ".ipynb")):
        lines = enumerate(data.replace(b"\0", b"").decode(errors="replace").splitlines(), 1)
        if faults := [f"{name}:{i}: markers work in .py and .ipynb files only; move it there"
                      for i, line in lines if _find_lookalike(line, code=False)]:  # fmt: skip
            raise MarkerError("\n".join(faults))
        return data, []
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise MarkerError(f"{name}:{line}: not UTF-8 ({error.reason}); save it as such") from None
    if name.lower().endswith(".ipynb"):
        return _strip_notebook(name, text)
    mark, text = text[: text.startswith("\ufeff")], text.removeprefix("\ufeff")  # of Windows
    text, blocks = _strip_text(name, text, f"{name}:")
    _parse(name, text)
    return f"{mark}{text}".encode(), blocks


def _strip_notebook(name: str, text: str) -> tuple[bytes, list[Block]]:
    try:
        notebook = json.loads(text)
        cells = [(cell, cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]
        notebook.get("metadata", {}).pop("widgets", None)  # they hold outputs
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise MarkerError(f"{name}: not a notebook; save it again in Jupyter") from None
    removed = []
    for number, (cell, kind, source) in enumerate(cells, 1):
        where = f"{name}: cell {number}, line "
        source, blocks = _strip_text(name, source, where, code=kind == "code")
        cell["source"] = source.splitlines(keepends=True)
        removed += blocks
        if kind == "code":
            cell["outputs"], cell["execution_count"] = [], None  # they may show the answer
            if not re.search(r"^\s*[%!]", source, re.MULTILINE):  # IPython's own commands
                _parse(f"{name}: cell {number}", source)
        elif blocks:
            raise MarkerError(
                f"{where}{blocks[0].line}: markers work in code cells only; move it there"
            )
    return (json.dumps(notebook, indent=1, ensure_ascii=False) + "\n").encode(), removed


def _strip_text(name: str, text: str, where: str, code: bool = True) -> tuple[str, list[Block]]:
    kept, blocks, faults = [], [], []
    begin = 0  # the line of the open block's marker; 0: none is open
    inside: list[str] = []
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        marker = line.strip()
        if marker not in MARKERS:
            if fault := _find_lookalike(line, code):
                faults.append(f"{where}{number}: {fault}")
            (inside if begin else kept).append(line)
        elif marker in BEGIN and begin:
            faults.append(
                f"{where}{number}: {marker} inside the block of line {begin}; end it first"
            )
        elif marker in BEGIN:
            begin, opened, inside = number, marker, []
            before, after = line.split(marker)  # blanks, and how this file ends its lines
        elif not begin:
            faults.append(f"{where}{number}: {marker} without its BEGIN; add it above")
        elif marker != BEGIN[opened]:
            faults.append(f"{where}{number}: {marker} ends {opened} of line {begin}; use one kind")
            begin = 0
        else:
            lines = tuple(filter(None, map(str.strip, inside)))
            if not lines:
                faults.append(f"{where}{begin}: the block is empty; remove its markers")
            blocks.append(Block(name, begin, lines))
            kept += [f"{before}{STUB}{after}"] if "SOLUTION" in marker else []
            begin = 0
    if begin:
        faults.append(f"{where}{begin}: {opened} without its END; add {BEGIN[opened]} below")
    if faults:
        raise MarkerError("\n".join(faults))
    return "".join(kept), blocks


def _find_lookalike(line: str, code: bool = True) -> str:
    """What is wrong with a line that resembles a marker; "" for any other line."""
    comment = COMMENT.search(line)
    if not comment:
        return ""
    words = re.sub(r"[^A-Z]+", " ", comment[0].upper()).strip()
    near = max(MARKERS, key=lambda marker: _compare(words, marker))
    alike = _compare(words, near) >= SIMILAR or any(m[4:] in words for m in MARKERS)
    if code:
        loud = comment[0].startswith("###") or comment[0].isupper()
        alike |= bool(OWN.search(words) and EDGE.search(words)) and len(words.split()) < 5
        alike |= bool(re.match(r"#+\s*(BEGIN|END)\b", comment[0]) or loud and OWN.search(words))
    if alike:
        return f"{line.strip()!r} resembles a marker; write exactly {near!r} on its own line, or reword it"
    return ""


def _compare(words: str, marker: str) -> float:
    return difflib.SequenceMatcher(None, words, marker[4:]).ratio()


def _parse(name: str, text: str) -> None:
    try:
        ast.parse(text)
    # A null byte is a ValueError; nesting that is too deep, one of the last two.
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 1
        what = f"{name}:{line}: not Python once the blocks are stripped ({getattr(error, 'msg', error)})"
        raise MarkerError(f"{what}; keep whole statements inside a block") from None
