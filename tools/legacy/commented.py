"""YAML with comments, which PyYAML cannot write."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from launcher.common.document import Document, inner


def dump(message: dict, notes: Mapping[str, str], head: Sequence[str]) -> str:
    """A message as YAML.

    Args:
        notes: {place: comment above its line}; a place is such as "workerPoolSpecs[0].args".
        head: comments above the whole, a line each.
    """
    text = yaml.safe_dump(message, sort_keys=False, width=1000, allow_unicode=True)
    written, rows = Document(Path(), message), text.splitlines()
    _find(yaml.compose(text), "", written.lines)
    for place, note in sorted(notes.items(), key=lambda item: -written.line(item[0])):
        number = written.line(place) - 1
        rows.insert(number, f"{re.match(' *', rows[number])[0]}# {_one_line(note)}")
    return "\n".join([*(f"# {_one_line(note)}".rstrip() for note in head), *rows]) + "\n"


def _one_line(note: str) -> str:
    return " ".join(note.split())


def _find(node: yaml.Node, place: str, lines: dict[str, int]) -> None:
    """Notes the line of each place."""
    if isinstance(node, yaml.MappingNode):
        for key, child in node.value:
            where = inner(place, key.value)
            lines[where] = key.start_mark.line + 1
            _find(child, where, lines)
    elif isinstance(node, yaml.SequenceNode):
        for i, child in enumerate(node.value):
            lines[f"{place}[{i}]"] = child.start_mark.line + 1
            _find(child, f"{place}[{i}]", lines)
