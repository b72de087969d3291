"""`course.py publish`: grades for the LMS, a page for each student, a leaderboard without names.

All of it is made from teacher/results/*/results.json, the single source of grades.
"""

from __future__ import annotations

import csv
import io
import tokenize
from pathlib import Path

import jinja2

from codec.intervals import wilson
from launcher.common.document import SpecError
from launcher.common.files import write_file
from teacher.collect import FOLDER, Submission, load_submissions
from teacher.grade import RESULTS, build_base, digest, read_own, read_result
from teacher.sandbox import NONE


def publish() -> int:
    """Write teacher/results/grades.csv, canvas.csv, moodle.csv, equal.csv, leaderboard.html and feedback pages.

    Raises:
        SpecError: a student is not graded yet, or with other labels, tests or files than those of now,
            or has handed in something else since.
    """
    students, base = load_submissions(), build_base(NONE)
    assignment, grading, results = base.assignment, base.grading, {}
    for student in students:
        path = RESULTS / student.username / "results.json"
        result = results[student.username] = read_result(path)
        own = read_own(FOLDER / student.username, assignment.graded)
        if result.get("extra_data") != {"base": base.digest, "files": digest(own)}:
            what = "no grade of what this repo and the submission have now"
            raise SpecError(f"{path}: {what}; first run python scripts/course.py grade")
    most = sum(test["max_score"] for test in next(iter(results.values()))["tests"])
    scores = {name: result["score"] for name, result in results.items()}

    head = ["username", "name", "score", "most", "late", "note"]
    rows = [[s.username, s.name, scores[s.username], most, s.late, s.note] for s in students]
    _write_table("grades.csv", head, rows)
    head = ["Student", "ID", "SIS Login ID", "Section", assignment.title]
    rows = [["    Points Possible", "", "", "", most]]
    rows += [[s.name, "", s.username, s.section, scores[s.username]] for s in students]
    _write_table("canvas.csv", head, rows)
    rows = [[s.username, s.email, scores[s.username], s.note] for s in students]
    _write_table("moodle.csv", ["Username", "Email address", "Grade", "Feedback comments"], rows)
    pairs = find_equal(students, assignment.graded, base.files)
    _write_table(
        "equal.csv", ["file", "usernames"], [[file, " ".join(names)] for file, names in pairs]
    )

    pages = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    common = {"title": assignment.title, "most": most}
    board = [
        result["leaderboard"][0]["value"] for result in results.values() if result["leaderboard"]
    ]
    bars = [
        wilson(share * len(grading.labels), len(grading.labels)) for share in sorted(board)[::-1]
    ]
    page = pages.get_template("leaderboard.html").render(
        bars=bars, rows=len(grading.labels), **common
    )
    write_file(RESULTS / "leaderboard.html", page)
    for student in students:
        page = pages.get_template("feedback.html")
        text = page.render(student=student, result=results[student.username], **common)
        write_file(RESULTS / student.username / "feedback.html", text)
    print(f"{len(students)} students: {RESULTS / 'grades.csv'}, leaderboard.html, */feedback.html")
    if pairs:
        print(f"{len(pairs)} files are equal in two submissions or more: equal.csv (no verdict)")
    return 0


def _write_table(name: str, head: list[str], rows: list[list]) -> None:
    text = io.StringIO()
    # A text that begins like a formula would be one in a spreadsheet.
    safe = [
        [f"'{x}" if isinstance(x, str) and x[:1] in ("=", "+", "-", "@") else x for x in row]
        for row in rows
    ]
    csv.writer(text, lineterminator="\n").writerows([head, *safe])
    write_file(RESULTS / name, text.getvalue())


def find_equal(
    students: list[Submission], graded: tuple[str, ...], released: dict[str, bytes]
) -> list[tuple[str, list[str]]]:
    """Files that several handed in alike but for comments and blanks: (file, usernames).

    A file as it was released is equal for all who left it alone, and is not listed.
    """
    pairs = []
    for name in graded:
        texts: dict[str, list[str]] = {}
        for student in students:
            path = FOLDER / student.username / name
            if path.is_file():
                texts.setdefault(_normalize(path.read_bytes()), []).append(student.username)
        texts.pop(_normalize(released.get(name, b"")), None)
        pairs += [(name, names) for names in texts.values() if len(names) > 1]
    return pairs


def _normalize(data: bytes) -> str:
    """The words of a Python file; of anything else, or of broken code, the text."""
    try:
        tokens = tokenize.tokenize(io.BytesIO(data).readline)
        skip = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
        return " ".join(token.string for token in tokens if token.type not in skip)
    except (tokenize.TokenError, SyntaxError, UnicodeError, LookupError):  # `# coding: rot13`, too
        return " ".join(data.decode(errors="replace").split())
