"""What a README says is what happens: the commands of a baked README are run, in their order."""

import os
import re
import shutil
import sys

import pytest

import answers
from conftest import ROOT, fork_trainers

pytestmark = pytest.mark.slow


class Readme:
    """The commands of a baked README, a block at a time, and a fresh bake to run them in."""

    def __init__(self, project):
        self.project = project
        self.blocks = re.findall(r"```bash\n(.*?)```", project.read("README.md"), flags=re.S)
        assert len(self.blocks) == 6
        assert self.blocks.pop().startswith("python -m pytest\n")  # test_own_tests_pass runs it

    def run(self, block):
        # `python` and the tools are those of the environment that the README has just set up.
        path = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
        text = re.sub(r"--epochs (60|5)\b", "--epochs 2", self.blocks[block])
        command = ["bash", "-euo", "pipefail", "-c", text]
        return self.project.run(command, timeout=600, PATH=path, **fork_trainers()).stdout


# The kinds differ in their data and flags, which tests of their own try.
LATER = [pytest.param(kind, marks=pytest.mark.soak) for kind in answers.PROBLEMS[1:]]


@pytest.fixture(params=[answers.PROBLEMS[0], *LATER])
def readme(bake, request):
    if not shutil.which("bash"):
        pytest.skip("the README's commands are for a POSIX shell")
    return Readme(bake(fresh=True, problem=request.param))


def test_commands_of_the_first_minutes(readme, request):
    problem = request.node.callspec.params["readme"]
    said = [readme.run(block) for block in range(4)]
    assert "report: " in said[0]
    # Held-out penguins, sevens, recordings.
    count = {"tabular": 69, "image": 179, "series": 140}[problem]
    assert said[1].count('"class"') == count + 1
    assert "--early-stopping" in said[2]
    assert {"tabular": "eval mae"}.get(problem, "eval accuracy") in said[3]


# Each of these commands is run by a test of its own, too: test_local_jobs.py, test_studies.py.
@pytest.mark.soak
def test_commands_of_job_files(readme):
    said = readme.run(4)
    assert said.count("ok  configs/") >= 10
    assert "worker:1: exit code 0" in said
    assert "12 of 12 done" in said


@pytest.fixture(params=answers.PROBLEMS)
def documents(bake, request):
    """The texts of a baked README and of docs/, by path."""
    folder = bake(problem=request.param).path
    paths = [folder / "README.md", *sorted((folder / "docs").glob("*.md"))]
    return {path: path.read_text(encoding="utf-8") for path in paths}


def test_the_readme_is_short_and_shows_a_report(documents):
    path, text = next(iter(documents.items()))
    assert len(text.splitlines()) <= 120
    [image] = re.findall(r"!\[.+\]\((.+)\)", text)
    assert 20_000 < (path.parent / image).stat().st_size < 100_000


def test_the_readme_of_the_template_is_short_and_shows_what_comes_of_it():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 100
    images = re.findall(r"!\[.+?\]\(<?(.+?)>?\)", text)
    assert len(images) == 2
    assert all(20_000 < (ROOT / image).stat().st_size < 100_000 for image in images)
    links = re.findall(r"\]\((docs/\w+\.md)\)", text)
    assert {ROOT / link for link in links} == {*(ROOT / "docs").glob("*.md")}


def test_files_that_the_documents_name_exist(documents):
    made = {"configs/best.yaml", "data/raw", "data/MANIFEST.csv"}  # by a study, by a pull
    repo = next(iter(documents)).parent
    named = re.findall(
        r"`((?:configs|trainer|codec|scripts|notebooks|data|launcher)/[\w./]+)`",
        "".join(documents.values()),
    )
    assert len(named) > 20
    assert [name for name in set(named) - made if not (repo / name).exists()] == []


def test_links_of_the_documents_lead_somewhere(documents):
    headings = {path: re.findall(r"^#+ (.*)", text, flags=re.M) for path, text in documents.items()}
    anchors = {
        path: {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in lines}
        for path, lines in headings.items()
    }
    links = [(path, link) for path, text in documents.items() for link in re.findall(r"\]\((?!http)(.+?)\)", text)]  # fmt: skip
    for path, link in links:
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve()
        assert target.is_file(), (path.name, link)
        assert not anchor or anchor in anchors[target], (path.name, link)
    reached = {(path.parent / link.partition("#")[0]).resolve() for path, link in links}
    assert set(documents) - reached == {next(iter(documents))}  # no page is an island
