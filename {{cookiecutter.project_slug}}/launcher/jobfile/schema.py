"""The API's own messages: their fields, types and names of enums, by which a job file is read.

`messages.json` holds these messages; the template makes it from Google's SDK and compares the two
readers, so that nothing passes here which the API refuses. gcloud itself drops unknown keys of a
CustomJobSpec silently; here each of them is a fault.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from launcher.common.document import Document, Fault, inner, outer, show
from launcher.jobfile.scalars import SCALARS

TABLE = json.loads(Path(__file__).with_name("messages.json").read_text(encoding="utf-8"))
MESSAGES, ENUMS = TABLE["messages"], TABLE["enums"]
FIELDS = {field for fields in MESSAGES.values() for field in fields}
UNREADABLE = object()  # in place of a value that is not of its type
# What people look for in a CustomJobSpec.
AROUND_IT = ("labels", "name", "displayName", "encryptionSpec")
OF_THE_PROJECT = ("project", "projectId", "region", "location", "bucket")
# What is wrong with a message: a path from the message to a field, what is wrong, what to write.
Problem = tuple[str, str, str]


def read_message(document: Document, name: str) -> tuple[dict, list[Fault]]:
    """Read what a document holds of a message, and list the faults of everything else in it."""
    reader = _Reader(document)
    return reader.read(document.value, name, ""), reader.faults


def walk(message: dict, name: str, path: str = "") -> Iterator[tuple[str, str, dict]]:
    """Yield a message and all those in it, from the top down: (path, name of the message, message)."""
    yield path, name, message
    for key, value in message.items():
        kind, below = MESSAGES[name][key], inner(path, key)
        if kind in MESSAGES:
            yield from walk(value, kind, below)
        elif kind.removesuffix("[]") in MESSAGES:
            for i, item in enumerate(value):
                yield from walk(item, kind.removesuffix("[]"), f"{below}[{i}]")


def camel(name: str) -> str:
    """ "worker_pool_specs" → "workerPoolSpecs" """
    return re.sub("_+([a-zA-Z0-9])", lambda m: m[1].upper(), name)


def suggest(name: str, known: Collection[str], cutoff: float = 0.6) -> str:
    """The nearest of the known names as a question; all of them where they are few; else ""."""
    nearest = max(known, key=lambda word: similarity(name, word), default="")
    if nearest and similarity(name, nearest) >= cutoff:
        return f"did you mean {nearest}?"
    return f"known are {', '.join(known)}" if len(known) <= 16 else ""


def similarity(one: str, other: str) -> float:
    """How alike two names are, 0 to 1: by their letters, or by how they begin.

    "params" and "parameters" share five letters of six, and so "parallelTrialCount", which has more
    letters in common with "parameterSpec", is not what was meant.
    """
    one, other = one.lower(), other.lower()
    ratio = difflib.SequenceMatcher(None, one, other).ratio()
    start = len(os.path.commonprefix([one, other]))
    return max(ratio, start / min(len(one), len(other))) if start >= 3 else ratio


class _Reader:
    def __init__(self, document: Document):
        self.document = document
        self.faults: list[Fault] = []
        self.names: dict[str, str] = {}  # {path: name of the message there}

    def read(self, value: Any, kind: str, path: str) -> Any:
        """Return the value without what does not fit; UNREADABLE where all of it does not."""
        text = self.document.texts.get(path) or str(value)
        if value is None:
            return self.report(path, "is empty", "write a value, or remove the item")
        if kind in ENUMS:
            return self.read_enum(value, text, kind, path)
        if kind in SCALARS:
            return self.read_scalar(value, text, kind, path)
        if kind.endswith("[]"):
            form, word, instead = list, "list", "write - before each item, or all of them in [ ]"
        elif kind == "map":
            form, word, instead = dict, "mapping", "write name: value"
        else:
            form, word, instead = dict, "mapping", f"its fields are {', '.join(MESSAGES[kind])}"
        if not isinstance(value, form):
            other = {dict: "a mapping", list: "a list"}.get(type(value)) or show(text)
            return self.report(path, f"is {other}, not a {word}", instead)
        if kind.endswith("[]"):
            items = [self.read(item, kind[:-2], f"{path}[{i}]") for i, item in enumerate(value)]
            return UNREADABLE if UNREADABLE in items else items
        if kind == "map":
            read = {key: self.read(item, "string", inner(path, key)) for key, item in value.items()}
            return {key: item for key, item in read.items() if item is not UNREADABLE}
        return self.read_fields(value, kind, path)

    def read_fields(self, value: dict, name: str, path: str) -> dict:
        self.names[path] = name
        fields, message = MESSAGES[name], {}
        for key, item in value.items():
            if key not in fields:
                self.report(inner(path, key), *self.explain_unknown(key, name, path))
            elif item is not None:  # an empty value is as if the key were not there
                message[key] = self.read(item, fields[key], inner(path, key))
        for group in TABLE["oneofs"].get(name, []):
            given = [key for key in value if key in group and value[key] is not None]
            for other in given[1:]:
                self.report(inner(path, other), f"stands beside {given[0]}", "keep one of them")
                del message[other]
        return {key: item for key, item in message.items() if item is not UNREADABLE}

    def read_enum(self, value: Any, text: str, kind: str, path: str) -> Any:
        if value in ENUMS[kind]:
            return value
        known = [name for name in ENUMS[kind] if not name.endswith("_UNSPECIFIED")]
        wanted = re.sub(r"[^A-Z0-9]+", "_", str(value).upper())
        parts = [name for name in known if f"_{wanted}_" in f"_{name}_"]
        hint = f"did you mean {parts[0]}?" if parts else suggest(wanted, known)
        hint = hint or f"known are {', '.join(known)}"
        return self.report(path, f"the API knows no {show(text)}", hint)

    def read_scalar(self, value: Any, text: str, kind: str, path: str) -> Any:
        problem = SCALARS[kind](value, text)
        if problem is None:
            return value
        what, instead = problem
        arg = re.search(r"\.args\[(\d+)\]$", path)
        if arg and not isinstance(value, (dict, list, str)):
            # A number after its flag is best written in one text with it.
            flag = self.document.texts.get(f"{outer(path)}[{int(arg[1]) - 1}]", "")
            instead = f'put it in quotes, with its flag: "--name={text}"'
            if flag.startswith("--") and "=" not in flag:
                instead = f'write "{flag}={text}" as one text'
        return self.report(path, what, instead)

    def explain_unknown(self, key: str, name: str, path: str) -> tuple[str, str]:
        """What is wrong with a key that is no field of this message, and where it belongs."""
        what, meant = "the API has no such field here", camel(key)
        if meant in MESSAGES[name]:
            return what, f"did you mean {meant}? gcloud drops other spellings without a word"
        if key in TABLE["output"].get(name, ()):
            return "only the service writes this", "remove it"
        around = path
        while around:
            around = outer(around)
            if meant in MESSAGES.get(self.names.get(around, ""), ()):
                return what, f"it belongs to {around or 'the top level'}: look at the indentation"
        if name == "CustomJobSpec" and key in (*AROUND_IT, *OF_THE_PROJECT):
            what = "belongs to the job around it" if key in AROUND_IT else "is no part of a job"
            return what, "the launcher takes it from project.yaml"
        return what, _find_similar_field(meant, name) or f"known are {', '.join(MESSAGES[name])}"

    def report(self, path: str, what: str, instead: str) -> object:
        self.faults.append(self.document.fault(path, what, instead))
        return UNREADABLE


def _find_similar_field(key: str, message: str) -> str:
    """Where a message, or one within it, has a field of this or a similar name; "" for none."""

    def rate(field: tuple[int, str, str]) -> float:
        depth, _, name = field  # the deeper it is, the more its name must be like the key
        return similarity(key, name) * 0.9**depth

    best = max(_list_fields(message), key=rate)
    if rate(best) <= 0.6:
        return ""
    depth, path, name = best
    if name != key:
        return f"did you mean {inner(path, name)}?"
    return f"it stands {'one level down, ' if depth == 1 else ''}below {path}"


def _list_fields(message: str, depth: int = 0, path: str = "") -> Iterator[tuple[int, str, str]]:
    """Yield (depth, path of the message around it, field), down to the second level below."""
    for field, kind in MESSAGES[message].items():
        yield depth, path, field
        kind = kind.removesuffix("[]")
        if kind in MESSAGES and depth < 2:
            yield from _list_fields(kind, depth + 1, inner(path, field))
