"""What a README says is what happens: the commands of a baked README are run, in their order."""

import os
import re
import shutil
import sys

import pytest

import answers

pytestmark = pytest.mark.slow


@pytest.mark.skipif(not shutil.which("bash"), reason="the README's commands are for a POSIX shell")
@pytest.mark.parametrize("problem", answers.PROBLEMS)
def test_commands_of_a_baked_readme(bake, tmp_path, problem):
    project = bake(fresh=True, problem=problem)
    blocks = re.findall(r"```bash\n(.*?)```", project.read("README.md"), flags=re.S)
    assert len(blocks) >= 6
    tests = blocks.pop()
    assert tests.startswith("python -m pytest\n")  # test_own_tests_pass runs it
    # `python` and the tools are those of the environment that the README has just set up.
    path = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]

    said = [
        project.run(["bash", "-euo", "pipefail", "-c", block], timeout=600, PATH=path).stdout
        for block in blocks
    ]

    assert "report: " in said[0]
    asked = {"tabular": 69, "image": 179}[problem]  # held-out penguins, sevens
    assert said[1].count('"class"') == asked + 1
    assert "--early-stopping" in said[2]
    assert {"tabular": "eval mae", "image": "eval accuracy"}[problem] in said[3]
    assert said[4].count("ok  configs/") >= 10
    assert "worker:1: exit code 0" in said[4]
    assert "12 of 12 done" in said[4]


@pytest.mark.parametrize("problem", answers.PROBLEMS)
def test_files_that_the_readme_names_exist(bake, problem):
    project = bake(problem=problem)
    named = re.findall(
        r"`((?:configs|trainer|scripts|notebooks|data)/[\w./]+)`", project.read("README.md")
    )
    assert named
    made = {"configs/best.yaml"}  # by a study
    assert [name for name in set(named) - made if not (project.path / name).exists()] == []
