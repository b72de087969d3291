"""A course: releases that hide what they must, grades that hostile submissions cannot change."""

import csv
import html
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import answers
from conftest import PRODUCT
from standins import docker

sys.path += [str(PRODUCT / "audiences/course"), str(PRODUCT)]
from launcher.common.document import SpecError
from teacher.collect import Submission, assign_archives, read_roster
from teacher.markers import Block, MarkerError, strip_file
from teacher.release import _prove_labels, _prove_removed

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
    "### END SOLUTION\nx = 1\n### BEGIN SOLUTION\n": (1, "without its BEGIN"),
    "x = 1\n### BEGIN SOLUTION": (2, "without its END"),  # and no final line break
    "### BEGIN SOLUTION\nx = 1\n### BEGIN HIDDEN TESTS\n### END HIDDEN TESTS\n": (3, "inside the"),
    "### START SOLUTION\nx = 1\n### STOP SOLUTION\n": (1, "resembles a marker"),
    "### SOLUTION BEGIN\nx = 1\n### SOLUTION END\n": (1, "resembles a marker"),
    "### solution\nx = 1\n": (1, "resembles a marker"),
    "# Solution starts here\nx = 1\n# Solution ends here\n": (1, "resembles a marker"),
    "# hidden tests: begin\nx = 1\n": (1, "resembles a marker"),
    "# ANSWER:\nx = 1\n": (1, "resembles a marker"),
    "### BEGIN\u00a0SOLUTION\nx = 1\n### END SOLUTION\n": (1, "resembles a marker"),
    "### BEGIN SOLUTION\\\nx = 1\n### END SOLUTION\n": (1, "resembles a marker"),
    'x = f"### BEGIN SOLUTION {1}"\n': (1, "resembles a marker"),
    'x = """\n### BEGIN SOLUTION\n"""\n': (2, "without its END"),
    "\ufeff\ufeff### BEGIN SOLUTION\nx = 1\n### END SOLUTION\n": (1, "resembles a marker"),
    "\uff03## BEGIN SOLUTION\nx = 1\n### END SOLUTION\n": (1, "resembles a marker"),
    "x = 1\0\n": (1, "not Python"),
}


def make_notebook(*sources, kind="code"):
    cells = [
        {"cell_type": kind, "source": s.splitlines(True), "outputs": [{"text": "42"}]}
        for s in sources
    ]
    return json.dumps({"cells": cells, "metadata": {"widgets": {"state": "42"}}}).encode()


@pytest.mark.parametrize("text", BROKEN)
def test_a_wrong_marker_is_an_error_with_its_line(text):
    line, part = BROKEN[text]
    with pytest.raises(MarkerError) as caught:
        strip_file("a.py", text.encode())
    assert str(caught.value).startswith(f"a.py:{line}: ") and part in str(caught.value)
    with pytest.raises(MarkerError, match=r"a\.ipynb: cell 2"):
        strip_file("a.ipynb", make_notebook("x = 1\n", text))


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16"])
@pytest.mark.parametrize(
    "marker",
    [
        "### BEGIN SOLUTION",
        "  ## begin solutions",
        "x: 1 ### END SOLUTION",
        "<!-- BEGIN SOLUTION -->",
        "// Begin solutions",
        "1. END HIDDEN TESTS",
        "x,BEGIN SOLUTION,y",
    ],
)
def test_a_marker_in_another_file_is_an_error(marker, encoding):
    data = f"Größe: 1\n{marker}\n".encode(encoding)
    with pytest.raises(MarkerError, match=r"a\.yaml:2: markers work in .py and .ipynb files only"):
        strip_file("a.yaml", data)
    text = b"### Begin with the data\n# Solutions of it\n"
    assert strip_file("README.md", text) == (text, [])


@pytest.mark.parametrize("name", ["a.py", "A.PY", "a.ipynb"])
def test_code_in_another_encoding_is_an_error(name):
    """What cannot be read cannot be stripped."""
    with pytest.raises(MarkerError, match=f"{name}:3: not UTF-8"):
        strip_file(name, f"# coding: latin-1\n\nx = 'Größe'\n{SOLUTION}".encode("latin-1"))


@pytest.mark.parametrize("kind", ["markdown", "raw"])
def test_a_block_that_is_no_code_is_an_error(kind):
    text = "Try:\n### BEGIN SOLUTION\nx = 1\n### END SOLUTION\n"
    with pytest.raises(MarkerError, match=r"a\.ipynb: cell 1, line 2: markers work in code cells"):
        strip_file("a.ipynb", make_notebook(text, kind=kind))
    with pytest.raises(MarkerError, match=r"a\.ipynb: cell 1, line 1: .* resembles a marker"):
        strip_file("a.ipynb", make_notebook("<!-- BEGIN SOLUTION -->\n", kind=kind))
    strip_file(
        "a.ipynb", make_notebook("### Hidden layers\nIn the end solutions differ.\n", kind=kind)
    )
    with pytest.raises(MarkerError, match=r"a\.ipynb: not a notebook"):
        strip_file("a.ipynb", b'{"cells": [{"cell_type": "code"}]}')
    with pytest.raises(MarkerError, match=r"a\.ipynb: not a notebook"):
        strip_file("a.ipynb", b"[" * 100_000)
    with pytest.raises(MarkerError, match=r"a\.py:1: not Python"):
        strip_file("a.py", b"-" * 100_000 + b"1\n")


