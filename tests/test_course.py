"""A course: releases that hide what they must, grades that hostile submissions cannot change."""

import csv
import json
import os
import shutil
import subprocess
import sys
import zipfile

import pytest

import answers
from conftest import PRODUCT

sys.path.append(str(PRODUCT / "audiences/course"))
from teacher.markers import MarkerError, strip_file

SOLUTION = "def f():\n    ### BEGIN SOLUTION\n    return 1\n    ### END SOLUTION\n"
STUB = 'def f():\n    raise NotImplementedError("write your code here")\n'

BROKEN = {  # {what a teacher wrote: the line of the error, and a part of it}
    "### BEGIN SOLUTION\nx = 1\n": (1, "without its END"),
    "x = 1\n### END SOLUTION\n": (2, "without its BEGIN"),
    "### BEGIN SOLUTION\n### BEGIN SOLUTION\nx = 1\n### END SOLUTION\n": (2, "inside the block"),
    "### BEGIN SOLUTION\nx = 1\n### END HIDDEN TESTS\n": (3, "use one kind"),
    "### BEGIN SOLUTION\n\n### END SOLUTION\n": (1, "the block is empty"),
    "### BEGIN SOLUTIONS\nx = 1\n### END SOLUTION\n": (1, "'### BEGIN SOLUTION'"),
    "### BEGN SOLUTION\nx = 1\n### END SOLUTION\n": (1, "'### BEGIN SOLUTION'"),
    "## BEGIN SOLUTION\nx = 1\n### END SOLUTION\n": (1, "'### BEGIN SOLUTION'"),
    "### begin solution\nx = 1\n### end solution\n": (1, "'### BEGIN SOLUTION'"),
    "###BEGIN SOLUTION\nx = 1\n###END SOLUTION\n": (1, "'### BEGIN SOLUTION'"),
    "### BEGIN SOLUTION # mine\nx = 1\n### END SOLUTION\n": (1, "'### BEGIN SOLUTION'"),
    "x = 1  ### BEGIN SOLUTION\ny = 2\n### END SOLUTION\n": (1, "on its own line"),
    "### BEGIN HIDDEN TEST\nx = 1\n### END HIDDEN TESTS\n": (1, "'### BEGIN HIDDEN TESTS'"),
    "### BEGIN ANSWER\nx = 1\n### END ANSWER\n": (1, "resembles a marker"),
    "BEGIN SOLUTION\nx = 1\nEND SOLUTION\n": (1, "'### BEGIN SOLUTION'"),
    "# ### BEGIN SOLUTION\nx = 1\n": (1, "'### BEGIN SOLUTION'"),
    "if x:\n    ### BEGIN HIDDEN TESTS\n    y()\n    ### END HIDDEN TESTS\n": (1, "not Python"),
}


def make_notebook(*sources, kind="code"):
    cells = [
        {"cell_type": kind, "source": s.splitlines(True), "outputs": [{"text": "42"}]}
        for s in sources
    ]
    return json.dumps({"cells": cells}).encode()


@pytest.mark.parametrize("text", BROKEN)
def test_a_wrong_marker_is_an_error_with_its_line(text):
    line, part = BROKEN[text]
    with pytest.raises(MarkerError) as caught:
        strip_file("a.py", text.encode())
    assert str(caught.value).startswith(f"a.py:{line}: ") and part in str(caught.value)
    with pytest.raises(MarkerError, match=r"a\.ipynb: cell 2"):
        strip_file("a.ipynb", make_notebook("x = 1\n", text))


@pytest.mark.parametrize("name", ["README.md", "assignment.yaml"])
def test_a_marker_in_another_file_is_an_error(name):
    with pytest.raises(MarkerError, match=f"{name}:2: markers work in .py and .ipynb files only"):
        strip_file(name, b"text\n### BEGIN SOLUTION\n")


def test_blocks_are_stripped():
    data, (block,) = strip_file("a.py", SOLUTION.encode())
    assert data.decode() == STUB and block.lines == ("return 1",)
    hidden = (
        "x = 1\n### BEGIN HIDDEN TESTS\ndef test_b():\n    pass\n\n\n### END HIDDEN TESTS\ny = 2\n"
    )
    assert strip_file("a.py", hidden.encode())[0] == b"x = 1\ny = 2\n"
    assert strip_file("a.py", SOLUTION.replace("\n", "\r\n").encode())[1][0].lines == ("return 1",)
    notebook = json.loads(strip_file("a.ipynb", make_notebook(SOLUTION))[0])
    assert "".join(notebook["cells"][0]["source"]) == STUB and notebook["cells"][0]["outputs"] == []
    usual = b"# the solution of this equation\n# end of the file\n"
    assert strip_file("a.py", usual) == (usual, [])


