"""What a client sends to a model, read and checked: `{"instances": …}`, JSON lines or CSV.

The model's own `assets.extra/schema.json` says what is expected: features here, or pictures, for
which there is `picture_instances.py`. Plain Python, so that a wrong instance is named in
milliseconds, before any TensorFlow is loaded.
"""

from __future__ import annotations

import contextlib
import csv
import difflib
import io
import json
import math
import string
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

AT_ONCE = 1024  # instances a call


class InstanceError(Exception):
    """A fault in what a client sent, told in one line."""


class Call(NamedTuple):
    """Some instances, as a model's signature takes them."""

    signature: str
    inputs: dict[str, list[Any]]
    places: Sequence[str]  # of each, for what is to be said about it
    heads: Sequence[dict]  # what stands before each answer, such as the name of a file

    def singly(self) -> Iterator[Call]:
        """A call for each instance."""
        for i, (place, head) in enumerate(zip(self.places, self.heads, strict=True)):
            inputs = {key: values[i : i + 1] for key, values in self.inputs.items()}
            yield Call(self.signature, inputs, [place], [head])


def read_schema(model_dir: str | Path) -> dict:
    """The schema that was exported with a model.

    Raises:
        InstanceError: the directory holds no model of ours.
    """
    path = Path(model_dir) / "assets.extra" / "schema.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise InstanceError(
            f"{model_dir}: no exported model (no {path.name} in assets.extra/); give a run's "
            "model/ directory"
        ) from None
    except ValueError as error:
        raise InstanceError(f"{path}: cannot be read ({error})") from None


