"""Read a YAML file as plain values with their line numbers; describe what is wrong in a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import SafeConstructor

MAX_BYTES = 1_000_000  # a job file has a thousand
MAX_VALUES = 20_000  # aliases of aliases make billions out of a few lines
SHOWN, LONGEST = 60, 300  # characters of a value in a message; of a problem
TAGS = {yaml.MappingNode: "tag:yaml.org,2002:map", yaml.SequenceNode: "tag:yaml.org,2002:seq"}


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong in a file; its text is one line."""

    path: Path
    line: int  # the first is 1; 0: of no line
    field: str  # "workerPoolSpecs[0].machineSpec.machineType"; "": the whole file
    what: str
    instead: str = ""

    def __str__(self) -> str:
        file = f"{self.path}:{self.line}" if self.line else str(self.path)
        what = show(self.what, LONGEST)  # it may quote a value from the file
        words = [self.field, what + (f"; {self.instead}" if self.instead else "")]
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
    """What a file says. Its values are named by their keys, "a.b[0].c"; "" is the whole."""

    path: Path
    value: Any
    lines: dict[str, int] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)  # scalars, as they are written

    def line(self, name: str) -> int:
        """The line of a value; where the file lacks it, of the value that would hold it."""
        while name and name not in self.lines:
            name = outer(name)
        return self.lines.get(name, 1)

    def fault(self, name: str, what: str, instead: str) -> Fault:
        return Fault(self.path, self.line(name), name, what, instead)


def outer(name: str) -> str:
    """ "a.b[0]" → "a.b" → "a" → "" """
    return name[: max(name.rfind("."), name.rfind("["), 0)]


def inner(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key


def show(value: object, longest: int = SHOWN) -> str:
    """A value in a message: one line, not too long."""
    text = " ".join((value if isinstance(value, str) else repr(value)).split())
    return text if len(text) <= longest else text[: longest - 1] + "…"


def read(path: str | Path) -> Document:
    """Read one YAML document by the rules of YAML 1.1, as gcloud does.

    Raises:
        SpecError: no such file, not UTF-8, not YAML, a key twice in a mapping.
    """
    path = Path(path)
    text = _read_text(path)
    reader = _Reader(path)
    try:
        node = yaml.compose(text, yaml.SafeLoader)
        value = None if node is None else reader.read(node, "", ())
    except yaml.MarkedYAMLError as error:
        words = f"{error.context} {error.problem}"
        fix = next((fix for part, fix in FIXES.items() if part in words), FIX)
        line = error.problem_mark.line + 1
        raise SpecError(Fault(path, line, "", f"not YAML: {error.problem}", fix)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        what = f"not YAML: the character {chr(error.character)!a} must not stand in a text"
        raise SpecError(Fault(path, line, "", what, "remove it")) from None
    except RecursionError:
        raise SpecError(Fault(path, 0, "", "nested too deeply for a job file")) from None
    if reader.faults:
        raise SpecError(*reader.faults)
    return Document(path, value, reader.lines, reader.texts)


FIX = "look at the quotes, brackets and indentation here"
FIXES = {  # {words of PyYAML's message: a better hint than FIX}
    "\\t": "indent with spaces, YAML takes no tabs",
    "mapping values are not allowed": "put a text that holds a colon in quotes, and look at the "
    "indentation",
    "single document": "keep one; a file is one job, without a --- inside",
    "undefined alias": "an anchor, &name, must stand above its alias",
    "could not determine a constructor": "job files take plain values, without tags",
    "scanning a quoted scalar": "close the quotes",
}


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror or error})") from None
    if len(data) > MAX_BYTES:
        raise SpecError(f"{path}: {len(data):,} bytes are too many for a job file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        what = f"not a text in UTF-8 ({error.reason})"
        raise SpecError(Fault(path, line, "", what, "save the file as UTF-8")) from None


class _Reader:
    """Turns YAML's nodes, which know their lines, into values."""

    def __init__(self, path: Path):
        self.path = path
        self.yaml = SafeConstructor()
        self.lines: dict[str, int] = {}
        self.texts: dict[str, str] = {}
        self.faults: list[Fault] = []
        self.count = 0

    def read(self, node: yaml.Node, name: str, parents: tuple[yaml.Node, ...]) -> Any:
        line = node.start_mark.line + 1
        self.lines.setdefault(name, line)
        self.count += 1
        if self.count > MAX_VALUES:
            raise SpecError(Fault(self.path, line, name, f"more than {MAX_VALUES:,} values"))
        if node in parents:
            return self._refuse(line, name, "an alias stands within its own anchor", "write it out")
        if node.tag != TAGS.get(type(node), node.tag):
            return self._refuse(line, name, f"{node.tag} is a tag", "job files take plain values")
        parents = (*parents, node)
        if isinstance(node, yaml.MappingNode):
            return self._read_mapping(node, name, parents)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, f"{name}[{i}]", parents) for i, item in enumerate(node.value)]
        self.texts[name] = node.value
        try:
            return self.yaml.construct_object(node)
        except (ValueError, OverflowError) as error:  # 2026-99-99 looks like a day to YAML
            what = f"{show(node.value)} is no value ({error})"
            return self._refuse(line, name, what, "put it in quotes")

    def _read_mapping(self, node: yaml.MappingNode, name: str, parents) -> dict[str, Any]:
        first: dict[str, int] = {}
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            line = key.start_mark.line + 1
            if key.value in first:
                what = f"stands twice, here and in line {first[key.value]}"
                self._refuse(line, inner(name, key.value), what, "keep one of them")
            first.setdefault(key.value, line)
        self.yaml.flatten_mapping(node)  # `<<: *name` gives what stands below the anchor
        values = {}
        for key, child in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                what = "a key must be a plain text"
                raise SpecError(Fault(self.path, line, name, what, "write name: …"))
            # The text: YAML takes `on:` for True, and a field of that name is what was meant.
            inside = inner(name, key.value)
            self.lines[inside] = line
            values[key.value] = self.read(child, inside, parents)
        return values

    def _refuse(self, line: int, name: str, what: str, instead: str) -> None:
        self.faults.append(Fault(self.path, line, name, what, instead))