def works():
    """Whether bubblewrap works here."""
    command = ["bwrap", "--unshare-net", "--unshare-pid", "--ro-bind", "/", "/", "true"]
    return (
        bool(shutil.which("bwrap")) and subprocess.run(command, capture_output=True).returncode == 0
    )


SANDBOX = pytest.mark.skipif(not works(), reason="bubblewrap is not installed, or forbidden")


@pytest.fixture(scope="module")
def repo(bake):
    """A teacher's repo whose job trains for a moment."""
    project = bake(fresh=True, audience="course")
    path = project.path / "assignment/assignment.yaml"
    path.write_text(path.read_text().replace("--seed=1", "--seed=1, --epochs=1"))
    project.run(["git", "commit", "-qam", "One epoch"])
    return project


def run_course(repo, *words, check=True, **settings):
    return repo.run(["python", "scripts/course.py", *words], check=check, **settings)


def commit(repo, text="More"):
    repo.run(["git", "add", "-A"])
    repo.run(["git", "commit", "-qm", text])


@pytest.mark.slow
def test_a_research_repo_has_nothing_of_it(bake):
    names = {path.parts[0] for path in bake().files()}
    assert not names & {"assignment", "audiences", "course", "teacher"}
    assert not (bake().path / "scripts/course.py").exists()


@pytest.mark.slow
@pytest.mark.parametrize("problem", [kind for kind in answers.COURSES if kind != "tabular"])
def test_the_assignment_of_each_kind_is_released(bake, tmp_path, problem):
    done = run_course(bake(problem=problem, audience="course"), "release", tmp_path / "out")
    assert "the solution passes all, the stub fails all" in done.stdout


@SANDBOX
@pytest.mark.soak
@pytest.mark.parametrize("problem", answers.COURSES)
def test_the_solution_of_each_kind_gets_all_points(bake, tmp_path, problem):
    """`grade` refuses, where it does not."""
    repo = bake(problem=problem, audience="course")
    write_roster(tmp_path / "roster.csv", ["absent"])
    run_course(repo, "collect", tmp_path / "roster.csv", tmp_path)
    assert "1 submissions graded" in run_course(repo, "grade", timeout=900).stdout


@pytest.mark.slow
def test_release_then_a_fix_that_a_student_pulls(repo, tmp_path):
    out, student = tmp_path / "students", tmp_path / "ada"
    done = run_course(repo, "release", out)
    assert "the solution passes all, the stub fails all" in done.stdout
    assert not (out / "teacher").exists()
    assert "find_leak" in (out / "assignment/solution.py").read_text()
    assert "ring_number" not in (out / "assignment/solution.py").read_text()
    assert "test_no_leak" not in (out / "assignment/tests/test_solution.py").read_text()

    def git(*words):
        return subprocess.run(
            ["git", *words], cwd=student, check=True, capture_output=True, text=True
        ).stdout

    subprocess.run(["git", "clone", "-q", out, student], check=True)
    own = (student / "assignment/solution.py").read_text().replace("DATA =", "MINE = 1\nDATA =")
    (student / "assignment/solution.py").write_text(own)
    git("commit", "-qam", "My work")
    page = repo.path / "assignment/README.md"
    page.write_text(page.read_text() + "\nA hint.\n")
    commit(repo)
    run_course(repo, "release", out)
    git("pull", "-q", "--no-rebase", "--no-edit")
    assert "MINE = 1" in (student / "assignment/solution.py").read_text()
    assert "A hint." in (student / "assignment/README.md").read_text()
    history = subprocess.run(
        ["git", "log", "--format=%P"], cwd=out, capture_output=True, text=True
    ).stdout
    assert all(len(line.split()) <= 1 for line in history.splitlines())  # one line

    (out / "own.txt").write_text("the teacher's own file\n")
    assert "has changes of its own" in run_course(repo, "release", out, check=False).stderr


