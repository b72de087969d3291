"""`course.py grade`: points for each submission, in teacher/results/USERNAME/results.json (Gradescope's form).

A submission's graded files are laid over the released repo, with the teacher's tests on top. In a
sandbox it trains and predicts the hidden features. Its predictions are compared here with labels
that it never sees. Nothing of a submission is imported or unpickled here.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from xml.etree import ElementTree

from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from codec.intervals import wilson
from course.assignment import ROOT, TESTS, Assignment, load_assignment
from launcher.common.document import SpecError
from launcher.common.files import write_file
from teacher import sandbox
from teacher.collect import FOLDER, MOST, load_submissions
from teacher.grading import Grading, load_grading
from teacher.release import read_report, run_tests, strip_repo, write_files

RESULTS = ROOT / "teacher" / "results"
RUN = "run.py"


def grade(jobs: int = 1, trusted: bool = False, one: Path | None = None) -> int:
    """Grade what was collected. What is graded already, and has not changed, keeps its result.

    Raises:
        SpecError: nothing was collected, grading.yaml is wrong, or no sandbox works here.
    """
    if jobs < 1:
        raise SpecError(f"--jobs {jobs}: write a number from 1 on")
    if one and not one.is_dir():
        raise SpecError(f"{one}: no such folder; name the one with the graded files")
    kind = sandbox.NONE if trusted else sandbox.choose_sandbox()
    base = build_base(kind)
    _check_memory(jobs, base.grading.limits.memory)
    _grade_solution(base)
    if one:
        grade_folder(one, one.parent / "results.json", base)
        print(one.parent / "results.json")
        return 0
    students = load_submissions()

    def work(username: str, alone: bool) -> bool:
        path = RESULTS / username / "results.json"
        return grade_folder(FOLDER / username, path, base, alone)

    columns = (TextColumn("grading"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns) as bar, ThreadPoolExecutor(jobs) as pool:
        task = bar.add_task("", total=len(students))
        futures = {pool.submit(work, s.username, jobs == 1): s.username for s in students}
        contested = []
        try:
            for done in as_completed(futures):
                if done.result():
                    bar.advance(task)
                else:
                    contested.append(futures[done])
            for username in sorted(contested):
                work(username, True)
                bar.advance(task)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    print(f"{len(students)} submissions graded: {RESULTS}. Next: python scripts/course.py publish")
    return 0


def _check_memory(jobs: int, most: int) -> None:
    """Refuse where submissions side by side could fill this machine: it would end anybody's.

    Raises:
        SpecError: so many submissions may take more than there is.
    """
    megabytes = sandbox.MEMORY >> 20
    if jobs > 1 and jobs * most > megabytes:
        what = (
            f"{jobs} submissions may take {jobs * most} MB of memory, this machine has {megabytes}"
        )
        raise SpecError(f"--jobs {jobs}: {what}; write --jobs {max(1, megabytes // most)}")


def _grade_solution(base: Base) -> None:
    """Grade the teacher's own solution first: where it fails, the fault is not the students'.

    Raises:
        SpecError: it does not get all points.
    """
    result = RESULTS / ".solution" / "results.json"  # no student's name
    if read_result(result).get("score", 0) < base.most:
        result.unlink(missing_ok=True)  # perhaps what was missing has been installed since
    grade_folder(ROOT, result, base)
    score, most = read_result(result)["score"], base.most
    if score < most:
        log = result.with_name("log.txt")
        raise SpecError(
            f"the solution gets {score:g} of {most:g} points, nobody is graded; see {result} and {log}"
        )


@dataclass(frozen=True)
class Base:
    """What every submission is graded with."""

    files: dict[str, bytes]  # the release, with all tests and the hidden features
    assignment: Assignment
    grading: Grading
    kind: str  # of sandbox

    @cached_property
    def tests(self) -> tuple[str, ...]:
        """The names of all tests, from a run on the solution: a submission may invent others."""
        return tuple(run_tests(ROOT))

    @cached_property
    def digest(self) -> str:
        """One text for all that a grade depends on, beside the submission."""
        return digest(self.files, repr(self.grading))

    @property
    def most(self) -> float:
        """Points that can be reached."""
        return self.grading.tests * len(self.tests) + self.grading.accuracy[-1][1]


def build_base(kind: str) -> Base:
    """Read this repo.

    Raises:
        SpecError: a marker, assignment.yaml or grading.yaml is wrong.
    """
    files, _, _ = strip_repo()
    grading = load_grading()
    for path in (ROOT / TESTS).rglob("*.py"):
        files[str(path.relative_to(ROOT))] = path.read_bytes()
    files[grading.features.name] = grading.features.read_bytes()
    files[RUN] = Path(__file__).with_name("inside.py").read_bytes()
    return Base(files, load_assignment(), grading, kind)


def grade_folder(folder: Path, result: Path, base: Base, alone: bool = True) -> bool:
    """Grade the submission in a folder, and write its results.json.

    Raises:
        SpecError: the sandbox does not start.

    Returns:
        False: it ran out of time or memory beside others, and has no result.
    """
    own = read_own(folder, base.assignment.graded)
    about = {"base": base.digest, "files": digest(own)}
    if read_result(result).get("extra_data") == about:
        return True
    begin = time.monotonic()
    output, why = {}, "nothing was handed in"
    if own:
        with tempfile.TemporaryDirectory(prefix="grade-") as work:
            Path(work).chmod(0o755)  # another user reads it
            write_files(Path(work), {**base.files, **own})
            words = [RUN, TESTS, base.grading.features.name, *base.assignment.flags]
            limits, kind = base.grading.limits, base.kind
            try:
                outcome = sandbox.run(*words, folder=Path(work), limits=limits, kind=kind)
            except SpecError as error:  # is not the submission's fault: no grade
                raise SpecError(f"{folder}: {error}") from None
        if outcome.contested and not alone:
            return False
        output, why = read_output(outcome)
        result.parent.mkdir(parents=True, exist_ok=True)
        write_file(
            result.with_name("log.txt"), outcome.log
        )  # for the teacher: it may quote hidden tests
    scored = score(own, output, why, base)
    seconds = round(time.monotonic() - begin, 1)
    scored |= {"execution_time": seconds, "extra_data": about}
    result.parent.mkdir(parents=True, exist_ok=True)
    write_file(result, json.dumps(scored, indent=1, ensure_ascii=False) + "\n")
    return True


def read_result(path: Path) -> dict:
    """A results.json; {} where there is none that can be read."""
    try:
        return dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return {}


def read_own(folder: Path, graded: tuple[str, ...]) -> dict[str, bytes]:
    """The graded files in a submission's folder. A link out of it would show a file of the teacher's."""
    paths = {name: Path(os.path.realpath(folder / name)) for name in graded}
    inside = os.path.realpath(folder)
    return {
        name: path.read_bytes()
        for name, path in paths.items()
        if path.is_relative_to(inside) and path.is_file() and path.stat().st_size <= MOST
    }


def digest(files: dict[str, bytes], more: str = "") -> str:
    """One text for the names and bytes of all these files."""
    hasher = hashlib.sha256(more.encode())
    for name in sorted(files):
        hasher.update(f"{name}\0{len(files[name])}\0".encode() + files[name])
    return hasher.hexdigest()


def read_output(outcome: sandbox.Outcome) -> tuple[dict, str]:
    """What a submission printed, and why it has no predictions: "" where it has."""
    try:
        output = json.loads(outcome.output)
        assert isinstance(output["report"], str) and isinstance(output["predictions"], list)
    except (ValueError, KeyError, TypeError, AssertionError, RecursionError):
        output = {"report": "", "predictions": []}
    why = f"stopped: it {outcome.stopped}" if outcome.stopped else ""
    if not why and not output["predictions"]:
        why = "it made no predictions; your teacher has the log"
    return output, why


def score(own: dict, output: dict, why: str, base: Base) -> dict:
    """The results of a submission, in Gradescope's form."""
    grading, passed = base.grading, _read_tests(output.get("report", ""))
    cases = []
    for name in base.tests:
        points = grading.tests if passed.get(name) else 0.0
        text = "passed" if points else "failed"
        short = name.rpartition(".")[2]
        cases.append({"name": short, "score": points, "max_score": grading.tests, "output": text})
    accuracy = measure_accuracy(output.get("predictions", []), grading.labels)
    points = grading.rate(accuracy) if accuracy is not None else 0.0
    text = why or "the predictions are not one answer with a class for each row"
    if accuracy is not None:
        _, low, high = wilson(accuracy * len(grading.labels), len(grading.labels))
        text = f"{accuracy:.1%} of {len(grading.labels)} predictions are right (95 % interval {low:.1%} to {high:.1%})"
    prediction = {
        "name": "predictions",
        "score": points,
        "max_score": grading.accuracy[-1][1],
        "output": text,
    }
    cases = [{**case, "visibility": "visible"} for case in [*cases, prediction]]
    board = [] if accuracy is None else [{"name": "accuracy", "value": round(accuracy, 4)}]
    return {
        "output": f"Handed in: {', '.join(sorted(own)) or 'nothing'}",
        "score": round(sum(case["score"] for case in cases), 2),
        "tests": cases,
        "leaderboard": board,
    }


def _read_tests(report: str) -> dict[str, bool]:
    if not report or "<!" in report:  # a definition of entities could grow without end
        return {}
    try:
        return read_report(report.encode())
    except (ElementTree.ParseError, ValueError, LookupError):  # or of no encoding that there is
        return {}


def measure_accuracy(lines: list, labels: tuple[str, ...]) -> float | None:
    """The share of right answers; None where the lines are not one answer for each label."""
    if len(lines) != len(labels):
        return None
    right = 0
    for line, label in zip(lines, labels, strict=True):
        try:
            right += str(json.loads(line)["class"]) == label
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
    return right / len(labels)
