"""What teacher/grading.yaml says: deadline, hidden files, points, limits."""

from __future__ import annotations

import csv
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
    except (OSError, IndexError, UnicodeDecodeError) as error:
        what = f"cannot be read ({error})"
        raise SpecError(
            file.fault("labels", what, "write a CSV: a header, then a label a line")
        ) from None
    due = values["due"]
    if not isinstance(due, datetime) or due.tzinfo is None:
        what = "not a time with its zone"
        raise SpecError(file.fault("due", what, "write one such as 2027-01-31T23:59:00+01:00"))
    try:
        steps = sorted(
            (float(share), float(points)) for share, points in values["accuracy"].items()
        )
        points = sorted(points for _, points in steps)
        assert (
            steps
            and points == [points for _, points in steps]
            and 0 <= steps[0][0] <= steps[-1][0] <= 1
        )
    except (AttributeError, TypeError, ValueError, AssertionError):
        what = "not shares from 0 to 1 with points that grow"
        raise SpecError(file.fault("accuracy", what, "write {0.5: 2, 0.8: 5}")) from None
    try:
        limits, tests = Limits(**values["limits"]), float(values["tests"])
        assert tests >= 0 and min(vars(limits).values()) > 0
    except (TypeError, ValueError, AssertionError):
        what = "tests is no number, or limits are not numbers above 0"
        instead = "write limits: {seconds: 300, memory: 3000, disk: 500, processes: 300}"
        raise SpecError(file.fault("limits", what, instead)) from None
    return Grading(due, features, labels, tests, tuple(steps), limits)
