"""`course.py grade`: points for each submission, in teacher/results/USERNAME/results.json (Gradescope's form).

A submission's graded files are laid over the released repo, with the teacher's tests on top. In a
sandbox it trains and predicts the hidden features. Its predictions are compared here with labels
that it never sees. Nothing of a submission is imported or unpickled here.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from codec.intervals import wilson
from course.assignment import ROOT, TESTS, Assignment, load_assignment
from launcher.common.document import SpecError
from launcher.common.files import write_file
from teacher import sandbox
from teacher.collect import FOLDER, load_submissions
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
    if not trusted:
        sandbox.check_sandbox()
    base = build_base()
    _grade_solution(base, trusted)
    if one:
        grade_folder(one, one.parent / "results.json", base, 0, trusted)
        print(one.parent / "results.json")
        return 0
    students = load_submissions()
    slots: queue.SimpleQueue[int] = queue.SimpleQueue()
    for slot in range(jobs):
        slots.put(slot)

    def work(username: str) -> None:
        slot = slots.get()
        try:
            path = RESULTS / username / "results.json"
            grade_folder(FOLDER / username, path, base, slot, trusted)
        finally:
            slots.put(slot)

    columns = (TextColumn("grading"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns) as bar, ThreadPoolExecutor(jobs) as pool:
        task = bar.add_task("", total=len(students))
        futures = [pool.submit(work, student.username) for student in students]
        try:
            for done in as_completed(futures):
                done.result()
                bar.advance(task)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    print(f"{len(students)} submissions graded: {RESULTS}. Next: python scripts/course.py publish")
    return 0


def _grade_solution(base: Base, trusted: bool) -> None:
    """Grade the teacher's own solution first: where it fails, the fault is not the students'.

    Raises:
        SpecError: it does not get all points.
    """
    result = RESULTS / ".solution" / "results.json"  # no student's name
    grade_folder(ROOT, result, base, 0, trusted)
    score, most = json.loads(result.read_bytes())["score"], base.most
    if score < most:
        log = result.with_name("log.txt")
        raise SpecError(
            f"the solution gets {score:g} of {most:g} points, nobody is graded; see {result} and {log}"
        )


@dataclass(frozen=True)
class Base:
    """What every submission is graded with."""

    files: dict[str, bytes]  # the release, with all tests and the hidden features
    tests: tuple[
        str, ...
    ]  # their names, from a run on the solution: a submission may invent others
    assignment: Assignment
    grading: Grading

    @property
    def most(self) -> float:
        """Points that can be reached."""
        return self.grading.tests * len(self.tests) + self.grading.accuracy[-1][1]


def build_base() -> Base:
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
    return Base(files, tuple(run_tests(ROOT)), load_assignment(), grading)


def grade_folder(folder: Path, result: Path, base: Base, slot: int, trusted: bool) -> None:
    """Grade the submission in a folder, and write its results.json."""
    own = read_own(folder, base.assignment.graded)
    about = {"graded": digest({**base.files, **own}, repr(base.grading)), "files": digest(own)}
    if result.exists() and json.loads(result.read_bytes()).get("extra_data") == about:
        return
    begin = time.monotonic()
    output, why = {}, "nothing was handed in"
    if own:
        with tempfile.TemporaryDirectory(prefix="grade-") as work:
            Path(work).chmod(0o755)  # another user reads it
            write_files(Path(work), {**base.files, **own})
            flags = base.assignment.flags
            command = [sys.executable, RUN, TESTS, base.grading.features.name, *flags]
            outcome = sandbox.run(command, Path(work), base.grading.limits, slot, trusted)
        output, why = read_output(outcome)
        result.parent.mkdir(parents=True, exist_ok=True)
        write_file(
            result.with_name("log.txt"), outcome.log
        )  # for the teacher: it may quote hidden tests
    scored = score(output, why, base)
    seconds = round(time.monotonic() - begin, 1)
    scored |= {"execution_time": seconds, "extra_data": about}
    result.parent.mkdir(parents=True, exist_ok=True)
    write_file(result, json.dumps(scored, indent=1, ensure_ascii=False) + "\n")


def read_own(folder: Path, graded: tuple[str, ...]) -> dict[str, bytes]:
    """The graded files in a submission's folder. A link out of it would show a file of the teacher's."""
    paths = {name: Path(os.path.realpath(folder / name)) for name in graded}
    inside = os.path.realpath(folder)
    return {
        name: path.read_bytes()
        for name, path in paths.items()
        if path.is_file() and path.is_relative_to(inside)
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


def score(output: dict, why: str, base: Base) -> dict:
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
        "score": round(sum(case["score"] for case in cases), 2),
        "tests": cases,
        "leaderboard": board,
    }


def _read_tests(report: str) -> dict[str, bool]:
    if not report or "<!" in report:  # a definition of entities could grow without end
        return {}
    try:
        return read_report(report.encode())
    except ElementTree.ParseError:
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
