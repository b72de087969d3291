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

KINDS = ("number", "category", "ignore")
TASKS = ("classification", "regression")

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
    input: str = ""  # the name in the exported signature: `name`, made a legal identifier


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
    def features(self) -> list[Column]:
        return [c for c in self.columns if c.kind != "ignore"]

    @property
    def indicated(self) -> list[Column]:
        """Number columns that lacked values in training: the model gets a flag for each."""
        return [c for c in self.numbers if c.missing]

    @property
    def width(self) -> int:
        """float32 values a row: the numbers, then one indicator for each of `indicated`."""
        return len(self.numbers) + len(self.indicated)

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
