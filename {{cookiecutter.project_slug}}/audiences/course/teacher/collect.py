"""`course.py collect ROSTER FROM`: what each student handed in, in teacher/submissions/.

FROM is a folder of zips (as an LMS gives them; one username is in the name), a folder of repos
(FROM/USERNAME), or an address with {username} in it. Of a repo the newest commit before the deadline
counts, by the date that git recorded; without one the newest commit, marked late.
"""

from __future__ import annotations

import csv
import subprocess
import tempfile
import zipfile
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from pathlib import Path
from unicodedata import normalize

from course.assignment import ROOT, load_assignment
from launcher.common.document import SpecError
from launcher.common.files import replacing
from launcher.common.times import parse_time
from teacher.grading import load_grading
from teacher.release import run_git, write_files

FOLDER = ROOT / "teacher" / "submissions"
TABLE = "submissions.csv"
MOST = 5 << 20  # bytes of a file; code is smaller


@dataclass
class Submission:
    """A line of submissions.csv."""

    username: str
    name: str = ""
    email: str = ""
    section: str = ""
    time: str = ""  # RFC 3339, UTC
    late: str = ""  # "late" or ""
    note: str = ""  # what is missing, or why there is nothing


def collect(roster: Path, source: str) -> int:
    """Fill teacher/submissions/ with the graded files of each student.

    Raises:
        SpecError: the roster or the source cannot be read.
    """
    due = load_grading().due
    students = read_roster(roster)
    FOLDER.mkdir(parents=True, exist_ok=True)
    if "{username}" not in source and not Path(source).is_dir():
        raise SpecError(
            f"{source}: no such folder; name one, or an address with {{username}} in it"
        )
    archives = assign_archives(Path(source), [student.username for student in students])
    print(
        f"Deadline: {due.isoformat()}, which is {due.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"
    )
    for student in students:
        files = _fetch(student, source, archives.get(student.username, []), due)
        missing = [name for name in load_assignment().graded if name not in files]
        if missing and not student.note:
            student.note = f"without {', '.join(missing)}"
        folder = FOLDER / student.username
        for path in folder.rglob("*"):  # of an earlier collection: each is a graded file
            if path.is_file() and str(path.relative_to(folder)) not in files:
                path.unlink()
        write_files(folder, files)
        print(
            f"  {student.username}: {student.time or 'nothing'} {student.late} {student.note}".rstrip()
        )
    with (
        replacing(FOLDER / TABLE) as partial,
        open(partial, "w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.DictWriter(file, [field.name for field in fields(Submission)])
        writer.writeheader()
        writer.writerows(map(asdict, students))
    late = sum(bool(student.late) for student in students)
    print(f"{len(students)} students, {late} late: {FOLDER / TABLE}")
    return 0


def read_roster(path: Path) -> list[Submission]:
    """The students of a CSV with the columns username, first_name, last_name, email, section.

    Raises:
        SpecError: it cannot be read, has no usernames, or one that is no name of a folder, or twice.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            rows = list(table)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SpecError(f"{path}: cannot be read ({error})") from None
    if "username" not in (table.fieldnames or ()):
        what = "no column username; begin with the line"
        raise SpecError(f"{path}:1: {what} username,first_name,last_name,email,section")
    students: dict[str, Submission] = {}
    for number, row in enumerate(rows, 2):
        username = normalize("NFC", (row.get("username") or "").strip())
        if (
            not username
            or not all(c.isalnum() or c in "-_." for c in username)
            or username[0] == "."
            or username.endswith((".csv", ".html"))  # names of our own files
        ):
            raise SpecError(
                f"{path}:{number}: username: {username!r} is none; use letters, digits, -, _ and ."
            )
        if username.lower() in students:
            raise SpecError(f"{path}:{number}: username: {username} stands twice; keep one")
        name = f"{row.get('first_name') or ''} {row.get('last_name') or ''}".strip()
        student = Submission(username, name, row.get("email") or "", row.get("section") or "")
        students[username.lower()] = student
    if not students:
        raise SpecError(f"{path}: no student; write a line with username and one for each student")
    return list(students.values())


def assign_archives(folder: Path, usernames: list[str]) -> dict[str, list[Path]]:
    """{username: the zips of a folder that have it in their name}; print the zips of nobody.

    Raises:
        SpecError: a zip has two usernames in its name, neither of which is a part of the other.
    """
    archives: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.zip")):
        names = [name for name in usernames if _names(path.stem, name)]
        owner = max(names, key=len, default="")
        rivals = [n for n in names if n != owner and (_names(n, owner) or not _names(owner, n))]
        if rivals:
            raise SpecError(f"{path}: names both {owner} and {rivals[0]}; rename it")
        if not owner:
            print(f"  {path.name}: names nobody of the roster")
        archives.setdefault(owner, []).append(path)
    return archives


def _names(stem: str, username: str) -> bool:
    """True for "ada", "ada_submission", "hw1-ada_4711"."""
    words, name = (normalize("NFC", x).lower().replace("-", "_") for x in (stem, username))
    return f"_{name}_" in f"_{words}_"


def _fetch(
    student: Submission, source: str, archives: list[Path], due: datetime
) -> dict[str, bytes]:
    """The graded files of one student; its time, whether it is late, and what went wrong."""
    remote = "{username}" in source
    address = source if remote else str(Path(source, "{username}"))
    address = address.replace("{username}", student.username)
    if remote or Path(address, ".git").exists():
        # A clone, of a folder too: it leaves behind the student's settings of git, which run programs.
        with tempfile.TemporaryDirectory(prefix="clone-") as folder:
            clone = ["git", "clone", "-q", "--no-checkout", "--", address, folder]
            done = subprocess.run(clone, capture_output=True, stdin=subprocess.DEVNULL)
            if done.returncode:
                why = " ".join(done.stderr.decode(errors="replace").split())
                student.note = f"no clone of {address}: {why[-200:]}"
                return {}
            return _read_repo(student, Path(folder), due)
    if not archives:
        student.note = "nothing handed in"
        return {}
    newest = max(archives, key=lambda path: path.stat().st_mtime)
    _note_time(student, datetime.fromtimestamp(newest.stat().st_mtime, timezone.utc), due)
    return _read_zip(student, newest)


def _note_time(student: Submission, time: datetime, due: datetime) -> None:
    student.time = time.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    student.late = "late" if time > due else ""


def _read_repo(student: Submission, repo: Path, due: datetime) -> dict[str, bytes]:
    log = ["log", "--first-parent", "--format=%H %cI"]
    commits = run_git(repo, *log, "HEAD", check=False).splitlines()
    dated = [(line.split()[0], parse_time(line.split()[1])) for line in commits]
    if not dated:
        student.note = "the repo has no commit"
        return {}
    commit, time = next((pair for pair in dated if pair[1] <= due), dated[0])
    _note_time(student, time, due)
    files = {}
    for name in load_assignment().graded:
        kind = run_git(repo, "ls-tree", "-l", commit, "--", name, check=False).split()
        if len(kind) < 4 or kind[0] == "120000" or kind[1] != "blob":  # absent, or a link
            continue
        if int(kind[3]) <= MOST:
            blob = ["git", "cat-file", "blob", kind[2]]
            files[name] = subprocess.run(blob, cwd=repo, capture_output=True).stdout
    return files


def _read_zip(student: Submission, path: Path) -> dict[str, bytes]:
    """The graded files of a zip, whose names may stand in one folder more."""
    files = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                link = (info.external_attr >> 16) & 0o170000 == 0o120000
                for name in load_assignment().graded:
                    same = name in (info.filename, info.filename.split("/", 1)[-1])
                    if same and info.file_size <= MOST and not link:
                        files[name] = archive.read(info)
    except Exception as error:  # a broken zip breaks zipfile in many ways
        student.note = f"{path.name} is no zip that can be read ({error})"
        return {}
    return files


def load_submissions() -> list[Submission]:
    """What the last collection gave.

    Raises:
        SpecError: there was none.
    """
    path = FOLDER / TABLE
    if not path.exists():
        raise SpecError(
            f"{path}: not there; first run python scripts/course.py collect ROSTER FROM"
        )
    with open(path, encoding="utf-8", newline="") as file:
        return [Submission(**row) for row in csv.DictReader(file)]