def test_blocks_are_stripped():
    data, (block,) = strip_file("a.py", SOLUTION.encode())
    assert data.decode() == STUB and block.lines == ("return 1",)
    hidden = (
        "x = 1\n### BEGIN HIDDEN TESTS\ndef test_b():\n    pass\n\n\n### END HIDDEN TESTS\ny = 2\n"
    )
    assert strip_file("a.py", hidden.encode())[0] == b"x = 1\ny = 2\n"
    for old, new in (("\n", "\r\n"), ("    ", "\t"), ("def", "\ufeffdef")):  # of Windows, and tabs
        data, blocks = strip_file("a.py", SOLUTION.replace(old, new).encode())
        assert data.decode() == STUB.replace(old, new) and blocks == [block]
    quoted = f'x = """\n{SOLUTION}"""\n'
    assert b"return 1" not in strip_file("a.py", quoted.encode())[0]
    notebook = json.loads(strip_file("a.ipynb", make_notebook(SOLUTION))[0])
    assert "".join(notebook["cells"][0]["source"]) == STUB and "42" not in json.dumps(notebook)
    usual = b"# the solution of this equation\n# end of the file\n"
    assert strip_file("a.py", usual) == (usual, [])


BLOCK = 'most = max(counts)\nif 1 < most > 2 & 3:\n    print(f"{most}\\n", most)\nreturn most\n'
LABELS = "species\n" + "Adelie\nGentoo\n" * 5


def zip_up(text):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/b.txt", text)
    return data.getvalue()


COPIES = {  # {a file: what it has, with a copy of BLOCK or LABELS}
    "comment.py": "".join(f"# {line}\n\n" for line in BLOCK.splitlines()).encode(),
    "quoted.md": "".join(f"> {line}\r\n" for line in BLOCK.splitlines()).encode(),
    "doctest.py": "".join(f"    >>> {line}\n" for line in BLOCK.splitlines()).encode(),
    "fix.patch": "".join(f"+    {line}\n" for line in BLOCK.splitlines()).encode(),
    "formatted.py": BLOCK.replace(" = ", "=").replace('"', "'").replace("\n", "\n\t").encode(),
    "page.html": f"<pre><b>{html.escape(BLOCK)}</b></pre>".replace(
        "return", "<i>return</i>"
    ).encode(),
    "lines.ipynb": json.dumps({"source": BLOCK.splitlines(True)}, indent=1).encode(),
    "text.json": json.dumps({"source": f"x\n{BLOCK}"}).encode(),
    "submission.zip": zip_up(BLOCK),
    "nested.zip": zip_up(zip_up(BLOCK)),
    "equal.csv": LABELS.encode(),
    "windows.csv": LABELS.replace("\n", "\r\n").encode("utf-8-sig"),
    "more.csv": f"{LABELS}Chinstrap".encode(),
    "utf16.csv": LABELS.encode("utf-16"),
}


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_of_what_is_hidden_is_found(name):
    block, hidden = Block("a.py", 3, tuple(BLOCK.splitlines())), {"teacher/y.csv": LABELS.encode()}
    hidden |= {"teacher/__init__.py": b"", "teacher/one.txt": b"most\n"}
    for files, past in (({name: COPIES[name]}, []), ({}, [COPIES[name]])):
        with pytest.raises(SpecError, match=r"a\.py:3: the block stands in|teacher/y\.csv"):
            other = Block("a.py", 3, ("of another cell",))  # a notebook's lines are the cell's
            _prove_removed(files, hidden, [block, other], past)
    usual = {"a.txt": b"most = max(counts)\nmost\n", "empty": b"", "b.zip": zip_up("most\n1")}
    _prove_removed(usual, hidden, [block, Block("b.py", 1, ("...",))], [])
    with pytest.raises(SpecError, match=r"b\.zip: a zip that cannot be read"):
        data = zip_up(BLOCK)
        _prove_removed({"b.zip": data[:40] + bytes(2) + data[42:]}, hidden, [block], [])


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_hidden_labels_in_a_column_are_found(mark):
    """As in a table from which the hidden rows were taken, with their order."""
    labels = tuple(LABELS.split()[1:])
    lines = [f'{i}{mark}"{label}"{mark}1' for i, label in enumerate(labels)]
    table = "\r\n".join(["id,species,x", "0", *lines]).encode()
    with pytest.raises(SpecError, match=r"a\.csv: column 2 has the hidden labels in their order"):
        _prove_labels({"a.csv": table}, labels)
    _prove_labels({"a.csv": table}, (*labels[1:], labels[1]))
    _prove_labels({"empty.csv": b"", "a.csv": table}, labels[:3])  # too few to mean anything


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


