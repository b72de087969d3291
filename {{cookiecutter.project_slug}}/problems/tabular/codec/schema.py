"""What the columns of a table mean: inferred from the training data, written down, read back.

`schema.json` in the job directory is both the record of what was inferred and the format that
`--schema` takes. A hand-written one may hold only the columns that it wants to settle:
`{"columns": [{"name": "zip_code", "kind": "category"}]}`; the rest is inferred.
"""

from __future__ import annotations

import json
import keyword
import re
from dataclasses import dataclass, field

from codec.base_schema import BaseSchema

KINDS = ("number", "category", "date", "ignore")
TASKS = ("classification", "regression")
FOLDS = 5  # one of so many rows, or groups, is held out

PERIODS = {"season": 365.2425, "weekday": 7.0, "hour": 1.0}  # of a date, in days
WAVES = 3  # of each period, with a sine and a cosine each: all days of a week can differ then

# Spellings of "no value", without white space around them: in the trainer and, through
# schema.json, in every client.
# Eye trackers write a lost sample as a dot.
MISSING = (
    "",
    "?",
    "NA",
    "N/A",
    "n/a",
    "#N/A",
    "NaN",
    "nan",
    "NULL",
    "null",
    "None",
    "none",
    "-",
    ".",
)

# For messages: a class named "none" would otherwise be gone without a reason.
MISSING_IN_WORDS = f"empty, or one of {' '.join(MISSING[1:])}"

# Of a target: models compute in float32, which ends at 3e38, and add up errors and their squares.
LARGEST = 1e30
FARTHEST = 1e12  # standard deviations from the mean
SMALLEST_STD = 1e-30


@dataclass
class Column:
    """One feature: how it is read, and the numbers that its encoding needs."""

    name: str
    kind: str
    why: str = ""  # how the kind was decided, for the person who reads schema.json
    missing: int = 0  # training rows without a value
    words: dict[str, int] = field(default_factory=dict)  # number: texts that count as missing
    codes: list[float] = field(default_factory=list)  # number: values that count as missing
    mean: float = 0.0  # number: over the training rows that have a value, without far outliers
    std: float = 1.0
    low: float = -LARGEST  # number: a lower value counts as this one,
    high: float = LARGEST  # and a higher one as this one
    categories: list[str] = field(default_factory=list)  # category: most frequent first
    form: str = ""  # date: one of dates.FORMS; mean, std, low and high are in days since 1970
    example: str = ""  # date: one of training, as it is written
    parts: list[str] = field(default_factory=list)  # date: of PERIODS, those that count
    input: str = ""  # the name in the exported signature: `name`, made a legal identifier

    @property
    def waves(self) -> list[tuple[float, float]]:
        """Of a date: (period in days, share of it that it is shifted by) of sines for its parts."""
        return [
            (PERIODS[part] / wave, shift)
            for part in self.parts
            for wave in range(1, WAVES + 1)
            for shift in (0.0, 0.25)
        ]


@dataclass
class Schema(BaseSchema):
    """The columns in file order, and the target with its classes or its scale."""

    target: str
    task: str
    columns: list[Column]
    labels: list[str] = field(default_factory=list)  # classification: one a class, sorted
    mean: float = 0.0  # regression: the target's, in its own unit, without far outliers
    std: float = 1.0
    low: float = -LARGEST  # regression: targets beyond these are far outliers, or far from all
    high: float = LARGEST  # that training saw
    codes: list[float] = field(default_factory=list)  # regression: targets that count as missing
    missing: tuple[str, ...] = MISSING
    notes: list[str] = field(default_factory=list)  # what else was decided, for log and report

    @property
    def numbers(self) -> list[Column]:
        return [c for c in self.columns if c.kind == "number"]

    @property
    def categories(self) -> list[Column]:
        return [c for c in self.columns if c.kind == "category"]

    @property
    def dates(self) -> list[Column]:
        return [c for c in self.columns if c.kind == "date"]

    @property
    def measured(self) -> list[Column]:
        """Columns with a mean and a standard deviation."""
        return self.numbers + self.dates

    @property
    def features(self) -> list[Column]:
        return [c for c in self.columns if c.kind != "ignore"]

    @property
    def indicated(self) -> list[Column]:
        """Numbers and dates that lacked values in training: the model gets a flag for each."""
        return [c for c in self.measured if c.missing]

    @property
    def width(self) -> int:
        """float32 values a row: a number for each of `measured`, waves of dates, indicators."""
        waves = sum(len(c.waves) for c in self.dates)
        return len(self.measured) + waves + len(self.indicated)

    @property
    def places(self) -> dict[str, dict[str, list[int]]]:
        """{column: {array: its columns}}: where the encoder puts what it makes of each feature.

        In the array `numbers`, that is its number, its waves if it is a date, and its indicator.
        """
        places = {c.name: {"numbers": [i]} for i, c in enumerate(self.measured)}
        more = [c.name for c in self.dates for _ in c.waves] + [c.name for c in self.indicated]
        for i, name in enumerate(more, len(self.measured)):
            places[name]["numbers"].append(i)
        return places | {c.name: {"categories": [i]} for i, c in enumerate(self.categories)}

    @property
    def offsets(self) -> list[int]:
        """Where each category column begins in the one vocabulary that all columns share.

        A column takes `len(categories) + 1` places: the first is for unseen and missing values.
        """
        starts = [0]
        for column in self.categories:
            starts.append(starts[-1] + len(column.categories) + 1)
        return starts[:-1]

    @property
    def vocabulary(self) -> int:
        return sum(len(c.categories) + 1 for c in self.categories)

    def describe(self) -> list[str]:
        """Lines for the log: the classes, what became of each column, what else was decided."""
        lines = []
        if self.labels:
            more = ", …" if len(self.labels) > 20 else ""
            lines.append(f"classes: {', '.join(self.labels[:20])}{more}")
        shown = [c for i, c in enumerate(self.columns) if i < 50 or c.words or c.codes][:80]
        for column in shown:
            gaps = f"; {column.missing} missing" if column.missing else ""
            lines.append(f"  {column.name}: {column.kind} ({column.why}{gaps})")
        if len(self.columns) > len(shown):
            lines.append(f"  … {len(self.columns) - len(shown)} more: all stand in schema.json")
        return [*lines, *self.notes]

    def can_compute(self, target):
        """Whether the loss of a number, or of each in an array, stays finite in float32."""
        return (abs(target) <= LARGEST) & (abs(target - self.mean) <= FARTHEST * self.std)

    @classmethod
    def from_json(cls, text: str) -> Schema:
        fields = json.loads(text)
        fields["columns"] = [Column(**column) for column in fields["columns"]]
        fields["missing"] = tuple(fields["missing"])
        return cls(**fields)


def name_inputs(columns: list[Column]) -> None:
    """Give each column a signature name; TensorFlow takes only Python identifiers there."""
    taken: set[str] = set()
    for column in columns:
        name = re.sub(r"\W", "_", column.name, flags=re.ASCII)
        # Beside keywords and digits, TensorFlow stumbles over "self" and a leading underscore.
        if not re.match("[a-zA-Z]", name) or keyword.iskeyword(name) or name == "self":
            name = "f_" + name
        unique, number = name, 2
        while unique.lower() in taken:  # TensorFlow takes A and a for one name
            unique, number = f"{name}_{number}", number + 1
        taken.add(unique.lower())
        column.input = unique
