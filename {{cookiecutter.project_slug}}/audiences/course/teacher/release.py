"""`course.py release OUT`: the students' repo, proven before its first byte is written.

OUT is a git repo whose history is one line of releases: a student gets a later fix by `git pull`.
"""

from __future__ import annotations

import hashlib
import html
import io
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from course.assignment import FOLDER, ROOT, TESTS, load_assignment
from launcher.common.document import SpecError
from teacher.grading import load_grading
from teacher.markers import Block, MarkerError, strip_file

HIDDEN = ("teacher/",)  # what students never get
LEAST = 40  # characters: a shorter hidden file is looked for as a whole file only
NAME = "release"  # the branch, and the mark of a repo that we made
EMAIL = "teacher@localhost"  # of whoever releases
AUTHOR = ["-c", "user.name=Teacher", "-c", f"user.email={EMAIL}"]


def release(out: Path) -> int:
    """Strip, prove, and commit to OUT.

    Raises:
        SpecError: why nothing was released, a line each.
    """
    assignment, grading = load_assignment(), load_grading()
    files, hidden, blocks = strip_repo()
    untracked = run_git(ROOT, "ls-files", "--others", "--exclude-standard", "-z", "--", FOLDER)
    names = {*filter(None, untracked.split("\0")), *assignment.graded}
    if missing := sorted(names - set(files)):
        what = "not in git, so no student gets it; git add it, or remove it"
        raise SpecError(*(f"{name}: {what}" for name in missing))
    past = _read_history(out)
    _prove_removed(files, hidden, blocks, past)
    _prove_labels(files, grading.labels)
    passed = _prove_tests(files)
    commit = _commit(out, files)
    print(f"{passed} tests: the solution passes all, the stub fails all.")
    print(f"{len(blocks)} blocks and {len(hidden)} files are in no commit of {out}.")
    print(f"Released {commit}: {len(files)} files in {out}")
    return 0


def strip_repo(root: Path = ROOT) -> tuple[dict[str, bytes], dict[str, bytes], list[Block]]:
    """The tracked files of this repo.

    Returns:
        files as students get them; files that they never get; blocks that were removed.

    Raises:
        SpecError: a marker is wrong; all of them, with file and line.
    """
    names = run_git(root, "ls-files", "-z").split("\0")
    files, hidden, blocks, faults = {}, {}, [], []
    for name in filter(None, names):
        if not (root / name).is_file():
            faults.append(f"{name}: tracked by git and not there; restore it or remove it from git")
            continue
        data = (root / name).read_bytes()
        if name.startswith(HIDDEN):
            hidden[name] = data
            continue
        if (root / name).is_symlink():
            faults.append(f"{name}: a link; put what it shows into git in its place, or nothing")
            continue
        if name.endswith(".pyc"):  # may hold a solution; Python makes it again
            continue
        try:
            files[name], removed = strip_file(name, data)
            blocks += removed
        except MarkerError as error:
            faults.append(str(error))
    if not blocks and not faults:
        faults.append("no file has a ### BEGIN SOLUTION; there is nothing to hide")
    if faults:
        raise SpecError(*"\n".join(faults).splitlines())
    return files, hidden, blocks


def _prove_removed(files, hidden, blocks: list[Block], past: list[bytes]) -> None:
    """Look for each removed block and hidden file in what is released, and in what was.

    Raises:
        SpecError: one is there.
    """
    digests = {hashlib.sha256(data).digest(): name for name, data in hidden.items() if data.strip()}
    secrets = [
        (f"{block.file}:{block.line}: the block", _normalize("\n".join(block.lines)))
        for block in blocks
    ]
    texts = ((name, _normalize(data.decode(errors="replace"))) for name, data in hidden.items())
    secrets += [(name, text) for name, text in texts if len(text) >= LEAST]
    faults = []
    for path, whole in [*files.items(), *(("its git history", data) for data in past)]:
        for name, data in _open_zips(path, whole):
            if secret := digests.get(hashlib.sha256(data).digest()):
                faults.append(f"{name}: equals {secret}, which students must not get")
            single = data.replace(b"\0", b"").lstrip(b"\xff\xfe").decode("latin-1")  # UTF-16, too
            text = _normalize(data.decode("utf-8-sig", errors="replace") + "\n" + single)
            faults += [
                f"{what} stands in {name}, too; remove it there, or make the block longer"
                for what, secret in secrets
                if secret.strip() and secret in text
            ]
    if faults:
        raise SpecError(*dict.fromkeys(faults))


def _prove_labels(files: dict[str, bytes], labels: tuple[str, ...]) -> None:
    """Look for the hidden labels, in their order, in the columns of tables.

    Raises:
        SpecError: a table has them: who knows it knows the answers.
    """
    secret = "\n".join(["", *labels, ""])
    for name, data in files.items():
        if name.lower().endswith((".csv", ".tsv", ".txt")) and len(secret) >= LEAST:
            lines = data.decode("utf-8-sig", errors="replace").splitlines()
            cells = ([cell.strip(' "') for cell in re.split("[,;\t]", line)] for line in lines)
            for number, column in enumerate(zip_longest(*cells, fillvalue=""), 1):
                if secret in "\n".join(["", *column, ""]):
                    what = f"column {number} has the hidden labels in their order"
                    raise SpecError(f"{name}: {what}; shuffle the hidden rows, features and labels")


