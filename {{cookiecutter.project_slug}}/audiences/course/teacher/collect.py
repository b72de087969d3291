"""`course.py collect ROSTER FROM`: what each student handed in, in teacher/submissions/.

FROM is a folder of zips (as an LMS gives them; one username is in the name), a folder of repos
(FROM/USERNAME), or an address with {username} in it. Of a repo the student's newest commit before the
deadline counts, by the date that git recorded; without one the newest commit, marked late. The commits
of a release are not the student's.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
import stat
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
from teacher.grading import load_grading
from teacher.release import EMAIL, run_git, write_files

FOLDER = ROOT / "teacher" / "submissions"
TABLE = "submissions.csv"
MOST = 5 << 20  # bytes of a file; code is smaller
PARTS = ("HEAD", "objects", "packed-refs", "refs", "shallow")  # of .git, what commits are made of


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

    def add_note(self, text: str) -> None:
        if text not in self.note:
            self.note = f"{self.note}; {text}" if self.note else text


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
        if missing and (files or not student.note):
            student.add_note(f"without {', '.join(missing)}")
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
        open(partial, "w", encoding="utf-8", errors="replace", newline="") as file,
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
            table = csv.DictReader(file, skipinitialspace=True)
            rows = [(table.line_num, row) for row in table]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SpecError(f"{path}: cannot be read ({error}); name a CSV in UTF-8") from None
    if "username" not in (table.fieldnames or ()):
        what = "no column username; begin with the line"
        raise SpecError(f"{path}:1: {what} username,first_name,last_name,email,section")
    students: dict[str, Submission] = {}
    for number, row in rows:
        if None in row:
            what = "more fields than the first line has; put a field with a comma in quotes"
            raise SpecError(f"{path}:{number}: {what}")
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
    for path in sorted(path for path in folder.glob("*.*") if path.suffix.lower() == ".zip"):
        stem = re.sub(r" ?\(\d+\)$", "", path.stem)  # a browser's second copy: ada (1).zip
        names = [name for name in usernames if _names(stem, name)]
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
    local = Path(address, ".git")
    if os.path.lexists(local) or remote:
        with tempfile.TemporaryDirectory(prefix="clone-") as folder:
            try:
                if os.path.lexists(local):
                    _copy_repo(local, Path(folder))
                else:
                    _clone(address, folder)
            except (SpecError, OSError) as error:
                why = f"no clone of {address}: {' '.join(str(error).split())[-200:]}"
                student.note = re.sub("//[^/ ]*@", "//", why)  # without a token: students see it
                return {}
            return _read_repo(student, Path(folder), due)
    if not archives:
        student.note = "nothing handed in" + " as a repo or a zip" * Path(address).exists()
        return {}
    newest = max(archives, key=lambda path: path.stat().st_mtime)
    _note_time(student, datetime.fromtimestamp(newest.stat().st_mtime, timezone.utc), due)
    files = _read_zip(student, newest)
    if len(archives) > 1:
        student.add_note(f"{len(archives)} zips, {newest.name} is the newest")
    return files


def _clone(address: str, folder: str) -> None:
    """Clone without files: a checkout would run the student's filters."""
    command = ["git", "clone", "-q", "--no-checkout", "--", address, folder]
    settings = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}  # fail, do not wait for a password
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, env=settings)
    if done.returncode:
        raise SpecError(done.stderr.decode(errors="replace"))


def _copy_repo(source: Path, folder: Path) -> None:
    """Copy what commits are made of. The rest of a student's .git could run programs, and links, or
    a path to another repo, would show the teacher's.

    Raises:
        SpecError, OSError: it is no folder, or cannot be read.
    """
    if source.is_symlink() or not source.is_dir():
        raise SpecError("its .git is no folder")
    if (source / "reftable").is_dir():
        raise SpecError(
            "git keeps its branches as a reftable; run git refs migrate --ref-format=files"
        )
    sha256 = any(len(path.stem) > 60 for path in source.glob("objects/*/*"))  # or sha1: 38, 45
    run_git(
        folder, "init", "-q", "--template=", f"--object-format={'sha256' if sha256 else 'sha1'}"
    )
    for root, _, names in os.walk(source):  # follows no link
        relative = Path(root).relative_to(source)
        if relative.parts[:2] == ("objects", "info"):
            continue
        for name in names:
            path, target = Path(root, name), folder / ".git" / relative / name
            if (relative / name).parts[0] in PARTS and stat.S_ISREG(path.lstat().st_mode):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)


def _note_time(student: Submission, time: datetime, due: datetime) -> None:
    student.time = time.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    student.late = "late" if time > due else ""


def _read_repo(student: Submission, repo: Path, due: datetime) -> dict[str, bytes]:
    log = ["log", "--first-parent", "--no-show-signature", "--format=%H %ct %ae", "HEAD", "--"]
    # Not splitlines(): an email may have odd characters.
    lines = filter(None, run_git(repo, *log, check=False).split("\n"))
    commits = [line.split(" ", 2) for line in lines]
    own = [(commit, _read_time(time)) for commit, time, email in commits if email != EMAIL]
    if not own:
        student.note = f"the repo has no commit{' but the releases' if commits else ''}"
        return {}
    chosen = next((i for i, (_, time) in enumerate(own) if time <= due), 0)
    commit, time = own[chosen]
    _note_time(student, time, due)
    if chosen:
        student.note = f"commits after the deadline, which do not count: {chosen}"
    files = {}
    for name in load_assignment().graded:
        kind = run_git(repo, "ls-tree", "-l", commit, "--", name, check=False).split()
        if len(kind) < 4 or kind[0] == "120000" or kind[1] != "blob":  # absent, or a link
            continue
        if kind[3].isdigit() and int(kind[3]) <= MOST:
            blob = ["git", "cat-file", "blob", kind[2]]
            done = subprocess.run(blob, cwd=repo, capture_output=True)
            if done.returncode == 0:
                files[name] = done.stdout
    return files


def _read_time(seconds: str) -> datetime:
    """The time of a commit; the end of all times for one that has none that can be read."""
    try:
        return datetime.fromtimestamp(int(seconds), timezone.utc)
    except (ValueError, OverflowError, OSError):
        return datetime.max.replace(tzinfo=timezone.utc)


def _read_zip(student: Submission, path: Path) -> dict[str, bytes]:
    """The graded files of a zip, whose names may stand in one folder more."""
    files, graded = {}, load_assignment().graded
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                link = (info.external_attr >> 16) & 0o170000 == 0o120000
                inside = info.filename.replace("\\", "/")  # some programs on Windows write these
                for name in graded:
                    same = name in (inside, inside.split("/", 1)[-1])
                    if same and info.file_size <= MOST and not link:
                        data = archive.read(info)
                        if files.setdefault(name, data) != data:
                            student.add_note(f"{path.name} has two of {name}, the last counts")
                        files[name] = data
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
    try:
        with open(path, encoding="utf-8", newline="") as file:
            students = [Submission(**row) for row in csv.DictReader(file)]
    except (TypeError, ValueError, csv.Error):  # saved by a spreadsheet
        students = []
    if not students:
        what = "not as collect wrote it"
        raise SpecError(f"{path}: {what}; run python scripts/course.py collect ROSTER FROM again")
    return students
