"""What teacher/grading.yaml says: deadline, hidden files, points, limits."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from course.assignment import ROOT, read_fields
from launcher.common import document
from launcher.common.document import SpecError
from teacher.sandbox import Limits

FILE = "teacher/grading.yaml"
FIELDS = ("due", "features", "labels", "tests", "accuracy", "limits")


@dataclass(frozen=True)
class Grading:
    """How submissions are graded."""

    due: datetime
    features: Path  # what a submission predicts
    labels: tuple[str, ...]  # the right answers, a line each
    tests: float  # points for each test
    accuracy: tuple[tuple[float, float], ...]  # (share of right predictions, points), ascending
    limits: Limits

    def rate(self, accuracy: float) -> float:
        """Points for a share of right predictions."""
        return max((points for share, points in self.accuracy if accuracy >= share), default=0.0)


def load_grading(root: Path = ROOT) -> Grading:
    """Read the grading of this repo's assignment.

    Raises:
        SpecError: a field is missing, unknown, or no value of its kind, with file and line.
    """
    file = document.read(root / FILE)
    values = read_fields(file, FIELDS)
    features = root / str(values["features"])
    if not features.is_file():
        raise SpecError(file.fault("features", "no such file", "name a CSV from the repo's root"))
    try:
        with open(root / str(values["labels"]), encoding="utf-8", newline="") as rows:
            labels = tuple(row[0] for row in csv.reader(rows))[1:]
        why = "" if labels else "has no label"
    except (OSError, IndexError, UnicodeDecodeError) as error:
        why = f"cannot be read ({error})"
    if why:
        raise SpecError(file.fault("labels", why, "write a CSV: a header, then a label a line"))
    for name in ("features", "labels"):
        if not (root / str(values[name])).resolve().is_relative_to((root / "teacher").resolve()):
            raise SpecError(file.fault(name, "students get this file", "move it to teacher/"))
    due = values["due"]
    if not isinstance(due, datetime) or due.tzinfo is None:
        what = "not a time with its zone"
        raise SpecError(file.fault("due", what, "write one such as 2027-01-31T23:59:00+01:00"))
    tests, accuracy, limits = values["tests"], values["accuracy"], values["limits"]
    if not _is_number(tests):
        raise SpecError(file.fault("tests", "no number from 0 on", "write the points of a test"))
    try:
        steps = sorted((float(share), points) for share, points in accuracy.items())
    except (AttributeError, TypeError, ValueError):
        steps = []
    points = [points for _, points in steps]
    if not (
        steps
        and all(_is_number(x) for step in steps for x in step)
        and steps[-1][0] <= 1
        and points == sorted(points)
    ):
        what = "not shares from 0 to 1 with points that grow"
        raise SpecError(file.fault("accuracy", what, "write {0.5: 2, 0.8: 5}"))
    try:
        limits = Limits(**limits)
        assert all(_is_number(x) and x > 0 for x in vars(limits).values())
        assert all(type(x) is int for name, x in vars(limits).items() if name != "seconds")
    except (TypeError, AssertionError):
        what = "not whole numbers above 0"
        instead = "write {seconds: 300, memory: 3000, disk: 500, processes: 300}"
        raise SpecError(file.fault("limits", what, instead)) from None
    return Grading(due, features, labels, tests, tuple(steps), limits)


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value < math.inf
