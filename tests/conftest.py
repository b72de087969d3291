"""What the tests share: `bake`, which makes a repo from the template, and runs things in it.

    def test_trains(bake):
        project = bake(license="none")
        project.run(["python", "-m", "trainer.task", "--help"])

Mark `slow` what trains, installs or builds, and `soak` what takes many minutes.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cookiecutter.main import cookiecutter

ROOT = Path(__file__).resolve().parent.parent
PRODUCT = ROOT / "{{cookiecutter.project_slug}}"
sys.path.append(str(ROOT))  # the tests import answers and dev, as cookiecutter imports answers


class Project:
    """A baked repo."""

    def __init__(self, path):
        self.path = Path(path)

    def run(self, command, timeout=300, check=True, **environment):
        """Run a command in the repo; `python` is the one that runs the tests.

        A failure shows what the command said; with check=False the caller looks at returncode.
        """
        first = sys.executable if command[0] == "python" else command[0]
        command = [str(word) for word in (first, *command[1:])]
        # Users have bytecode written; and no path of this test run may help an import.
        unwanted = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH")
        kept = {name: value for name, value in os.environ.items() if name not in unwanted}
        done = subprocess.run(
            command,
            cwd=self.path,
            env={**kept, "PYTHONIOENCODING": "utf-8", **environment},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
        )
        if check and done.returncode:
            pytest.fail(f"{command} gave {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done

    def read(self, name):
        return (self.path / name).read_text(encoding="utf-8")

    def files(self):
        """The files of the first commit, as relative paths: no runs, no caches."""
        names = self.run(["git", "ls-files", "-z"]).stdout.split("\0")
        return sorted(Path(name) for name in names if name)


@pytest.fixture(scope="session", autouse=True)
def git_identity(tmp_path_factory):
    """Commit as nobody in particular, whatever git settings this machine has."""
    settings = tmp_path_factory.mktemp("git") / "config"
    settings.write_text("[user]\nname = Test\nemail = test@example.com\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_CONFIG_GLOBAL", str(settings))
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        yield


@pytest.fixture(scope="session")
def config_file(tmp_path_factory):
    """cookiecutter's settings: the defaults, but nothing is written to the home folder."""
    home = tmp_path_factory.mktemp("cookiecutter")
    path = home / "config.yaml"
    path.write_text(
        f"replay_dir: '{home / 'replay'}'\ncookiecutters_dir: '{home / 'cloned'}'\n",
        encoding="utf-8",
    )
    return path


@pytest.fixture(scope="session")
def bake(tmp_path_factory, config_file):
    """Bake with these answers. Tests that ask for the same answers share one repo, and may add
    to it (runs, bytecode); `fresh=True` gives one that nobody touched."""
    shared = {}

    def bake(fresh=False, **answers):
        key = tuple(sorted(answers.items()))
        if not fresh and key in shared:
            return shared[key]
        path = cookiecutter(
            str(ROOT),
            no_input=True,
            extra_context=answers,
            output_dir=str(tmp_path_factory.mktemp("bake")),
            config_file=str(config_file),
        )
        project = Project(path)
        return project if fresh else shared.setdefault(key, project)

    return bake


@pytest.fixture(scope="session")
def cloud_lab(bake, tmp_path_factory):
    """A baked repo with a project in the cloud; only one, since its launcher is imported here."""
    from cloud_lab import BUCKET, PROJECT, CloudLab

    project = bake(fresh=True, project_name="Penguin Lab", gcp_project=PROJECT, gcs_bucket=BUCKET)
    with CloudLab(project, tmp_path_factory.mktemp("cloud")) as lab:
        yield lab