@pytest.mark.parametrize("problem", answers.COURSES)
def test_the_order_of_hidden_rows_gives_nothing_away(problem):
    """Students have the rows that the hidden ones were made of, and know how many there are of each."""
    path = PRODUCT / "audiences/course/problems" / problem / "teacher/hidden/labels.csv"
    labels = path.read_text(encoding="utf-8").splitlines()[1:]
    if problem == "tabular":
        data = PRODUCT / "problems/tabular/data/penguins_eval.csv"
        guess = [line.partition(",")[0] for line in data.read_text().splitlines()[1:]]
    else:
        guess = sorted(set(labels)) * (len(labels) // len(set(labels)))
    assert sorted(guess) == sorted(labels)
    equal = sum(map(str.__eq__, guess, labels))
    assert equal < 0.5 * len(labels)


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
    (out / "assignment/__pycache__").mkdir(exist_ok=True)  # as if the teacher had tried it there
    (out / "assignment/__pycache__/solution.pyc").write_text("an answer")
    run_course(repo, "release", out)
    git("pull", "-q", "--no-rebase", "--no-edit")
    assert not (student / "assignment/__pycache__").exists()
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
    "docs/hint.txt": (  # in UTF-16, as PowerShell writes it
        "most = max(labels.count(label) for label in set(labels))\nreturn most / len(labels)\n",
        "the block stands in docs/hint.txt, too",
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
    encoding = "utf-16" if name.endswith(".txt") else "utf-8"
    path.write_text(text or (repo.path / "teacher/hidden/labels.csv").read_text(), encoding)
    repo.run(["git", "add", name])
    try:
        done = run_course(repo, "release", tmp_path / "out", check=False)
    finally:
        repo.run(["git", "rm", "-qf", name])
    assert done.returncode == 2 and part in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_what_git_has_not_or_only_as_a_link_is_not_released(repo, tmp_path):
    (tmp_path / "answers.md").write_text("An answer outside of the repo.\n")
    link, new = repo.path / "docs/more.md", repo.path / "assignment/helper.py"
    link.symlink_to(tmp_path / "answers.md")
    repo.run(["git", "add", "docs/more.md"])
    try:
        assert (
            "docs/more.md: a link"
            in run_course(repo, "release", tmp_path / "out", check=False).stderr
        )
        repo.run(["git", "rm", "-qf", "docs/more.md"])
        new.write_text("x = 1\n")  # and is imported
        code = "from teacher.release import strip_repo; print(*strip_repo()[0])"
        (repo.path / "docs/x.pyc").write_bytes(b"an answer")
        repo.run(["git", "add", "-f", "docs/x.pyc"])
        names = repo.run(["python", "-c", code]).stdout.split()
        repo.run(["git", "rm", "-qf", "docs/x.pyc"])
        assert "docs/glossary.md" in names and "docs/x.pyc" not in names
        done = run_course(repo, "release", tmp_path / "out", check=False)
    finally:
        new.unlink(missing_ok=True)
    assert "assignment/helper.py: not in git, so no student gets it" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_release_goes_into_no_other_folder(repo, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    done = run_course(repo, "release", tmp_path, check=False)
    assert done.returncode == 2 and "is no release of ours" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


COMMIT_RELEASE = """
import sys
from pathlib import Path
from teacher import release
release._commit(Path(sys.argv[1]), release.strip_repo()[0])
"""
HISTORIES = {  # {where an answer is: what the teacher did in the students' repo, old.py being the solution}
    "a commit": ["add -A", "commit -qm Oops", "rm -q old.py", "commit -qm No"],
    "no commit": ["add -A", "reset -q --hard"],
    "a message": ["commit -q --allow-empty -F old.py", "clean -qf"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HISTORIES)
def test_a_history_with_an_answer_is_found(repo, tmp_path, name):
    out = tmp_path / "out"
    repo.run(["python", "-c", COMMIT_RELEASE, out])
    (out / "old.py").write_text((repo.path / "assignment/solution.py").read_text())
    for words in HISTORIES[name]:
        subprocess.run(["git", *words.split()], cwd=out, check=True)
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
        "\nimport os, sys\npath = [word for word in sys.argv if 'junit' in word][0].split('=')[1]\n"
        "report = '<testsuite>' + 9 * '<testcase classname=\"a\" name=\"b\"/>' + '</testsuite>'\n"
        "open(path, 'w').write(report)\nprint('8 passed')\nos._exit(0)\n",
        0,
    ),
    "killer": (  # it prints for the grader's own process, a text that is no Unicode, and ends that process
        "\nimport os\nwith open(f'/proc/{os.getppid()}/fd/1', 'w') as file:\n"
        '    file.write(\'{"report": "\\\\ud800", "predictions": ["NaN"]}\')\nos.kill(os.getppid(), 9)\n',
        0,
    ),
    "renamed": (  # a process whose name is no UTF-8
        "\nimport ctypes, time\nctypes.CDLL(None).prctl(15, b'\\xff\\xfe) (')\ntime.sleep(0.3)\n"
        + IDLE,
        4,
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
        4,  # it passes what it has solved, too
    ),
    "filler": (
        "\ntry:\n    with open('/tmp/x', 'wb') as file:\n        while True:\n            file.write(bytes(10**7))\n"
        "except OSError:\n    pass\n" + IDLE,
        0,  # its disk is full before the tests can report
    ),
    "flood": (
        "\nimport os, sys\nwhile True:\n    os.write(2, bytes(10**7))\n",
        0,
    ),
    "poisoner": (  # every later Python of its own would run this first
        "\nimport os, site\nfolder = site.getusersitepackages()\nos.makedirs(folder, exist_ok=True)\n"
        "for name in ('sitecustomize.py', 'usercustomize.py', 'numpy.py', 'evil.pth'):\n"
        "    with open(f'{folder}/{name}', 'w') as file:\n        file.write('import os; os._exit(0)')\n"
        + IDLE,
        4,
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
    scores = read_scores(repo)
    assert scores == {name: points for name, (_, points) in attacks.items()} | {"absent": 0}
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
    path = results / "reader/results.json"  # as if `grade` was killed after labels had changed
    path.write_text(json.dumps(result | {"extra_data": result["extra_data"] | {"base": "old"}}))
    done = run_course(repo, "publish", check=False)
    assert done.returncode == 2 and "no grade of what this repo" in done.stderr
    path.write_text(json.dumps(result))
    own = repo.path / "teacher/submissions/reader/assignment/solution.py"
    own.write_text(own.read_text() + "# again\n")
    done = run_course(repo, "publish", check=False)
    assert done.returncode == 2 and "first run python scripts/course.py grade" in done.stderr


@pytest.mark.slow
def test_grades_by_other_labels_are_not_published(repo, tmp_path):
    """Two who handed in nothing need no sandbox."""
    write_roster(tmp_path / "roster.csv", ["absent", "zo\u00eb"])
    run_course(repo, "collect", tmp_path / "roster.csv", tmp_path)
    code = """
from teacher import grade
base = grade.build_base("")
for student in grade.load_submissions():
    name = student.username
    grade.grade_folder(grade.FOLDER / name, grade.RESULTS / name / "results.json", base)
"""
    repo.run(["python", "-c", code])
    assert "2 students" in run_course(repo, "publish").stdout
    assert read_scores(repo) == {"absent": 0, "zo\u00eb": 0}
    folder = repo.path / "teacher"
    for name, old, new in (
        ("hidden/labels.csv", "Adelie", "Gentoo"),
        ("grading.yaml", "0.45: 2", "0.45: 3"),
        ("results/zo\u00eb/results.json", "{", ""),
        ("results/zo\u00eb/results.json", '"base": "', '"base": "x'),
        ("submissions/submissions.csv", ",", ";"),
        ("submissions/submissions.csv", "zo\u00eb", "zo\udceb"),
    ):
        before = (folder / name).read_bytes()
        text = before.decode().replace(old, new)
        assert text.encode(errors="surrogateescape") != before
        (folder / name).write_bytes(text.encode(errors="surrogateescape"))
        try:
            done = run_course(repo, "publish", check=False)
        finally:
            (folder / name).write_bytes(before)
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
        assert "; first run python" in done.stderr or "; run python" in done.stderr
    run_course(repo, "publish")


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["rot13", "punycode", "undefined"])
def test_code_that_no_python_reads_is_compared_as_text(repo, encoding):
    code = "import sys; from teacher.publish import _normalize; print(_normalize(sys.argv[1].encode()))"
    text = f"# coding: {encoding}\nx  =  1\n"
    assert repo.run(["python", "-c", code, text]).stdout == f"# coding: {encoding} x = 1\n"


@pytest.mark.slow
def test_a_link_out_of_a_submission_is_not_followed(repo, tmp_path):
    """Gradescope unpacks what git has; the labels would lie in the sandbox under another name."""
    (tmp_path / "in/assignment").mkdir(parents=True)
    (tmp_path / "in/assignment/solution.py").write_text("x")
    (tmp_path / "in/trainer").mkdir()
    (tmp_path / "in/trainer/model.py").symlink_to(repo.path / "teacher/hidden/labels.csv")
    (tmp_path / "odd/trainer").mkdir(parents=True)
    (tmp_path / "odd/assignment").mkdir()
    os.mkfifo(tmp_path / "odd/assignment/solution.py")
    with open(tmp_path / "odd/trainer/model.py", "wb") as file:
        file.truncate(10 << 30)  # bytes
    code = (
        "import pathlib, sys; from teacher.grade import read_own;"
        "names = ('assignment/solution.py', 'trainer/model.py');"
        "print(*(read_own(pathlib.Path(folder), names) for folder in sys.argv[1:]))"
    )
    done = repo.run(["python", "-c", code, tmp_path / "in", tmp_path / "odd"])
    assert done.stdout.strip() == "{'assignment/solution.py': b'x'} {}"


FAULTS = {  # {what is written instead of it: (what a file says, the line of the error)}
    "due: 2027-01-31 23:59": ("due: 2027-01-31T23:59:00+01:00", "grading.yaml:2: due: not a time"),
    "labels: assignment/__init__.py": ("labels: teacher/hidden/labels.csv", ":4: labels: has no"),
    "labels: assignment/data/birds.csv": (
        "labels: teacher/hidden/labels.csv",
        ":4: labels: students",
    ),
    "features: README.md": ("features: teacher/hidden/features.csv", ":3: features: students"),
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
    is_grading = not old.startswith(("title", "["))
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
    "\ufeffusername\nada\n\nAda\n": ":4: username: Ada stands twice",
    "username,email\nada,Lin, Ada,a@b.org\n": ":2: more fields than the first line",
    "\ufffe": "cannot be read",
}


@pytest.mark.slow
@pytest.mark.parametrize("text", ROSTERS)
def test_a_wrong_roster_is_one_line(repo, tmp_path, text):
    path = tmp_path / "roster.csv"
    path.write_bytes(text.encode("utf-16-le" if text == "\ufffe" else "utf-8"))
    done = run_course(repo, "collect", path, tmp_path, check=False)
    assert done.returncode == 2 and ROSTERS[text] in done.stderr and done.stderr.count("\n") == 1


def test_a_roster_may_have_blanks_and_a_mark_of_windows(tmp_path):
    text = '\ufeffusername, last_name, email\r\nzo\u00eb, "Lin, A", z@b.org\r\n\r\n'
    (tmp_path / "roster.csv").write_bytes(text.encode())
    students = read_roster(tmp_path / "roster.csv")
    assert students == [Submission("zo\u00eb", name="Lin, A", email="z@b.org")]


def test_zips_belong_to_the_longest_username(tmp_path, capsys):
    names = ["ada.zip", "hw1_ADA-lin_4711 (2).zip", "line\nbreak.zip", "hw-x.y_1.zip"]
    for name in names:
        (tmp_path / name).touch()
    archives = assign_archives(tmp_path, ["ada", "ada-lin", "x.y"])
    assert archives.pop("") == [tmp_path / "line\nbreak.zip"]
    owners = {"ada": names[0], "ada-lin": names[1], "x.y": names[3]}
    assert archives == {owner: [tmp_path / name] for owner, name in owners.items()}
    assert "names nobody" in capsys.readouterr().out


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
    for name in ("gpg.program", "core.fsmonitor", "filter.x.smudge", "uploadpack.packObjectsHook"):
        git("config", name, program)
    git("config", "core.hooksPath", folder)
    (folder / "post-checkout").symlink_to(program)
    git("log")
    assert path.exists()  # the trap works
    path.unlink()


BORROWED = ["file", "whole", "common", "refs"]  # parts of another's repo


def make_borrowed(folder, git):
    """Repos of students that show the commits of the teacher's, by a path or a link to it."""
    for name in BORROWED:
        (folder / name).mkdir()
    (folder / "file/.git").write_text(f"gitdir: {git}\n")
    (folder / "whole/.git").symlink_to(git)
    for name in ("common", "refs"):
        subprocess.run(["git", "init", "-q", "-b", "main", folder / name], check=True)
    (folder / "common/.git/commondir").write_text(str(git))
    shutil.rmtree(folder / "refs/.git/refs")
    (folder / "refs/.git/refs").symlink_to(git / "refs")
    (folder / "refs/.git/objects/info/alternates").write_text(f"{git / 'objects'}\n")
    for name in BORROWED:
        log = ["git", "-C", folder / name, "log", "--format=%s"]
        done = subprocess.run(log, check=True, capture_output=True, text=True)
        assert "Start from the template" in done.stdout  # git itself shows them


@pytest.mark.slow
def test_a_commit_without_a_readable_date_is_late(repo, tmp_path):
    subprocess.run(["git", "init", "-q", tmp_path / "ada"], check=True)
    git = ["git", "-C", tmp_path / "ada"]
    for date in ("2026-10-01T12:00:00Z", "2026-11-01T12:00:00Z"):
        (tmp_path / "ada/trainer").mkdir(exist_ok=True)
        (tmp_path / "ada/trainer/model.py").write_text(f"date = {date!r}\n")
        subprocess.run([*git, "add", "-A"], check=True)
        environ = {**os.environ, "GIT_COMMITTER_DATE": date}
        subprocess.run([*git, "commit", "-qm", "x"], check=True, env=environ)
    commit = subprocess.run([*git, "cat-file", "commit", "HEAD"], check=True, capture_output=True)
    write_roster(tmp_path / "roster.csv", ["ada"])
    for time in (b"99999999999999999999 +0000", b"soon", b""):
        text = re.sub(rb"(?m)^(committer .*>).*$", rb"\1 " + time, commit.stdout)
        write = [*git, "hash-object", "-t", "commit", "-w", "--stdin", "--literally"]
        done = subprocess.run(write, check=True, capture_output=True, input=text)
        subprocess.run([*git, "update-ref", "HEAD", done.stdout.decode().strip()], check=True)
        done = run_course(repo, "collect", tmp_path / "roster.csv", tmp_path)
        assert "ada: 2026-10-01T12:00:00Z" in done.stdout  # the commit before it


@pytest.mark.slow
@pytest.mark.parametrize("hash", ["sha1", "sha256"])
def test_the_commits_of_a_release_are_not_the_students(repo, tmp_path, monkeypatch, hash):
    """All clones have them, in time: work that is late must not look like a stub that is not."""

    def clone(name, *dates):
        subprocess.run(["git", "clone", "-q", tmp_path / "out", tmp_path / name], check=True)
        for date in dates:
            (tmp_path / name / "trainer/model.py").write_text(f"date = {date!r}\n")
            email = "a\u2028b\x0c@example.org"  # ends lines for Python
            environ = {**os.environ, "GIT_COMMITTER_DATE": date, "GIT_AUTHOR_EMAIL": email}
            command = ["git", "-C", tmp_path / name, "commit", "-qam", "x"]
            subprocess.run(command, check=True, env=environ)

    monkeypatch.setenv("GIT_DEFAULT_HASH", hash)
    repo.run(["python", "-c", COMMIT_RELEASE, tmp_path / "out"])
    clone("nothing")
    clone("late", "2028-01-01T00:00:00Z")
    clone("both", "2026-10-01T12:00:00Z", "2028-01-01T00:00:00Z", "2028-01-02T00:00:00Z")
    subprocess.run(["git", "-C", tmp_path / "both", "gc", "-q"], check=True)
    (tmp_path / "table/.git/reftable").mkdir(parents=True)
    write_roster(tmp_path / "roster.csv", ["nothing", "late", "both", "table"])
    done = run_course(repo, "collect", tmp_path / "roster.csv", tmp_path)
    assert "nothing: nothing  the repo has no commit but the releases\n" in done.stdout
    assert "late: 2028-01-01T00:00:00Z late\n" in done.stdout
    assert "git refs migrate" in done.stdout
    late = "commits after the deadline, which do not count: 2"
    assert f"both: 2026-10-01T12:00:00Z  {late}\n" in done.stdout
    folder = repo.path / "teacher/submissions"
    assert (folder / "late/trainer/model.py").read_text() == "date = '2028-01-01T00:00:00Z'\n"
    assert not list((folder / "nothing").rglob("*.py"))


@pytest.mark.slow
def test_names_and_addresses_that_are_odd(repo, tmp_path):
    """A token of the address goes to no student; a name of a zip may be in capitals, or no Unicode."""
    write_roster(tmp_path / "roster.csv", ["ada", "bo", "cy"])
    address = "https://user:secret@127.0.0.1:1/{username}"
    done = run_course(repo, "collect", tmp_path / "roster.csv", address)
    table = repo.path / "teacher/submissions/submissions.csv"
    assert "no clone of https://127.0.0.1:1/ada" in done.stdout
    assert "secret" not in done.stdout and "secret" not in table.read_text()

    for name in (b"ada_1.zip", b"ada_Gr\xf6\xdfe.zip", b"ada (1).zip", b"BO.ZIP"):
        path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("trainer/model.py", "x = 1\n")
    (tmp_path / "cy").mkdir()
    done = run_course(repo, "collect", tmp_path / "roster.csv", tmp_path)
    assert "cy: nothing  nothing handed in as a repo or a zip" in done.stdout
    notes = table.read_text(encoding="utf-8")
    assert "3 zips, " in notes and (table.parent / "bo/trainer/model.py").exists()


@pytest.mark.slow
def test_what_a_submission_prints_is_not_trusted(repo):
    """Wrong counts, NaN, depth without end, and XML that is none: no points, and no error of ours."""
    code = """
import json
from teacher.grade import _read_tests, measure_accuracy, read_output
from teacher.sandbox import Outcome
deep = "[" * 100_000
line = json.dumps({"class": "a"})
for lines in ([], [line], [line] * 3, ["NaN", line], [line, deep], [1, 2], [None, line], ['{"class": ' + deep, line],
              ['"class"', line], ['["class"]', line], ["1" * 5000, line], ["\\ud800", line]):
    assert measure_accuracy(lines, ("a", "b")) is None, lines
for value in ("NaN", "null", "[1]", '["a"]', "Infinity", '"A"'):
    assert measure_accuracy([line, '{"class": ' + value + "}"], ("a", "b")) == 0.5, value
for report in ("\\ud800", "<a", "<a>" * 1_000, "<!DOCTYPE a>", '<?xml version="1.0" encoding="none"?><a/>',
               '<?xml version="1.0" encoding="utf-7"?><a/>', '<?xml version="1.0" encoding="utf-16"?><a/>', "<a/>"):
    assert _read_tests(report) == {}, report
for output in (b"", b"{}", b"[]", b"null", b"\\xff", deep.encode(), b'{"report": 1, "predictions": []}', b'{"report": "", "predictions": 1}'):
    assert read_output(Outcome(output, "", "", False))[0] == {"report": "", "predictions": []}, output
"""
    repo.run(["python", "-c", code])


@SANDBOX
@pytest.mark.slow
def test_what_runs_out_of_time_beside_another_is_graded_again_alone(repo, tmp_path):
    """Both are stopped while both run, as if one of them had taken the machine's memory."""
    code = """
import json, sys
from pathlib import Path
from teacher import grade, sandbox
from teacher.collect import Submission
seen = []
run = sandbox.run
def watch(*words, **settings):
    outcome = run(*words, **settings)
    seen.append(outcome.stopped)
    return outcome
sandbox.run, sandbox.FLOOR = watch, 1 << 60
grade.FOLDER, grade.RESULTS = map(Path, sys.argv[1:])
grade._grade_solution = lambda base: None
grade.load_submissions = lambda: [Submission("ada"), Submission("bo")]
grade.grade(jobs=2)
assert seen == ["left this machine without memory"] * 4, seen
result = json.loads(Path(sys.argv[2], "bo/results.json").read_text())
assert result["tests"][-1]["output"] == "stopped: it left this machine without memory"
"""
    code += """
def fail(folder, limits, user):
    return ["sh", "-c", "echo bwrap: No more namespaces >&2; exit 1", "sh"]
sandbox._build_bubblewrap = fail
grade.RESULTS = Path(sys.argv[2], "more")
try:
    grade.grade_folder(grade.FOLDER / "bo", grade.RESULTS / "results.json", grade.build_base("bubblewrap"))
except grade.SpecError as error:
    assert "in/bo: the sandbox does not start (bwrap: No more namespaces)" in str(error)
assert not grade.RESULTS.exists()
"""
    for name in ("ada", "bo"):
        (tmp_path / "in" / name / "assignment").mkdir(parents=True)
        (tmp_path / "in" / name / "assignment/solution.py").write_text("x = 1\n")
    repo.run(["python", "-c", code, tmp_path / "in", tmp_path / "out"])


GRADESCOPE = {  # {name: (type, required)}, by gradescope-autograders.readthedocs.io/en/latest/specs
    "score": ((int, float), True),
    "execution_time": ((int, float), False),
    "output": (str, False),
    "extra_data": (dict, False),
    "tests": (list, True),
    "leaderboard": (list, False),
}
GRADESCOPE_TEST = {
    "score": ((int, float), True),
    "max_score": ((int, float), True),
    "name": (str, True),
    "output": (str, False),
    "visibility": (str, False),
}


def fits(values, schema):
    """Whether these are the fields of a schema, each of its type."""
    return set(values) <= set(schema) and all(
        isinstance(values[name], kind) if name in values else not required
        for name, (kind, required) in schema.items()
    )


@SANDBOX
@pytest.mark.slow
def test_gradescope_runs_it(repo, tmp_path):
    """Its tree lies in a root of its own, where run_autograder is started as Gradescope does."""
    tree = tmp_path / "autograder"
    for name in ("source", "submission/assignment", "results"):
        (tree / name).mkdir(parents=True)
    for name in repo.files():
        (tree / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(repo.path / name, tree / "source" / name)
    assert (
        "git init -q && git add -A -f" in (tree / "source/teacher/gradescope/setup.sh").read_text()
    )
    for words in (["init", "-q"], ["add", "-A", "-f"]):
        subprocess.run(["git", *words], cwd=tree / "source", check=True)
    results = repo.path / "teacher/results"
    if results.exists():  # of the solution, if another test has graded it
        shutil.copytree(results, tree / "source/teacher/results")
    shutil.copy(tree / "source/teacher/gradescope/run_autograder", tree)
    text = (repo.path / "assignment/solution.py").read_text()
    (tree / "submission/assignment/solution.py").write_text(text + IDLE)
    bin = tree / "environment/bin"
    bin.mkdir(parents=True)
    (bin / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (bin / "python").chmod(0o755)
    root = [
        "bwrap",
        "--tmpfs",
        "/",
        "--cap-add",
        "ALL",
        "--proc",
        "/proc",
        "--dev-bind",
        "/dev",
        "/dev",
    ]
    for path in Path("/").iterdir():
        if path.name not in ("proc", "dev", "autograder"):
            link = path.is_symlink()
            root += ["--symlink", os.readlink(path)] if link else ["--bind", str(path)]
            root += [str(path)]
    command = [*root, "--bind", tree, "/autograder", "--chdir", "/autograder"]
    done = subprocess.run([*command, "sh", "run_autograder"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tree / "results/results.json").read_text())
    assert fits(result, GRADESCOPE) and result["score"] == 4
    assert all(fits(test, GRADESCOPE_TEST) for test in result["tests"])
    assert sum(test["score"] for test in result["tests"]) == 4
    assert all(test["visibility"] == "visible" for test in result["tests"])
    assert result["output"] == "Handed in: assignment/solution.py"
    assert not list(result["leaderboard"])


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
    make_borrowed(tmp_path, repo.path / ".git")
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        for folder in ("", "work\\", "/", "../"):
            archive.writestr(f"{folder}trainer\\model.py", f"x = {folder!r}\n")
        archive.writestr("assignment/solution.py", bytes(6 << 20))
    time = (tmp_path / "twice.zip").stat().st_mtime - 100
    (tmp_path / "twice_old.zip").write_bytes(whole)
    os.utime(tmp_path / "twice_old.zip", (time, time))
    names = [
        "ada",
        "ada-lin",
        "zo\u00eb",
        "text",
        "half",
        "zeros",
        "empty",
        "link",
        "late",
        "twice",
    ]
    names += BORROWED
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
    assert notes["twice"][1].count("twice.zip has two of trainer/model.py, the last counts") == 1
    assert notes["twice"][1].endswith(
        "2 zips, twice.zip is the newest; without assignment/solution.py"
    )
    assert {notes[name][1] for name in BORROWED} <= {
        "the repo has no commit",
        f"no clone of {tmp_path / 'file'}: its .git is no folder",
        f"no clone of {tmp_path / 'whole'}: its .git is no folder",
    }
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
        result = repo.path / "teacher/results/.solution/results.json"
        written = result.stat().st_mtime_ns
        run_course(repo, "grade", check=False)
    finally:
        path.write_text(before)
    assert done.returncode == 2 and "nobody is graded" in done.stderr
    assert result.stat().st_mtime_ns > written  # it is tried again


@pytest.mark.soak
def test_docker_is_the_other_sandbox(repo, tmp_path):
    """Where bubblewrap is not installed: the same attacks, the same grades."""
    if why := docker.missing():
        pytest.skip(why)
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("docker", "git"):
        (programs / name).symlink_to(shutil.which(name))
    ask = "import setuptools, distutils.core as core; made = core.run_setup('setup.py', stop_after='init'); print(made.install_requires + made.extras_require['dev'])"
    needs = re.findall(r"'(.*?)'", repo.run(["python", "-c", ask]).stdout)
    with docker.Docker() as daemon, pytest.MonkeyPatch.context() as patch:
        daemon.import_base("base:local", needs)
        for name, value in {**daemon.environ, "PATH": str(programs)}.items():
            patch.setenv(name, value)
        done = run_course(repo, "grade", check=False)
        assert done.returncode == 2 and "Docker does not work here" in done.stderr  # no image yet
        daemon.run("tag", "base:local", "course-sandbox")
        assert repo.run(["python", "-m", "teacher.sandbox"]).stdout == "Docker\n"
        grade_all(repo, tmp_path, ATTACKS | {"perfect": ("", 10)}, 120, 2)
        assert not daemon.run("ps", "-aq").stdout


@SANDBOX
@pytest.mark.soak
def test_thirty_students(repo, tmp_path):
    """A class: all attacks, late and equal work, and good work. Twice the same grades."""
    attacks = ATTACKS | SLOW_ATTACKS
    good = {f"good{i:02}": (f"\nNAME = {i}\n", 10) for i in range(30 - 1 - len(attacks))}
    scores = grade_all(repo, tmp_path, attacks | good, 120, 2)
    assert len(scores) == 30
    owners = {path.stat().st_uid for path in Path("/proc").glob("[0-9]*")}
    assert not owners & set(range(61_000, 61_180))  # nothing of theirs runs on
    results = repo.path / "teacher/results"
    reports = sorted(results.rglob("results.json"))
    before = [json.loads(path.read_text()) for path in reports]
    shutil.rmtree(results)
    run_course(repo, "grade", "--jobs", "2", timeout=1200)
    after = [json.loads(path.read_text()) for path in reports]
    for one in (*before, *after):
        del one["execution_time"]
    assert before == after
