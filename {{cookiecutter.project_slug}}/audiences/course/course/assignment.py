"""What assignment/assignment.yaml says: which files students hand in, and the job that is graded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from launcher.common import document
from launcher.common.document import SpecError

ROOT = Path(__file__).resolve().parents[1]
FOLDER = "assignment"
FILE = f"{FOLDER}/assignment.yaml"
TESTS = f"{FOLDER}/tests"
FIELDS = ("title", "graded", "flags")


@dataclass(frozen=True)
class Assignment:
    """An assignment, as its file describes it."""

    title: str
    graded: tuple[str, ...]  # files that students hand in, from the repo's root
    flags: tuple[str, ...]  # of the training job; `get_flags()` in the solution adds its own


def load_assignment(root: Path = ROOT) -> Assignment:
    """Read the assignment of a repo.

    Raises:
        SpecError: the file is missing, or a field of it is missing, unknown or of another type.
    """
    file = document.read(root / FILE)
    values = read_fields(file, FIELDS)
    if not isinstance(values["title"], str):
        raise SpecError(file.fault("title", "not a text", "write one, in quotes"))
    lists = {}
    for name in ("graded", "flags"):
        lists[name] = values[name]
        if not isinstance(lists[name], list) or not all(isinstance(x, str) for x in lists[name]):
            raise SpecError(file.fault(name, "not a list of texts", "write [a, b]"))
    graded = lists["graded"]
    if not graded or len(set(graded)) < len(graded):
        raise SpecError(file.fault("graded", "no file, or one twice", "write [a, b]"))
    for i, path in enumerate(graded):
        what = ""
        if Path(path).is_absolute() or ".." in Path(path).parts or not (root / path).is_file():
            what = f"there is no file {path}"
        elif path.startswith((f"{TESTS}/", "teacher/")):
            what = f"{path} is the teacher's"
        if what:
            raise SpecError(file.fault(f"graded[{i}]", what, "name files from the repo's root"))
    return Assignment(values["title"], tuple(graded), tuple(lists["flags"]))


def read_fields(file: document.Document, fields: tuple[str, ...]) -> dict:
    """The fields of a file that must have these, and no others.

    Raises:
        SpecError: one line for each that is missing or unknown.
    """
    values = file.value if isinstance(file.value, dict) else {}
    faults = [
        file.fault(name, "unknown field", f"there are: {', '.join(fields)}")
        for name in values
        if name not in fields
    ]
    faults += [file.fault(name, "missing", "add it") for name in fields if name not in values]
    if faults:
        raise SpecError(*faults)
    return values