@dataclass(frozen=True)
class Signature:
    """The features that a model takes: {name: (name in the signature, kind)}."""

    features: dict[str, tuple[str, str]]
    others: frozenset[str]  # columns of the training file that the model does not look at
    missing: frozenset[str]
    words: dict[str, frozenset[str]]  # of a column of numbers, those that count as missing, too

    @staticmethod
    def of(schema: dict) -> Signature:
        columns = schema["columns"]
        features = {c["name"]: (c["input"], c["kind"]) for c in columns if c["kind"] != "ignore"}
        others = {c["name"] for c in columns if c["kind"] == "ignore"} | {schema["target"]}
        words = {c["name"]: frozenset(c.get("words", ())) for c in columns}
        return Signature(features, frozenset(others), frozenset(schema["missing"]), words)

    def open(self, path: str) -> Iterator[dict[str, float | str]]:
        """Checked instances from a file; - is standard input.

        Raises:
            InstanceError: it cannot be read; or what `read` raises.
        """
        try:
            source = sys.stdin.fileno() if path == "-" else path
            with open(source, encoding="utf-8", newline="") as file:
                yield from read(file, path, self)
        except OSError as error:
            raise InstanceError(f"{path}: cannot be read ({error.strerror or error})") from None
        except UnicodeDecodeError as error:
            raise InstanceError(f"{path}: not a text in UTF-8 ({error.reason})") from None

    def calls(self, instances: list[dict]) -> Iterator[Call]:
        """The calls that ask a model about these instances."""
        for start in range(0, len(instances), AT_ONCE):
            some = instances[start : start + AT_ONCE]
            columns = {key: [each[key] for each in some] for key, _ in self.features.values()}
            places = [f"instance {start + i}" for i in range(len(some))]
            yield Call("serving_default", columns, places, [{}] * len(some))

    def check(self, place: str, instance: object) -> dict[str, float | str]:
        """One instance as the signature takes it; missing values are NaN and "".

        Raises:
            InstanceError: not an object, an unknown feature, one that is not there, a wrong type.
        """
        if not isinstance(instance, dict):
            raise InstanceError(f"{place}: expected an object of features, got {_show(instance)}")
        for name in instance:
            if name not in self.features and name not in self.others:
                close = difflib.get_close_matches(name, self.features, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"there are: {self._names()}"
                raise InstanceError(f"{place}: unknown feature {name!r}; {hint}")
        checked = {}
        for name, (key, kind) in self.features.items():
            if name not in instance:
                raise InstanceError(
                    f"{place}: feature {name!r} is not there; expected a {_KINDS[kind]}, or null "
                    "for a missing value"
                )
            checked[key] = self._value(place, name, kind, instance[name])
        return checked

    def _value(self, place: str, name: str, kind: str, value: object) -> float | str:
        if kind == "number":
            if value is None:
                return math.nan
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                with contextlib.suppress(OverflowError):  # an integer of 309 digits
                    return float(value)
        elif value is None or isinstance(value, str):
            return value or ""
        raise InstanceError(
            f"{place}: feature {name!r} is {_show(value)}; expected a {_KINDS[kind]}"
            + (" without quotes, or null where it is missing" if kind == "number" else " in quotes")
        )

    def from_csv(self, place: str, row: dict[str, str]) -> dict[str, float | str | None]:
        """A row of texts as the JSON instance that says the same."""
        instance: dict[str, float | str | None] = {}
        for name, text in row.items():
            kind = self.features.get(name, ("", "category"))[1]
            if text in self.missing or text in self.words.get(name, ()):
                instance[name] = None
            elif kind == "number":
                try:
                    instance[name] = _number(text)
                except ValueError:
                    raise InstanceError(
                        f"{place}: feature {name!r} is {_show(text)}; expected a number, or "
                        "nothing where it is missing"
                    ) from None
            else:
                instance[name] = text
        return instance

    def _names(self) -> str:
        return ", ".join(self.features)


_KINDS = {"number": "number", "category": "text"}


def read(file: IO[str], name: str, signature: Signature) -> Iterator[dict[str, float | str]]:
    """Checked instances from an open file: the form is seen from its first character.

    Raises:
        InstanceError: none of the three forms, or a fault in an instance.
    """
    text = file.read().removeprefix("\ufeff")
    if not text.strip():
        raise InstanceError(f"{name}: empty; expected instances as JSON, JSON lines or CSV")
    if text.lstrip()[0] not in "{[":
        yield from _csv(text, name, signature)
        return
    try:
        whole = json.loads(text)
    except ValueError as error:
        if not _is_json(text.lstrip().split("\n")[0]):
            raise InstanceError(f"{name}: not JSON ({error})") from None
        yield from _lines(text, name, signature)
        return
    if isinstance(whole, dict) and "instances" in whole:
        whole = whole["instances"]
    elif isinstance(whole, dict):
        whole = [whole]  # a file of JSON lines that has one line
    if not isinstance(whole, list) or not whole:
        raise InstanceError(f'{name}: expected {{"instances": [{{…}}, …]}}, got {_show(whole)}')
    for i, instance in enumerate(whole):
        yield signature.check(f"{name}: instance {i}", instance)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _lines(text: str, name: str, signature: Signature) -> Iterator[dict]:
    count = 0
    for number, line in enumerate(text.split("\n"), 1):  # splitlines would split inside of texts
        if not line.strip():
            continue
        place = f"{name}:{number}: instance {count}"
        try:
            instance = json.loads(line)
        except ValueError as error:
            raise InstanceError(f"{place}: not JSON ({error})") from None
        yield signature.check(place, instance)
        count += 1


def _csv(text: str, name: str, signature: Signature) -> Iterator[dict]:
    rows = _rows(text, name)
    header = [column.strip() for column in next(rows)[1]]
    twice = next((c for c in header if c and header.count(c) > 1), None)
    if twice:
        raise InstanceError(f"{name}: column {twice!r} stands in the header more than once")
    count = 0
    for line, row in rows:
        place = f"{name}:{line}: instance {count}"
        if len(row) != len(header):
            raise InstanceError(f"{place}: {len(row)} values, but the header has {len(header)}")
        values = dict(zip(header, (v.strip(string.whitespace) for v in row), strict=True))
        values.pop("", None)  # a column without a name is nobody's feature
        yield signature.check(place, signature.from_csv(place, values))
        count += 1
    if not count:
        raise InstanceError(f"{name}: a header and no rows")


def _rows(text: str, name: str) -> Iterator[tuple[int, list[str]]]:
    """(line number, values) of each row that is not empty."""
    reader = csv.reader(io.StringIO(text, newline=""))
    start = 1
    try:
        for row in reader:
            if row:
                yield start, row
            start = reader.line_num + 1
    except csv.Error as error:
        raise InstanceError(f"{name}: near line {start}: not CSV ({error})") from None


def _number(text: str) -> float:
    if "_" in text or not text.isascii():  # Python reads 1_000 and ٣, the trainer does not
        raise ValueError(text)
    return float(text)


def _show(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "…"
