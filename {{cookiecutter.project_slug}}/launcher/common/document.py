"""A YAML file as plain values, with the line on which each of them stands, and what is wrong in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

TOO_LONG = 1_000_000  # bytes; a job file has a thousand
TOO_MANY = 20_000  # values; aliases of aliases make billions out of a few lines
SHOWN, LONGEST = 60, 300  # characters of a value in a message; of what is wrong


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong in a file; as a text it is one line."""

    path: Path
    line: int  # the first is 1; 0: not of any line
    place: str  # "workerPoolSpecs[0].machineSpec.machineType"; "": the whole file
    what: str
    instead: str = ""

    def __str__(self) -> str:
        file = f"{self.path}:{self.line}" if self.line else str(self.path)
        what = show(self.what, LONGEST)  # it may quote a value from the file
        words = [self.place, what + (f"; {self.instead}" if self.instead else "")]
        return " ".join(": ".join([file, *filter(None, words)]).split())


class SpecError(Exception):
    """What is wrong with a job, a fault a line: `Fault`s, or plain texts where no file is to blame."""

    def __init__(self, *faults: Fault | str):
        super().__init__(*faults)
        self.faults = faults

    def __str__(self) -> str:
        return "\n".join(map(str, self.faults))


@dataclass(frozen=True)
class Document:
    """What a file says. A place is a path such as "a.b[0].c"; "" is the whole."""

    path: Path
    value: Any
    lines: dict[str, int] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)  # scalars, as they are written

    def line(self, place: str) -> int:
        """The line of a place; of what stands around it where it is not in the file."""
        return line(self.lines, place)


def line(lines: Mapping[str, int], place: str) -> int:
    while place and place not in lines:
        place = outer(place)
    return lines.get(place, 1)


def outer(place: str) -> str:
    """ "a.b[0]" → "a.b" → "a" → "" """
    return place[: max(place.rfind("."), place.rfind("["), 0)]


def inner(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def show(value: object, most: int = SHOWN) -> str:
    """A value in a message: one line, not too long."""
    text = " ".join((value if isinstance(value, str) else repr(value)).split())
    return text if len(text) <= most else text[: most - 1] + "…"


def read(path: str | Path) -> Document:
    """Reads one YAML document. gcloud reads it by the same rules, those of YAML 1.1.

    Raises:
        SpecError: no such file, not UTF-8, not YAML, a key twice in a mapping.
    """
    path = Path(path)
    text = _text(path)
    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            reader = _Reader(path, loader)
            value = None if node is None else reader.value(node, "", ())
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise SpecError(_not_yaml(path, mark.line + 1 if mark else 0, error)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        what = f"not YAML: the character {chr(error.character)!a} must not stand in a text"
        raise SpecError(Fault(path, line, "", what, "remove it")) from None
    except RecursionError:
        raise SpecError(Fault(path, 0, "", "nested too deeply for a job file")) from None
    if reader.faults:
        raise SpecError(*reader.faults)
    return Document(path, value, reader.lines, reader.texts)


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror or error})") from None
    if len(data) > TOO_LONG:
        raise SpecError(f"{path}: {len(data):,} bytes are too many for a job file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        what = f"not a text in UTF-8 ({error.reason})"
        raise SpecError(Fault(path, line, "", what, "save the file as UTF-8")) from None


HINTS = {
    "\\t": "indent with spaces, YAML takes no tabs",
    "mapping values are not allowed": "put a text that holds a colon in quotes, and look at the "
    "indentation",
    "single document": "keep one; a file is one job, without a --- inside",
    "undefined alias": "an anchor, &name, must stand above its alias",
    "could not determine a constructor": "job files take plain values, without tags",
    "scanning a quoted scalar": "close the quotes",
}


def _not_yaml(path: Path, line: int, error: yaml.MarkedYAMLError) -> Fault:
    said = " ".join(f"{error.context or ''} {error.problem or ''}".split())
    hint = next((hint for words, hint in HINTS.items() if words in said), None)
    what = f"not YAML: {error.problem}"
    return Fault(path, line, "", what, hint or "look at the quotes, brackets and indentation here")


class _Reader:
    """Turns YAML's nodes, which know their lines, into values."""

    def __init__(self, path: Path, loader: yaml.SafeLoader):
        self.path, self.loader = path, loader
        self.lines: dict[str, int] = {}
        self.texts: dict[str, str] = {}
        self.faults: list[Fault] = []
        self.count = 0

    def value(self, node: yaml.Node, place: str, around: tuple[yaml.Node, ...]) -> Any:
        line = node.start_mark.line + 1
        self.lines.setdefault(place, line)
        self.count += 1
        if self.count > TOO_MANY:
            raise SpecError(Fault(self.path, line, place, f"more than {TOO_MANY:,} values"))
        if node in around:
            self._fault(line, place, "an alias stands within its own anchor", "write it out")
            return None
        plain = {yaml.MappingNode: "map", yaml.SequenceNode: "seq"}.get(type(node))
        if plain and node.tag != f"tag:yaml.org,2002:{plain}":
            self._fault(line, place, f"{node.tag} is a tag", "job files take plain values")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place, (*around, node))
        if isinstance(node, yaml.SequenceNode):
            places = (f"{place}[{i}]" for i in range(len(node.value)))
            return [
                self.value(n, p, (*around, node)) for n, p in zip(node.value, places, strict=True)
            ]
        self.texts[place] = node.value
        try:
            return self.loader.construct_object(node)
        except (ValueError, OverflowError) as error:  # 2026-99-99 looks like a day to YAML
            self._fault(
                line, place, f"{show(node.value)} is no value ({error})", "put it in quotes"
            )
            return None

    def _mapping(self, node: yaml.MappingNode, place: str, around) -> dict[str, Any]:
        self._find_twice(node, place)
        self.loader.flatten_mapping(node)  # `<<: *name` gives what stands below the anchor
        values = {}
        for key, child in node.value:
            name = self._key(key, place)
            # Of a key that stands twice the last one counts, as everywhere in YAML.
            self.lines[inner(place, name)] = key.start_mark.line + 1
            values[name] = self.value(child, inner(place, name), around)
        return values

    def _key(self, node: yaml.Node, place: str) -> str:
        if isinstance(node, yaml.ScalarNode):
            return node.value  # `on:` is True to YAML: a field of that name is what was meant
        line = node.start_mark.line + 1
        raise SpecError(
            Fault(self.path, line, place, "a key must be a plain text", "write name: …")
        )

    def _find_twice(self, node: yaml.MappingNode, place: str) -> None:
        first: dict[str, int] = {}
        for key in _scalars(key for key, _ in node.value):
            line = key.start_mark.line + 1
            if key.value in first:
                what = f"stands twice, here and in line {first[key.value]}"
                self._fault(line, inner(place, key.value), what, "keep one of them")
            first.setdefault(key.value, line)

    def _fault(self, line: int, place: str, what: str, instead: str) -> None:
        self.faults.append(Fault(self.path, line, place, what, instead))


def _scalars(nodes) -> Iterator[yaml.ScalarNode]:
    return (node for node in nodes if isinstance(node, yaml.ScalarNode))
