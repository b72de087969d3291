"""What the tests share: `bake`, which makes a repo from the template, and runs things in it.

    def test_trains(bake):
        project = bake(license="none")
        project.run(["python", "-m", "trainer.task", "--help"])

Mark `slow` what trains, installs or builds, and `soak` what takes many minutes.

The tests in `launcher/`, `tabular/`, `image/` and `series/` import the code of a bake. Each of these files is one
test here: a pytest of its own runs it in a bake, with the bake's `tests/conftest.py`. (One process
cannot import the `trainer` of two kinds.) A failure shows what that pytest printed, and the folder in
which to run it again.
"""

import functools
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from cookiecutter.main import cookiecutter
from filelock import FileLock

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PRODUCT = ROOT / "{{cookiecutter.project_slug}}"
sys.path.append(str(ROOT))  # the tests import answers and dev, as cookiecutter imports answers
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell that puts these tests into the background has them, and their children, ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
# {a folder of tests that run in a bake: the kind of its data}
IN_BAKE = {"launcher": "tabular", "tabular": "tabular", "image": "image", "series": "series"}
# The files that take 20 seconds or more, the longest first.
LONGEST = (
    *("test_local_jobs.py", "test_versions.py", "test_cloud.py", "test_resume.py"),
    *("test_training.py", "test_bake.py", "test_recipes.py", "test_studies.py", "test_forks.py"),
    *("test_container.py", "test_course.py", "test_endpoints.py", "test_shards.py"),
    *("image/test_report_images.py", "test_doctor.py", "test_notebooks.py", "test_update.py"),
    *("launcher/test_study.py", "test_kinds.py", "test_cloud_jobs.py", "image/test_model.py"),
    *("test_cluster.py", "image/test_shards.py", "image/test_data.py", "test_models.py"),
    *("test_serving_container.py", "test_object_names.py", "image/test_network.py"),
)


def user_environ():
    """The variables that a user has: Python writes bytecode, and no path of ours helps an import."""
    ours = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH")
    return {name: value for name, value in os.environ.items() if name not in ours}


@functools.cache
def start_fork_server(python=sys.executable):
    """Start the server of forked.py, one for all processes of a run; return the path of its socket."""
    run, runner = os.environ.get("PYTEST_XDIST_TESTRUNUID"), os.getpid()
    if run:  # this is one of several processes; their parent lives until the last of them has ended
        runner = os.getppid()
    folder = Path(tempfile.gettempdir(), f"forks-{run or runner}")
    folder.mkdir(exist_ok=True)
    address = folder / hashlib.sha256(str(python).encode()).hexdigest()[:8]
    with FileLock(f"{address}.lock"):
        if not address.exists():
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
                listener.bind(str(address))
                listener.listen()
                subprocess.Popen(
                    [python, HERE / "forked.py", str(listener.fileno()), str(runner)],
                    env=user_environ()
                    | {"PYTHONIOENCODING": "utf-8", "TF_CPP_MIN_LOG_LEVEL": "1"}
                    | {"OPENBLAS_NUM_THREADS": "1"}  # the others wait in a loop for work
                    | {"GCS_RETRY_CONFIG_INIT_DELAY_TIME_US": "10000"},  # see standins/proxy.py
                    stdin=subprocess.DEVNULL,
                    pass_fds=[listener.fileno()],
                )
    return str(address)


def forked(program, python=sys.executable):
    """Return the words behind `python` that run a module, a file.py or, with -c, the code behind
    them, as forked.py explains.
    """
    if sys.platform != "linux":
        return [program] if program == "-c" or program.endswith(".py") else ["-m", program]
    return ["-I", "-S", str(HERE / "forked.py"), start_fork_server(python), program]


