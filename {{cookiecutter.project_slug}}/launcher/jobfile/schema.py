"""The API's own messages: their fields, types and enums, by which a job file is read.

`messages.json` holds these messages; the template makes it from Google's SDK and compares the two
readers, so that nothing passes here which the API refuses. gcloud itself drops unknown keys of a
CustomJobSpec silently; here each of them is a fault.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import sys
from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from launcher.common.document import Document, Fault, inner, show

TABLE = json.loads(Path(__file__).with_name("messages.json").read_text(encoding="utf-8"))
MESSAGES, ENUMS = TABLE["messages"], TABLE["enums"]
FIELDS = {field for fields in MESSAGES.values() for field in fields}
UNREADABLE = object()  # in place of a value that is not of its type
DEEPEST = 4  # levels of a message in which a field is looked for
LONGEST = 315_576_000_000  # seconds, of a duration
DOUBLE = sys.float_info.max
SURROGATES = re.compile("[\ud800-\udfff]")  # halves of a character, which UTF-8 cannot hold
# What people look for in a CustomJobSpec, and what belongs to the message around it.
OF_THE_PROJECT = ("project", "projectId", "region", "location", "bucket")
OF_THE_PROJECT += ("labels", "name", "displayName", "encryptionSpec")
# What is wrong with a message: a path from the message to a field, what is wrong, what to write.
Problem = tuple[str, str, str]
# Takes what YAML made of a single value, and its text in the file: None, or what is wrong and what
# to write.
Check = Callable[[Any, str], tuple[str, str] | None]


def read_message(document: Document, name: str) -> tuple[dict, list[Fault]]:
    """Read what a document holds of a message, and list the faults of everything else in it."""
    reader = _Reader(document, name)
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
    """How alike two names are, 0 to 1: by their letters, or by how they begin, or by whole words.

    "params" and "parameters" share five letters of six, and so "parallelTrialCount", which has more
    letters in common with "parameterSpec", is not what was meant; "T4" is in "NVIDIA_TESLA_T4".
    """
    one, other = one.lower(), other.lower()
    if f"_{one}_" in f"_{other}_":
        return len(one) / (len(one) + 1) if one != other else 1.0
    ratio = difflib.SequenceMatcher(None, one, other).ratio()
    start = len(os.path.commonprefix([one, other]))
    return max(ratio, start / min(len(one), len(other))) if start >= 3 else ratio


class _Reader:
    def __init__(self, document: Document, root: str):
        self.document, self.root = document, root  # the name of the whole message
        self.faults: list[Fault] = []

    def read(self, value: Any, kind: str, path: str) -> Any:
        """Return the value without what does not fit; UNREADABLE where all of it does not."""
        text = self.document.texts.get(path) or str(value)
        if value is None:
            return self.report(path, "is empty", "write a value, or remove the item")
        if kind in ENUMS:
            return self.read_enum(value, text, kind, path)
        if kind in SCALARS:
            problem = SCALARS[kind](value, text)
            return self.report(path, *problem) if problem else value
        if kind.endswith("[]"):
            form, word, instead = list, "list", "write - before each item, or all of them in [ ]"
        elif kind.startswith("map"):
            form, word, instead = dict, "mapping", "write name: value"
        else:
            form, word, instead = dict, "mapping", f"its fields are {', '.join(MESSAGES[kind])}"
        if not isinstance(value, form):
            other = {dict: "a mapping", list: "a list"}.get(type(value)) or show(text)
            return self.report(path, f"is {other}, not a {word}", instead)
        if kind.endswith("[]"):
            items = [self.read(item, kind[:-2], f"{path}[{i}]") for i, item in enumerate(value)]
            return UNREADABLE if UNREADABLE in items else items
        if kind.startswith("map"):
            of = kind[4:-1] or "string"  # "map<int32>"
            read = {key: self.read(item, of, inner(path, key)) for key, item in value.items()}
            return {key: item for key, item in read.items() if item is not UNREADABLE}
        return self.read_fields(value, kind, path)

    def read_fields(self, value: dict, name: str, path: str) -> dict:
        fields, message = MESSAGES[name], {}
        for key, item in value.items():
            if key not in fields:
                self.report(inner(path, key), *self.explain_unknown(key, name))
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
        wanted = re.sub(r"\W+", "_", str(value))
        hint = suggest(wanted, known) or f"known are {', '.join(known)}"
        return self.report(path, f"the API knows no {show(text)}", hint)

    def explain_unknown(self, key: str, name: str) -> tuple[str, str]:
        """What is wrong with a key that is no field of this message, and what may be meant."""
        if key in TABLE["output"].get(name, ()):
            return "only the service writes this", "remove it"
        if name == "CustomJobSpec" and key in OF_THE_PROJECT:
            return "is no part of a job", "the launcher takes it from project.yaml"
        meant = camel(key)
        # The farther away a field is, the more its name must be like the key.
        rated = {
            path: similarity(meant, path.rpartition(".")[2]) * 0.9 ** (path.count(".") + far)
            for far, message in enumerate((name, self.root))
            for path in _list_fields(message)
            if not far or path not in MESSAGES[name]
        }
        best = max(rated, key=rated.get)
        known = f"known are {', '.join(MESSAGES[name])}"
        hint = f"did you mean {best}?" if rated[best] > 0.6 else known
        return "the API has no such field here", hint

    def report(self, path: str, what: str, instead: str) -> object:
        self.faults.append(self.document.fault(path, what, instead))
        return UNREADABLE


def _list_fields(message: str, path: str = "") -> Iterator[str]:
    """Yield the paths of all fields of a message and of those in it: "scheduling.timeout"."""
    for field, kind in MESSAGES[message].items():
        yield inner(path, field)
        kind = kind.removesuffix("[]")
        if kind in MESSAGES and path.count(".") < DEEPEST:
            yield from _list_fields(kind, inner(path, field))


def _check_string(value: Any, text: str) -> tuple[str, str] | None:
    if isinstance(value, (dict, list)):
        word = "a mapping" if isinstance(value, dict) else "a list"
        return f"is {word}, not a text", "write one text"
    if not isinstance(value, str):
        return f"is {show(text)}, which is no text to YAML", f'put it in quotes: "{text}"'
    if SURROGATES.search(value):
        return "holds half a character (\\ud800 to \\udfff)", "write the character itself"
    return None


def _check_number(value: Any, text: str) -> tuple[str, str] | None:
    """Refuse what YAML 1.1 does not read as most people do: 1e5 is a text to it, 010 is 8."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if (meant := _read_number(text)) is None:
        if not is_number or not -DOUBLE < value < DOUBLE:
            return f"is {show(text)}", "a number is expected"
        meant = value  # 1:30, in sixties
    elif is_number and value == meant:
        return None
    what = f"is {show(text)}, which YAML takes for {value if is_number else 'a text'}"
    return what, f"write {write_number(meant)}, without quotes"