def _normalize(text: str) -> str:
    """Lines without what a copy may change: blanks, quotes, HTML's tags, marks of comments and citations."""
    text = re.sub(r"<[^<>\n]*>", "", html.unescape(text.replace("\\n", "\n")))
    lines = (re.sub(r"""^\W+|[\s,"'\\]""", "", line) for line in text.splitlines())
    return "\n" + "\n".join(filter(None, lines)) + "\n"


def _open_zips(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """A file, and the files in it if it is a zip.

    Raises:
        SpecError: it is a zip that cannot be read.
    """
    yield name, data
    if zipfile.is_zipfile(io.BytesIO(data)):
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                members = {member: archive.read(member) for member in archive.namelist()}
        except Exception as error:  # a broken zip breaks zipfile in many ways
            raise SpecError(f"{name}: a zip that cannot be read ({error}); remove it") from None
        for member, content in members.items():
            yield from _open_zips(f"{name}/{member}", content)


def _prove_tests(files: dict[str, bytes]) -> int:
    """Run all tests, hidden ones too, on the solution and on the stub; return how many there are.

    Raises:
        SpecError: the solution fails one, or the stub passes one.
    """
    with tempfile.TemporaryDirectory(prefix="release-") as folder:
        stub = Path(folder, "stub")
        write_files(stub, files)
        for path in (ROOT / TESTS).rglob("*.py"):  # whole, with the hidden ones
            write_files(stub, {str(path.relative_to(ROOT)): path.read_bytes()})
        solved, stubbed = run_tests(ROOT), run_tests(stub)
    faults = [
        f"{name}: the solution fails it; repair one of them" for name in solved if not solved[name]
    ]
    faults += [f"{name}: the stub passes it; let it look at what students write"
               for name in solved if stubbed.get(name)]  # fmt: skip
    if not solved:
        faults = [f"{TESTS}: no test ran; run python -m pytest {TESTS}"]
    if faults:
        raise SpecError(*faults)
    return len(solved)


def run_tests(root: Path) -> dict[str, bool]:
    """{test: whether it passed} of the assignment's tests in a repo that we trust."""
    with tempfile.TemporaryDirectory(prefix="tests-") as folder:
        report = Path(folder, "report.xml")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir=."]
        subprocess.run([*command, f"--junit-xml={report}", TESTS], cwd=root, capture_output=True)
        return read_report(report.read_bytes()) if report.exists() else {}


def read_report(data: bytes) -> dict[str, bool]:
    """{test: whether it passed} from a report in JUnit's form; skipped is not passed."""
    cases = ElementTree.fromstring(data).iter("testcase")
    return {f"{case.get('classname')}.{case.get('name')}": len(case) == 0 for case in cases}


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _read_history(out: Path) -> list[bytes]:
    """Every file and message in the git folder of OUT, those that no commit has any more, too.

    Raises:
        SpecError: OUT is something else than an earlier release, or has changes.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return []
    if not (out / ".git").is_dir() or run_git(out, "config", f"{NAME}.ours", check=False) != "true":
        raise SpecError(f"{out}: exists and is no release of ours; name a new folder")
    if run_git(out, "status", "--porcelain"):
        what = "has changes of its own; make them in this repo"
        raise SpecError(f"{out}: {what}, then put those away: git -C {out} stash -u")
    objects = run_git(out, "cat-file", "--batch-all-objects", "--batch-check").splitlines()
    return [
        subprocess.run(["git", "cat-file", kind, name], cwd=out, capture_output=True).stdout
        for name, kind, _ in map(str.split, objects)
        if kind != "tree"
    ]


def _commit(out: Path, files: dict[str, bytes]) -> str:
    """Make OUT's files these, in a commit on top of the earlier releases."""
    if not (out / ".git").is_dir():
        out.mkdir(parents=True, exist_ok=True)
        run_git(out, "init", "-q", "--template=", "-b", "main")
        run_git(out, "config", f"{NAME}.ours", "true")
    old = list(filter(None, run_git(out, "ls-files", "-z").split("\0")))
    for name in old:
        if name not in files:
            (out / name).unlink()
    write_files(out, files)
    # These names alone: what was run in OUT left files there that nobody has proven, such as *.pyc.
    names = "\0".join([*old, *files]).encode()
    run_git(out, "update-index", "--add", "--remove", "--replace", "-z", "--stdin", input=names)
    source = run_git(ROOT, "rev-parse", "--short", "HEAD", check=False) or "no commit"
    settings = ["-c", "commit.gpgSign=false", *AUTHOR]
    if run_git(out, "status", "--porcelain"):
        settings += ["commit", "-q", "--no-verify", f"--author=Teacher <{EMAIL}>"]
        run_git(out, *settings, "-m", f"Release of {source}")
    return run_git(out, "rev-parse", "--short", "HEAD")


def run_git(folder: Path, *words: str, check: bool = True, input: bytes | None = None) -> str:
    """What git prints in a folder, without the last line break.

    Raises:
        SpecError: it fails, with its own words.
    """
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, input=input)
    if check and done.returncode:
        raise SpecError(
            f"git {words[0]} in {folder}: {done.stderr.decode(errors='replace').strip()}"
        )
    return done.stdout.decode(errors="replace").removesuffix("\n")
