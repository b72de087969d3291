"""What a client sends to a model, read and checked: `{"instances": …}`, JSON lines or CSV.

The model's own `assets.extra/schema.json` says what is expected: features here; for images a repo
has `pictures.py`. No TensorFlow, so that a bad request is named in milliseconds.

A bad request (not JSON, no such file) raises `InstanceError`. A bad instance in a good request does
not: its `InstanceError` stands in its position, so that answers and instances stay in step.
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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple


class InstanceError(Exception):
    """A fault in what a client sent, told in one line."""


class Loaded(NamedTuple):
    """An instance as the model takes it, or why it cannot be asked."""

    head: dict  # what its answer begins with, such as the name of a file
    value: Any  # or an InstanceError


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

    NAME = "serving_default"  # of the model's signature
    AT_ONCE = 1024  # instances a call

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

    def open(self, path: str) -> Iterator[dict[str, float | str] | InstanceError]:
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

    def load(self, instance: dict | InstanceError) -> Loaded:
        return Loaded({}, instance)

    def inputs(self, loaded: list[dict]) -> dict[str, list]:
        """Instances as the model's signature takes them."""
        return {key: [one[key] for one in loaded] for key, _ in self.features.values()}

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

    def check_csv(self, place: str, row: dict[str, str]) -> dict[str, float | str]:
        """A row of texts as `check` returns it."""
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
        return self.check(place, instance)

    def _names(self) -> str:
        return ", ".join(self.features)


_KINDS = {"number": "number", "category": "text"}


def read(file: IO[str], name: str, signature: Signature) -> Iterator[dict | InstanceError]:
    """Checked instances from an open file: its first character shows the form.

    Raises:
        InstanceError: none of the three forms.
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
        lines = list(_lines(text, name))
        if 2 * sum(isinstance(value, InstanceError) for _, value in lines) > len(lines):
            raise InstanceError(f"{name}: not JSON ({error})") from None
        for place, value in lines:
            yield value if isinstance(value, InstanceError) else _try(signature.check, place, value)
        return
    if isinstance(whole, dict) and "instances" in whole:
        whole = whole["instances"]
    elif isinstance(whole, dict):
        whole = [whole]  # a file of JSON lines that has one line
    if not isinstance(whole, list) or not whole:
        raise InstanceError(f'{name}: expected {{"instances": [{{…}}, …]}}, got {_show(whole)}')
    for i, instance in enumerate(whole):
        yield _try(signature.check, f"{name}: instance {i}", instance)


def _try(check: Callable, *arguments: Any) -> Any:
    """The checked instance, or the error that takes its position."""
    try:
        return check(*arguments)
    except InstanceError as error:
        return error


def _lines(text: str, name: str) -> Iterator[tuple[str, Any]]:
    """(where it is, the value or what is wrong with it) of each line that is not empty."""
    filled = ((n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip())
    for i, (number, line) in enumerate(filled):  # splitlines would split inside of texts
        place = f"{name}:{number}: instance {i}"
        try:
            yield place, json.loads(line)
        except ValueError as error:
            yield place, InstanceError(f"{place}: not JSON ({error})")


def _csv(text: str, name: str, signature: Signature) -> Iterator[dict | InstanceError]:
    rows = _rows(text, name)
    header = [column.strip() for column in next(rows)[1]]
    twice = next((c for c in header if c and header.count(c) > 1), None)
    if twice:
        raise InstanceError(f"{name}: column {twice!r} stands in the header more than once")
    count = 0
    for line, row in rows:
        place = f"{name}:{line}: instance {count}"
        count += 1
        if len(row) != len(header):
            wrong = f"{place}: {len(row)} values, but the header has {len(header)}"
            yield InstanceError(wrong)
            continue
        values = dict(zip(header, (v.strip(string.whitespace) for v in row), strict=True))
        values.pop("", None)  # a column without a name is nobody's feature
        yield _try(signature.check_csv, place, values)
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
