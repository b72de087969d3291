"""What a client sends to a model of tables: an object of features, or a row of CSV."""

from __future__ import annotations

import contextlib
import math

from codec import values
from codec.schema import Column, Schema
from predictor.instances import Encoded, InstanceError, JsonInputs, refuse_unknown, show

_KINDS = {"number": "number", "category": "text", "date": "date"}
_FIXES = {
    "number": " without quotes, or null where it is missing",
    "category": " in quotes",
    "date": " in quotes",
}

# Python types of JSON that a feature may have.
_TEXT = {str, type(None)}
_TYPES = {"number": {float, int, type(None)}, "category": _TEXT, "date": _TEXT}

# A checked value by each feature's name; NaN or "" where it is missing.
Row = dict[str, float | str]


class Inputs(JsonInputs):
    """Checks and encodes what the model takes."""

    FORMS = f"{JsonInputs.FORMS}, or CSV with a header"

    def __init__(self, schema: Schema):
        from codec.encoder import Encoder  # --help needs no NumPy

        self._encoder = Encoder(schema)
        self._features = {c.name: c for c in schema.features}
        # With the rest of the training file, which the model does not look at.
        self._known = frozenset([*(c.name for c in schema.columns), schema.target])
        self._missing = frozenset(schema.missing)

    def encode(self, rows: list[Row]) -> dict:
        """Rows as the model takes them."""
        return self._encoder.encode({name: [row[name] for row in rows] for name in self._features})

    def encode_request(self, instances: list) -> Encoded:
        """As all kinds do it, but by columns: checking each value takes most of a request's time."""
        columns = self._read_columns(instances)
        if columns is None:  # something is wrong: the slow way says what
            return super().encode_request(instances)
        try:
            return Encoded(self._encoder.encode(columns), {}, len(instances))
        except OverflowError:  # an integer of 309 digits
            return super().encode_request(instances)

    def _read_columns(self, instances: list) -> dict[str, list] | None:
        """The values of each feature by its name; None where any instance is wrong."""
        count, known = len(self._features), self._known
        try:
            for instance in instances:
                if len(instance) != count and not instance.keys() <= known:
                    return None
            columns = {name: [instance[name] for instance in instances] for name in self._features}
        except (KeyError, TypeError, AttributeError):  # a feature is not there, or it is no object
            return None
        for name, column in self._features.items():
            if not _TYPES[column.kind].issuperset(map(type, columns[name])):
                return None
            if column.kind != "number":
                columns[name] = [text and values.strip(text) for text in columns[name]]
        return columns

    def make_baseline(self) -> dict[str, float | str | None]:
        """The mean of each number in training, the most frequent text, and a date of training."""

        def choose(column: Column) -> float | str | None:
            if column.kind == "number":
                return column.mean
            return column.example if column.kind == "date" else (column.categories or [None])[0]

        return {name: choose(column) for name, column in self._features.items()}

    def list_fields(self) -> list[dict]:
        """The features; the baseline is the example."""
        baseline = self.make_baseline()
        return [
            {
                "name": name,
                "kind": _KINDS[column.kind],
                "example": _shorten(baseline[name]),
                "choices": column.categories,
            }
            for name, column in self._features.items()
        ]

    def to_json(self, checked: Row) -> dict[str, float | str | None]:
        """A checked instance as a client sends it to a server: null for a missing value."""
        missing = "", math.inf, -math.inf  # and NaN; JSON has no word for infinity
        return {n: None if v in missing or v != v else v for n, v in checked.items()}

    def check(self, where: str, instance: object) -> Row:
        """One instance of a request.

        Raises:
            InstanceError: not an object, an unknown feature, one that is not there, a wrong type.
        """
        if not isinstance(instance, dict):
            raise InstanceError(f"{where}: expected an object of features, got {show(instance)}")
        refuse_unknown(f"{where}: unknown feature", instance, self._features, self._known)
        row = {}
        for name, column in self._features.items():
            if name not in instance:
                raise InstanceError(
                    f"{where}: feature {name!r} is not there; expected a {_KINDS[column.kind]}, or "
                    "null for a missing value"
                )
            row[name] = _check(where, column, instance[name])
        return row

    def check_csv(self, where: str, texts: dict[str, str]) -> Row:
        """A row of texts, as `check` returns it.

        Where a column of numbers had a few words in training, which count as missing, any word does.
        """
        instance: dict[str, float | str | None] = {}
        for name, text in texts.items():
            text, column = values.strip(text), self._features.get(name)
            if text in self._missing:
                instance[name] = None
            elif column and column.kind == "number":
                if values.is_number(text):
                    instance[name] = float(text)
                elif column.words:
                    instance[name] = None
                else:
                    raise InstanceError(
                        f"{where}: feature {name!r} is {show(text)}; expected a number, or "
                        "nothing where it is missing"
                    )
            else:
                instance[name] = text
        return self.check(where, instance)


def _shorten(value: float | str | None) -> float | str | None:
    """A number in four digits, as a person would write it."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _check(where: str, column: Column, value: object) -> float | str:
    """The value of a feature.

    Raises:
        InstanceError: it is of a wrong type.
    """
    if column.kind == "number":
        if value is None:
            return math.nan
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            with contextlib.suppress(OverflowError):  # an integer of 309 digits
                return float(value)
    elif value is None:
        return ""
    elif isinstance(value, str):
        try:
            return values.strip(value.encode().decode())
        except UnicodeEncodeError:  # half of a surrogate pair, as no file in UTF-8 has it: unseen
            return ""
    wrong = f"expected a {_KINDS[column.kind]}{_FIXES[column.kind]}"
    raise InstanceError(f"{where}: feature {column.name!r} is {show(value)}; {wrong}")
