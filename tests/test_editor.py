"""VS Code and dev containers run what the README says, and nothing else."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

INTERPRETER = "${command:python.interpreterPath}"
EXTENSIONS = {"ms-python.python", "charliermarsh.ruff", "ms-toolsai.jupyter", "redhat.vscode-yaml"}


@pytest.fixture
def project(bake):
    return bake()


@pytest.fixture
def container(project):
    return json.loads(project.read(".devcontainer/devcontainer.json"))


@pytest.fixture
def commands(project):
    """The commands that the README names, in blocks and in its text."""
    text = project.read("README.md")
    lines = "\n".join(re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)).splitlines()
    lines = [line.partition("  #")[0].strip() for line in lines]
    return {*lines, *re.findall(r"`([^`\n]+)`", text)}


def test_each_task_is_a_command_of_the_readme(project, commands):
    file = json.loads(project.read(".vscode/tasks.json"))
    assert file["version"] == "2.0.0" and len(file["tasks"]) >= 5
    for task in file["tasks"]:
        assert set(task) - {"group"} == {"label", "type", "command", "args", "problemMatcher"}
        assert (task["type"], task["command"]) == ("process", INTERPRETER)
        assert " ".join(["python", *task["args"]]) in commands, task["label"]
    defaults = [task["group"]["kind"] for task in file["tasks"] if "group" in task]
    assert sorted(defaults) == ["build", "test"]


def test_the_container_installs_what_the_readme_says(container, commands):
    assert container["postCreateCommand"] in commands


def test_editor_and_container_have_the_same_extensions(project, container):
    recommended = json.loads(project.read(".vscode/extensions.json"))["recommendations"]
    assert recommended == container["customizations"]["vscode"]["extensions"]
    assert set(recommended) == EXTENSIONS


def test_the_container_has_the_user_and_the_python_that_are_named(project, container):
    text = project.read(f".devcontainer/{container['build']['dockerfile']}")
    user = container["remoteUser"]
    assert re.search(rf"useradd .*\b{user}\b", text) and f"/home/{user}/.local/bin" in text
    workflow = project.read(".github/workflows/test.yml")
    [version] = re.findall(r'python-version: "(.+)"', workflow)
    assert f"FROM python:{version}-slim\n" in text


def test_git_has_these_files(project):
    assert {Path(".vscode/tasks.json"), Path(".devcontainer/Dockerfile")} <= {*project.files()}


def test_hadolint_has_no_complaint(project):
    hadolint = shutil.which("hadolint", path=Path(sys.executable).parent)
    if not hadolint:
        pytest.skip("there is no hadolint for Windows")
    # DL3008: a version of git that Debian replaces would stop the build.
    command = [hadolint, "--ignore", "DL3008", project.path / ".devcontainer/Dockerfile"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