LEAKS = {  # {a file of the teacher's repo: (what is added to it, a part of the error)}
    "docs/hint.md": (
        'Try:\n\n    most = max(labels.count(label) for label in set(labels))\n    return most / len(labels)\n',
        "the block stands in docs/hint.md, too",
    ),
    "docs/labels.csv": (None, "equals teacher/hidden/labels.csv"),
    "assignment/tests/test_more.py": ("def test_nothing():\n    pass\n", "the stub passes it"),
    "assignment/tests/test_wrong.py": (
        "from assignment.solution import share_of_majority\n\n\n"
        "def test_wrong():\n    assert share_of_majority(['a']) == 2\n",
        "the solution fails it",
    ),
    "assignment/more.py": ("# BEGIN SOLUTON\n", "assignment/more.py:1:"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", LEAKS)
def test_what_would_leak_is_not_released(repo, tmp_path, name):
    text, part = LEAKS[name]
    path = repo.path / name
    path.write_text(text or (repo.path / "teacher/hidden/labels.csv").read_text())
    repo.run(["git", "add", name])
    try:
        done = run_course(repo, "release", tmp_path / "out", check=False)
    finally:
        repo.run(["git", "rm", "-qf", name])
    assert done.returncode == 2 and part in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_release_goes_into_no_other_folder(repo, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    done = run_course(repo, "release", tmp_path, check=False)
    assert done.returncode == 2 and "is no release of ours" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.slow
def test_a_history_with_an_answer_is_found(repo, tmp_path):
    out = tmp_path / "out"
    run_course(repo, "release", out)
    (out / "old.py").write_text((repo.path / "assignment/solution.py").read_text())
    for words in (
        ["add", "-A"],
        ["commit", "-qm", "Oops"],
        ["rm", "-q", "old.py"],
        ["commit", "-qm", "No"],
    ):
        subprocess.run(["git", *words], cwd=out, check=True)
    done = run_course(repo, "release", out, check=False)
    assert done.returncode == 2 and "stands in its git history, too" in done.stderr


@pytest.mark.slow
def test_a_student_checks_and_submits(repo, tmp_path):
    out = tmp_path / "out"
    run_course(repo, "release", out)
    student = [sys.executable, "scripts/course.py"]
    done = subprocess.run([*student, "check"], cwd=out, capture_output=True, text=True)
    assert done.returncode == 1 and "write your code here" in done.stdout
    assert "Three of four labels are equal" in done.stdout  # what a test looks at
    done = subprocess.run([*student, "train"], cwd=out, capture_output=True, text=True)
    assert done.returncode == 2 and "choose_columns has no code yet" in done.stderr
    for text, part in (("def (", ":2: SyntaxError"), ("raise KeyError(3)", ":2: KeyError: 3")):
        (out / "assignment/solution.py").write_text(f"# mine\n{text}\n")
        done = subprocess.run([*student, "train"], cwd=out, capture_output=True, text=True)
        assert done.returncode == 2 and part in done.stderr and done.stderr.count("\n") == 1
    (out / "assignment/solution.py").write_text((repo.path / "assignment/solution.py").read_text())
    assert subprocess.run([*student, "check"], cwd=out, capture_output=True).returncode == 0
    first, second = out / "a.zip", out / "b.zip"
    for path in (first, second):
        subprocess.run(
            [*student, "submit", "--out", path], cwd=out, check=True, capture_output=True
        )
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        assert archive.namelist() == ["assignment/solution.py", "trainer/model.py"]
    done = subprocess.run([*student, "grade"], cwd=out, capture_output=True, text=True)
    assert done.returncode == 2 and "invalid choice" in done.stderr


@pytest.mark.slow
def test_without_a_sandbox_nothing_runs(repo):
    done = run_course(repo, "grade", check=False, PATH="/nowhere")
    assert done.returncode == 2 and "apt install bubblewrap" in done.stderr


# What students may hand in, {name: (what follows their solution, their points)}: 4 for the tests, 6
# for the predictions.
IDLE = "\ndef get_flags():\n    raise SystemExit\n"  # no training
ATTACKS = {
    "hog": ("\nx = []\nwhile True:\n    x.append(bytearray(10**8))\n", 0),
    "bomb": (
        "\nimport os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass\n",
        0,
    ),
    "forged": (
        "\nimport os\nreport = '<testsuite>' + 9 * '<testcase classname=\"a\" name=\"b\"/>' + '</testsuite>'\n"
        "open('/tmp/report.xml', 'w').write(report)\nprint('8 passed')\nos._exit(0)\n",
        0,
    ),
    "reader": (
        "\nimport os\nfor root in ('/submission', '/root', '/home', '/tmp', '/etc', '/var'):\n"
        "    for folder, _, names in os.walk(root):\n"
        "        assert 'labels.csv' not in names and 'grading.yaml' not in names, folder\n"
        "assert os.getuid() != 0 and not os.access('/submission', os.W_OK)\n" + IDLE,
        4,
    ),
    "caller": (
        "\nimport socket\ntry:\n    socket.create_connection(('1.1.1.1', 53), 2)\nexcept OSError:\n    pass\n"
        "else:\n    share_of_majority = None\n" + IDLE,
        4,
    ),
}
SLOW_ATTACKS = {
    "perfect": ("", 10),
    "loop": ("\nwhile True:\n    pass\n", 0),
    "equal": (
        "\nclass Always:\n    def __eq__(self, other):\n        return True\n    def __hash__(self):\n        return 0\n"
        "\ndef find_leak(rows, target):\n    return Always()\n" + IDLE,
        None,
    ),
    "filler": (
        "\ntry:\n    with open('/tmp/x', 'wb') as file:\n        while True:\n            file.write(bytes(10**7))\n"
        "except OSError:\n    pass\n" + IDLE,
        0,  # its disk is full before the tests can report
    ),
    "leaky": ("\ndef choose_columns():\n    return []\n", 5.5),
    "latin": ("\nNAME = 'Größe 研究'\n" + IDLE, 4),
}


def hand_in(folder, repo, name, more, model=None):
    solution = (repo.path / "assignment/solution.py").read_text(encoding="utf-8")
    with zipfile.ZipFile(folder / f"hw1_{name}_4711.zip", "w") as archive:
        archive.writestr("work/assignment/solution.py", solution + more)
        archive.writestr(
            "work/trainer/model.py", model or (repo.path / "trainer/model.py").read_text()
        )
        archive.writestr("../../evil.py", "evil")


def write_roster(path, names):
    lines = [f"{name},{name.title()},Student,{name}@example.org,A" for name in names]
    path.write_text("\n".join(["username,first_name,last_name,email,section", *lines]) + "\n")


def read_scores(repo):
    with open(repo.path / "teacher/results/grades.csv", newline="") as file:
        return {row["username"]: float(row["score"]) for row in csv.DictReader(file)}


def grade_all(repo, tmp_path, attacks, limit, jobs):
    path = repo.path / "teacher/grading.yaml"
    path.write_text(
        path.read_text().replace("seconds: 300, memory: 3000", f"seconds: {limit}, memory: 2000")
    )
    for name, (more, _) in attacks.items():
        hand_in(tmp_path, repo, name, more)
    write_roster(tmp_path / "roster.csv", [*attacks, "absent"])
    run_course(repo, "collect", tmp_path / "roster.csv", tmp_path)
    run_course(repo, "grade", "--jobs", jobs, timeout=1200)
    run_course(repo, "publish")
    expected = {name: points for name, (_, points) in attacks.items()} | {"absent": 0}
    scores = read_scores(repo)
    assert {name: scores[name] for name, points in expected.items() if points is not None} == {
        name: points for name, points in expected.items() if points is not None
    }
    return scores


@SANDBOX
@pytest.mark.slow
def test_hostile_submissions_get_what_they_deserve(repo, tmp_path):
    grade_all(repo, tmp_path, ATTACKS, 120, 1)
    results = repo.path / "teacher/results"
    before = {path: path.read_bytes() for path in results.rglob("results.json")}
    run_course(repo, "grade")  # nothing has changed: nothing runs
    assert before == {path: path.read_bytes() for path in results.rglob("results.json")}
    assert not list(repo.path.parent.rglob("evil.py"))
    result = json.loads((results / "reader/results.json").read_text())
    assert {case["visibility"] for case in result["tests"]} == {"visible"} and result["score"] == 4
    assert "4 of 10 points" in (results / "reader/feedback.html").read_text()
    assert "Reader" not in (results / "leaderboard.html").read_text()
    own = repo.path / "teacher/submissions/reader/assignment/solution.py"
    own.write_text(own.read_text() + "# again\n")
    done = run_course(repo, "publish", check=False)
    assert done.returncode == 2 and "run course.py grade first" in done.stderr


@pytest.mark.slow
def test_a_link_out_of_a_submission_is_not_followed(repo, tmp_path):
    """Gradescope unpacks what git has; the labels would lie in the sandbox under another name."""
    (tmp_path / "in/assignment").mkdir(parents=True)
    (tmp_path / "in/assignment/solution.py").write_text("x")
    (tmp_path / "in/trainer").mkdir()
    (tmp_path / "in/trainer/model.py").symlink_to(repo.path / "teacher/hidden/labels.csv")
    code = (
        "import pathlib, sys; from teacher.grade import read_own;"
        "print(read_own(pathlib.Path(sys.argv[1]), ('assignment/solution.py', 'trainer/model.py')))"
    )
    done = repo.run(["python", "-c", code, tmp_path / "in"])
    assert done.stdout.strip() == "{'assignment/solution.py': b'x'}"


FAULTS = {  # {what is written instead of it: (what a file says, the line of the error)}
    "due: 2027-01-31 23:59": ("due: 2027-01-31T23:59:00+01:00", "grading.yaml:2: due: not a time"),
    "labels: assignment/__init__.py": ("labels: teacher/hidden/labels.csv", ":4: labels: has no"),
    "tests: .nan": ("tests: 0.5", ":5: tests: no number"),
    "{0.45: .nan}": ("{0.45: 2, 0.65: 4, 0.75: 6}", ":6: accuracy: not shares"),
    "processes: 1.5": ("processes: 300", ":7: limits: not whole numbers"),
    "title: [a]": ("title: A table that gives its answer away", ":2: title: not a text"),
    "[assignment/tests/test_solution.py,": ("[assignment/solution.py,", ":3: graded[0]: assign"),
    "[trainer/model.py,": ("[assignment/solution.py,", ":3: graded: no file, or one twice"),
}


@pytest.mark.slow
@pytest.mark.parametrize("new", FAULTS)
def test_a_wrong_field_is_one_line(repo, tmp_path, new):
    old, part = FAULTS[new]
    is_grading = old.startswith(("due", "labels", "tests", "{", "processes"))
    path = repo.path / ("teacher/grading.yaml" if is_grading else "assignment/assignment.yaml")
    before = path.read_text()
    assert old in before
    path.write_text(before.replace(old, new))
    write_roster(tmp_path / "roster.csv", ["absent"])
    try:
        done = run_course(repo, "collect", tmp_path / "roster.csv", tmp_path, check=False)
    finally:
        path.write_text(before)
    assert done.returncode == 2 and part in done.stderr and done.stderr.count("\n") == 1


ROSTERS = {
    "username;name\nada;Ada\n": ":1: no column username",
    "username\n": "no student",
    "username\nada\n../ada\n": ":3: username: '../ada' is none",
    "username\nada\ngrades.csv\n": ":3: username: 'grades.csv' is none",
    "username\nada\nAda\n": ":3: username: Ada stands twice",
    "\ufffe": "cannot be read",
}


@pytest.mark.slow
@pytest.mark.parametrize("text", ROSTERS)
def test_a_wrong_roster_is_one_line(repo, tmp_path, text):
    path = tmp_path / "roster.csv"
    path.write_bytes(text.encode("utf-16-le" if text == "\ufffe" else "utf-8"))
    done = run_course(repo, "collect", path, tmp_path, check=False)
    assert done.returncode == 2 and ROSTERS[text] in done.stderr and done.stderr.count("\n") == 1


def make_a_trap(folder, path):
    """Sign the commit of a repo, and let the repo's settings name a program that checks signatures."""

    def git(*words, text=None):
        command = ["git", "-C", folder, *words]
        return subprocess.run(command, check=True, capture_output=True, input=text).stdout

    signature = b"gpgsig -----BEGIN PGP SIGNATURE-----\n \n abc\n -----END PGP SIGNATURE-----\n\n"
    signed = git("cat-file", "commit", "HEAD").replace(b"\n\n", b"\n" + signature, 1)
    commit = git("hash-object", "-t", "commit", "-w", "--stdin", text=signed).decode().strip()
    git("update-ref", "HEAD", commit)
    program = folder / "program"
    program.write_text(f"#!/bin/sh\ntouch {path}\n")
    program.chmod(0o755)
    git("config", "log.showSignature", "true")
    git("config", "gpg.program", program)
    git("log")
    assert path.exists()  # the trap works
    path.unlink()


@pytest.mark.slow
def test_what_cannot_be_read_is_noted_and_stops_nobody(repo, tmp_path):
    """Broken zips, names within names, names as another system spells them, odd repos."""
    for name in ("ada", "ada-lin", "zoe\u0308"):  # the last as macOS writes it
        hand_in(tmp_path, repo, name, "")
    whole = (tmp_path / "hw1_ada_4711.zip").read_bytes()
    (tmp_path / "text.zip").write_text("no zip")
    (tmp_path / "half.zip").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "zeros.zip").write_bytes(whole[:80] + bytes(200) + whole[280:])
    (tmp_path / "stranger.zip").write_bytes(whole)
    for name in ("empty", "link", "late"):
        subprocess.run(["git", "init", "-q", tmp_path / name], check=True)
    (tmp_path / "link/trainer").mkdir()
    (tmp_path / "link/trainer/model.py").symlink_to("/etc/passwd")
    (tmp_path / "late/trainer").mkdir()
    (tmp_path / "late/trainer/model.py").write_text("late = True\n")
    for name in ("link", "late"):
        git = ["git", "-C", tmp_path / name]
        subprocess.run([*git, "add", "-A"], check=True)
        date = {"GIT_COMMITTER_DATE": "2028-01-01T00:00:00Z"} if name == "late" else {}
        subprocess.run([*git, "commit", "-qm", "x"], check=True, env={**os.environ, **date})
    make_a_trap(tmp_path / "late", tmp_path / "ran")
    names = ["ada", "ada-lin", "zo\u00eb", "text", "half", "zeros", "empty", "link", "late"]
    write_roster(tmp_path / "roster.csv", names)
    done = run_course(repo, "collect", tmp_path / "roster.csv", tmp_path)
    assert "stranger.zip: names nobody" in done.stdout and not (tmp_path / "ran").exists()
    folder = repo.path / "teacher/submissions"
    with open(folder / "submissions.csv", encoding="utf-8", newline="") as file:
        notes = {row["username"]: (row["late"], row["note"]) for row in csv.DictReader(file)}
    assert [notes[name] for name in names[:3]] == [("", "")] * 3
    assert all("is no zip that can be read" in notes[name][1] for name in names[3:6])
    assert notes["empty"] == ("", "the repo has no commit")
    assert notes["link"] == ("", "without assignment/solution.py, trainer/model.py")
    assert notes["late"] == ("late", "without assignment/solution.py")
    own = {path.parent.parent.name for path in folder.glob("*/trainer/model.py")}
    assert own >= {*names[:3], "late"} and not own & {*names[3:8]}

    write_roster(tmp_path / "roster.csv", ["hw1", "ada"])
    done = run_course(repo, "collect", tmp_path / "roster.csv", tmp_path, check=False)
    assert done.returncode == 2 and "names both hw1 and ada; rename it" in done.stderr


@SANDBOX
@pytest.mark.slow
def test_nobody_is_graded_where_the_solution_fails(repo, tmp_path):
    write_roster(tmp_path / "roster.csv", ["absent"])
    run_course(repo, "collect", tmp_path / "roster.csv", tmp_path)
    path = repo.path / "teacher/grading.yaml"
    before = path.read_text()
    path.write_text(before.replace("processes: 300", "processes: 1"))
    try:
        done = run_course(repo, "grade", check=False)
    finally:
        path.write_text(before)
    assert done.returncode == 2 and "nobody is graded" in done.stderr


@SANDBOX
@pytest.mark.soak
def test_thirty_students(repo, tmp_path):
    """A class: all attacks, late and equal work, and good work. Twice the same grades."""
    attacks = ATTACKS | SLOW_ATTACKS
    good = {f"good{i:02}": (f"\nNAME = {i}\n", 10) for i in range(30 - 1 - len(attacks))}
    scores = grade_all(repo, tmp_path, attacks | good, 120, 2)
    assert len(scores) == 30 and scores["equal"] <= 4
    results = repo.path / "teacher/results"
    reports = sorted(results.rglob("results.json"))
    before = [json.loads(path.read_text()) for path in reports]
    shutil.rmtree(results)
    run_course(repo, "grade", "--jobs", "2", timeout=1200)
    after = [json.loads(path.read_text()) for path in reports]
    for one in (*before, *after):
        del one["execution_time"]
    assert before == after