def _check_whole(bits: int, value: Any, text: str) -> tuple[str, str] | None:
    if isinstance(value, str) and re.fullmatch("-?[0-9]{1,19}", value):
        value = int(value)  # JSON has 64 bits as a text
    if problem := _check_number(value, text):
        return problem
    if not isinstance(value, int) or not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
        return f"is {show(text)}", f"a whole number of {bits} bits is expected"
    return None


def _read_number(text: str) -> float | None:
    """The number that a text stands for outside of YAML, such as 1e5 or 0o17; None for others."""
    for read in (lambda text: int(text, 0), float):
        try:
            number = read(text)
        except ValueError:
            continue
        return number if -DOUBLE < number < DOUBLE else None
    return None


def write_number(value: float) -> str:
    """A number as YAML 1.1 reads it: 16, 0.001, 1.0e-05."""
    is_whole = float(value).is_integer() and abs(value) < 1e15
    return yaml.safe_dump(int(value) if is_whole else float(value)).split()[0]


def _check_bool(value: Any, text: str) -> tuple[str, str] | None:
    wrong = f"is {show(text)}", "write true or false, without quotes"
    return None if isinstance(value, bool) else wrong


def _check_duration(value: Any, text: str) -> tuple[str, str] | None:
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]+(\.[0-9]{1,9})?s", value):
        too_long = abs(parse_duration(value)) > LONGEST
        return (f"is {show(value)}", "this is too long") if too_long else None
    return f"is {show(text)}", 'a time is seconds with an s: write "3600s" for an hour'


def parse_duration(text: str) -> float:
    """ "3600s" → 3600.0, in seconds."""
    return float(text.removesuffix("s"))


def _check_timestamp(value: Any, text: str) -> tuple[str, str] | None:
    form = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z"
    try:
        if isinstance(value, str) and re.fullmatch(form, value):
            datetime.strptime(value[:19], "%Y-%m-%dT%H:%M:%S")
            return None
    except ValueError:
        pass
    return f"is {show(text)}", 'write it as "2030-12-31T23:59:59Z", in quotes'


SCALARS: dict[str, Check] = {
    "string": _check_string,
    "bool": _check_bool,
    "int32": partial(_check_whole, 32),
    "int64": partial(_check_whole, 64),
    "double": _check_number,
    "duration": _check_duration,
    "timestamp": _check_timestamp,
}
