"""`course.py train`, `check` and `submit`: what a student needs, and nothing of the teacher's."""

from __future__ import annotations

import subprocess
import sys
import traceback
import zipfile
from pathlib import Path

from course.assignment import ROOT, TESTS, load_assignment
from launcher.common.document import SpecError
from launcher.common.files import replacing

SUBMISSION = "submission.zip"
DATE = (1980, 1, 1, 0, 0, 0)  # of each file in the zip: equal files make equal bytes


def train() -> int:
    """Train as the teacher will: the assignment's flags, and those of the solution."""
    try:
        from assignment.solution import get_flags

        own = [str(flag) for flag in get_flags()]
    except Exception as error:  # whatever a student's code may raise
        raise SpecError(_describe(error)) from None
    words = [sys.executable, "scripts/train_local.py", "--", *load_assignment().flags, *own]
    return subprocess.run(words, cwd=ROOT).returncode


def _describe(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.endswith("solution.py")]
    line = error.lineno if isinstance(error, SyntaxError) else own[-1].lineno if own else 1
    what = f"{type(error).__name__}: {getattr(error, 'msg', error)}; correct it"
    if isinstance(error, NotImplementedError) and own:
        what = f"{own[-1].name} has no code yet; write it"
    return f"assignment/solution.py:{line}: {what}, then: python scripts/course.py check"


def check() -> int:
    """Run the visible tests; print each failed test, whose first line says what it looks at.

    Returns:
        the exit code: 0 when all pass.
    """
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", TESTS]
    code = subprocess.run(command, cwd=ROOT).returncode
    if code == 0:
        print("All visible tests pass. Next: python scripts/course.py submit")
    else:
        print("A failed test says in its first line what it looks at; see assignment/README.md.")
    return min(code, 1)


def submit(out: Path | None) -> int:
    """Write a zip of exactly the files that are graded.

    Raises:
        SpecError: a file is missing or is not UTF-8.
    """
    assignment, out = load_assignment(), out or Path(SUBMISSION)
    if out.is_dir() or not out.parent.is_dir():
        raise SpecError(f"{out}: cannot be written; name a file in a folder that is there")
    with replacing(out) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in assignment.graded:
            data = (ROOT / name).read_bytes()
            try:
                data.decode()
            except UnicodeDecodeError as error:
                raise SpecError(f"{name}: not a text in UTF-8 ({error}); save it as one") from None
            archive.writestr(zipfile.ZipInfo(name, DATE), data, zipfile.ZIP_DEFLATED)
    print(f"{out}: {', '.join(assignment.graded)}. Hand in this file.")
    return 0