def fork_trainers(python=sys.executable):
    """Return the variables with which every trainer below a process is a fork, as forked.py explains.

    For a launcher, or a shell, that starts trainers with this Python; see at_start/sitecustomize.py.
    """
    if sys.platform != "linux":
        return {}
    return {"PYTHONPATH": str(HERE / "at_start"), "FORK_SERVER": start_fork_server(python)}


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
        done = subprocess.run(
            command,
            cwd=self.path,
            env={**user_environ(), "PYTHONIOENCODING": "utf-8", **environment},
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


def bake_into(folder, config_file, **answers):
    """Bake with these answers into a folder."""
    path = cookiecutter(
        str(ROOT),
        no_input=True,
        extra_context=answers,
        output_dir=str(folder),
        config_file=str(config_file),
    )
    return Project(path)


@pytest.fixture(scope="session")
def bake(tmp_path_factory, config_file):
    """Bake with these answers. Tests that ask for the same answers share one repo, and may add
    to it (runs, bytecode); `fresh=True` gives one that nobody touched, `with_run=True` one that has
    a run of one epoch, too: runs/one.

    All are copies of a bake, or of a run, that is made once for all processes of a run of the tests.
    """
    defaults = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
    shared, originals = {}, tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        originals = originals.parent

    def make_once(name, answers, make):
        """Call make(folder), unless a process has done so; return the repo in the folder."""
        answers = {name: text for name, text in answers.items() if text != defaults[name]}
        name += hashlib.sha256(repr(sorted(answers.items())).encode()).hexdigest()[:16]
        finished, partial = originals / name, originals / f"partial-{name}"
        with FileLock(f"{finished}.lock"):
            if not finished.exists():
                make(partial)
                partial.rename(finished)
        [path] = finished.iterdir()
        return path

    def find_original(answers):
        return make_once("baked-", answers, lambda to: bake_into(to, config_file, **answers))

    def find_run(answers):
        def train(folder):
            original = find_original(answers)
            project = Project(shutil.copytree(original, folder / original.name, symlinks=True))
            project.run(["python", *forked("trainer.task"), "--job-dir=runs/one", "--epochs=1"])

        return make_once("trained-", answers, train)

    def bake(fresh=False, with_run=False, **answers):
        key = tuple(sorted(answers.items()))
        fresh = fresh or with_run
        if not fresh and key in shared:
            return shared[key]
        original = find_run(answers) if with_run else find_original(answers)
        path = tmp_path_factory.mktemp("bake") / original.name
        project = Project(shutil.copytree(original, path, symlinks=True))
        return project if fresh else shared.setdefault(key, project)

    return bake


@pytest.fixture(scope="session")
def bake_with_tests(bake):
    """Bake this kind of data; in place of its own tests it has those of the launcher and the kind."""

    @functools.cache
    def bake_with_tests(problem):
        project = bake(fresh=True, problem=problem)
        for path in project.path.glob("tests/test_*.py"):
            path.unlink()
        for folder in ("launcher", problem):
            copy_tests(folder, project)
        return project

    return bake_with_tests


def copy_tests(folder, project):
    """Copy the files of tests/FOLDER into the bake's tests/."""
    ignore = shutil.ignore_patterns("__pycache__")
    source, target = ROOT / "tests" / folder, project.path / "tests"
    shutil.copytree(source, target, ignore=ignore, dirs_exist_ok=True)


class FileInBake(pytest.File):
    """A file of tests that run in a bake: it is one test here."""

    def collect(self):
        kind = IN_BAKE[self.path.parent.name]
        # The marker counts here and means nothing in the bake; hypothesis takes long to import.
        words = ["-o", "markers=slow", "-p", "no:hypothesispytest", f"tests/{self.path.name}"]
        is_slow = "pytest.mark.slow" in self.path.read_text(encoding="utf-8")

        def run(bake_with_tests):
            project = bake_with_tests(kind)
            module, environ = ["-m", "pytest"], {}
            if is_slow:  # the others train nothing
                environ = fork_trainers()
                if self.path.parent.name != "launcher":
                    module = forked("pytest")
            done = project.run(["python", *module, *words], timeout=1800, check=False, **environ)
            if done.returncode:
                command = f"in {project.path}: python -m pytest {' '.join(words)}"
                pytest.fail(f"{command}\n{done.stdout}\n{done.stderr}", pytrace=False)

        test = pytest.Function.from_parent(self, name="in_bake", callobj=run)
        if is_slow:
            test.add_marker("slow")
        yield test


def pytest_collection_modifyitems(items):
    """Begin with the longest files: one at the end would leave the other processors idle."""
    ranks = {HERE / name: rank for rank, name in enumerate(LONGEST)}
    slow = {item.path for item in items if item.get_closest_marker("slow")}

    def order(item):
        return ranks.get(item.path, len(ranks)), item.path not in slow, item.path

    items.sort(key=order)


def pytest_pycollect_makemodule(module_path, parent):
    if module_path.parent.name in IN_BAKE:
        return FileInBake.from_parent(parent, path=module_path)


@pytest.fixture(scope="module")
def docker():
    """A Docker daemon of this file's own."""
    from standins import docker

    if why := docker.missing():
        pytest.skip(why)
    with docker.Docker() as daemon:
        yield daemon


@pytest.fixture(scope="session")
def cloud_lab(request, bake, tmp_path_factory):
    """A baked repo with a project in the cloud; only one, since its launcher is imported here.

    Its data are tables, unless a test's parameter for this fixture names another kind.
    """
    from cloud_lab import BUCKET, PROJECT, CloudLab

    answers = {"project_name": "Penguin Lab", "gcp_project": PROJECT, "gcs_bucket": BUCKET}
    if kind := getattr(request, "param", None):
        answers["problem"] = kind
    project = bake(fresh=True, **answers)
    with CloudLab(project, tmp_path_factory.mktemp("cloud")) as lab:
        yield lab


@pytest.fixture
def lab(cloud_lab):
    """The repo of `cloud_lab` as it was baked; no jobs in the cloud, and nothing goes wrong there."""
    with cloud_lab.as_baked():
        yield cloud_lab
