"""The shape that the API's own messages give a job file: fields, types, names of enums.

`messages.json` holds these messages; the template makes it from Google's SDK and compares the two
readers, so that nothing passes here which the API refuses. gcloud itself drops unknown keys of a
CustomJobSpec silently; here each of them is a fault.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from pathlib import Path
from typing import Any

from launcher.common.document import Document, Fault, inner, outer, show
from launcher.jobfile.scalars import SCALARS

TABLE = json.loads(Path(__file__).with_name("messages.json").read_text(encoding="utf-8"))
MESSAGES, ENUMS = TABLE["messages"], TABLE["enums"]
FIELDS = {field for fields in MESSAGES.values() for field in fields}
GONE = object()  # for a value that is not of its type
ELSEWHERE = {  # what people look for in a CustomJobSpec
    **dict.fromkeys(
        ("labels", "name", "displayName", "encryptionSpec"), "belongs to the job around it"
    ),
    **dict.fromkeys(
        ("project", "projectId", "region", "location", "bucket"), "is no part of a job"
    ),
}


def check(document: Document, message: str) -> tuple[dict, list[Fault]]:
    """What a document holds of a message, and the faults of everything else in it."""
    checker = _Checker(document)
    value = checker.message(document.value, message, "")
    return value if value is not GONE else {}, checker.faults


def camel(name: str) -> str:
    """ "worker_pool_specs" → "workerPoolSpecs" """
    return re.sub("_+([a-zA-Z0-9])", lambda m: m[1].upper(), name)


def did_you_mean(name: str, known, cutoff: float = 0.6) -> str:
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


class _Checker:
    def __init__(self, document: Document):
        self.document = document
        self.faults: list[Fault] = []
        self.types: dict[str, str] = {}  # place → message, of all that is around

    def fault(self, place: str, what: str, instead: str = ""):
        line = self.document.line(place)
        self.faults.append(Fault(self.document.path, line, place, what, instead))
        return GONE

    def message(self, value: Any, name: str, place: str) -> Any:
        if not isinstance(value, dict):
            return self.fault(
                place,
                f"is {self.described(value, place)}, not a mapping",
                f"its fields are {', '.join(MESSAGES[name])}",
            )
        self.types[place] = name
        fields, found = MESSAGES[name], {}
        for key, child in value.items():
            if key not in fields:
                self.unknown(key, name, place)
            elif child is not None:  # an empty value is as if the key were not there
                read = self.field(child, fields[key], inner(place, key))
                if read is not GONE:
                    found[key] = read
        for group in TABLE["oneofs"].get(name, []):
            both = [key for key in value if key in group and value[key] is not None]
            if len(both) > 1:
                self.fault(inner(place, both[1]), f"stands beside {both[0]}", "keep one of them")
                found = {key: found[key] for key in found if key not in both[1:]}
        return found

    def field(self, value: Any, kind: str, place: str) -> Any:
        if kind.endswith("[]"):
            if not isinstance(value, list):
                return self.fault(
                    place,
                    f"is {self.described(value, place)}, not a list",
                    "write - before each item, or all of them in [ ]",
                )
            items = [self.single(v, kind[:-2], f"{place}[{i}]") for i, v in enumerate(value)]
            return GONE if any(item is GONE for item in items) else items
        return self.single(value, kind, place)

    def single(self, value: Any, kind: str, place: str) -> Any:
        if value is None:
            return self.fault(place, "is empty", "write a value, or remove the item")
        if kind in MESSAGES:
            return self.message(value, kind, place)
        if kind in ENUMS:
            return self.enum(value, ENUMS[kind], place)
        if kind == "map":
            return self.map(value, place)
        wrong = SCALARS[kind](value, self.document.texts.get(place, ""))
        if wrong is None:
            return value
        if kind == "string" and re.search(r"\.args\[\d+\]$", place):
            return self.fault(place, wrong[0], self.quoted_arg(place))
        return self.fault(place, *wrong)

    def quoted_arg(self, place: str) -> str:
        """A number after its flag is best written in one text with it."""
        number = int(place[place.rindex("[") + 1 : -1])
        flag = self.document.texts.get(f"{outer(place)}[{number - 1}]", "")
        text = self.document.texts.get(place, "")
        if flag.startswith("--") and "=" not in flag:
            return f'write "{flag}={text}" as one text'
        return f'put it in quotes, with its flag: "--name={text}"'

    def enum(self, value: Any, names: list[str], place: str) -> Any:
        if value in names:
            return value
        known = [name for name in names if not name.endswith("_UNSPECIFIED")]
        wanted = re.sub(r"[^A-Z0-9]+", "_", str(value).upper())
        parts = [name for name in known if f"_{wanted}_" in f"_{name}_"]
        hint = f"did you mean {parts[0]}?" if parts else did_you_mean(wanted, known)
        hint = hint or f"known are {', '.join(known)}"
        return self.fault(place, f"the API knows no {show(self.text(value, place))}", hint)

    def map(self, value: Any, place: str) -> Any:
        if not isinstance(value, dict):
            return self.fault(
                place, f"is {self.described(value, place)}, not a mapping", "write name: value"
            )
        kept = {key: self.single(v, "string", inner(place, key)) for key, v in value.items()}
        return {key: v for key, v in kept.items() if v is not GONE}

    def unknown(self, key: str, name: str, place: str) -> None:
        """Tells where a key belongs, if it belongs anywhere."""
        where = inner(place, key)
        fields, spelled = MESSAGES[name], camel(key)
        above = self.above(spelled, place)
        what = "the API has no such field here"
        if spelled in fields:
            instead = f"did you mean {spelled}? gcloud drops other spellings without a word"
        elif key in TABLE["output"].get(name, ()):
            what, instead = "only the service writes this", "remove it"
        elif above is not None:
            instead = f"it belongs to {above or 'the top level'}: look at the indentation"
        elif key in ELSEWHERE and name == "CustomJobSpec":
            what, instead = ELSEWHERE[key], "the launcher takes it from project.yaml"
        else:
            instead = _nearest_field(spelled, name) or f"known are {', '.join(fields)}"
        self.fault(where, what, instead)

    def above(self, key: str, place: str) -> str | None:
        while place:
            place = outer(place)
            if key in MESSAGES.get(self.types.get(place, ""), ()):
                return place
        return None

    def text(self, value: Any, place: str) -> str:
        return self.document.texts.get(place) or str(value)

    def described(self, value: Any, place: str) -> str:
        for kind, word in ((dict, "a mapping"), (list, "a list"), (type(None), "empty")):
            if isinstance(value, kind):
                return word
        return show(self.text(value, place))


def _nearest_field(key: str, message: str) -> str:
    """Where a message, or one within it, has a field of this or a similar name; "" for none."""
    best, hint, seen = 0.6, "", {message}
    level, depth = [("", message)], 0
    while level and depth < 3:
        below = []
        for path, name in level:
            for field, kind in MESSAGES[name].items():
                # The deeper a field is, the more its name must be like the key.
                likeness = similarity(key, field) * 0.9**depth
                if likeness > best:
                    best, hint = likeness, f"did you mean {inner(path, field)}?"
                    if key == field:
                        down = "one level down, " if depth == 1 else ""
                        hint = f"it stands {down}below {path}"
                kind = kind.removesuffix("[]")
                if kind in MESSAGES and kind not in seen:
                    seen.add(kind)
                    below.append((inner(path, field), kind))
        level, depth = below, depth + 1
    return hint
