"""The oldest versions that a bake admits, those of oldest.txt, against the newest, those of .venv.

The bake's own tests pass on the oldest. Checkpoints and exported models pass between both.
"""

import csv
import functools
import json
import re
import sys

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import answers
import dev
from conftest import ROOT, fork_trainers, forked
from served import Served

# What Colab shipped in August 2026, under Python 3.13.
COLAB = {
    "tensorflow": "2.20.0",
    "keras": "3.13.2",
    "numpy": "2.1.3",
    "protobuf": "5.29.6",
    "pyarrow": "18.1.0",
    "pillow": "11.3.0",
    "polars": "1.35.2",
    "rich": "13.9.4",
    "ipykernel": "6.17.1",
    "ipython": "7.34.0",
}
INSTANCES = {"tabular": "data/penguins_eval.csv", "image": "runs/.cache/digits/7"}
INSTANCES |= {"series": "data/watch.parquet"}
ANSWERS = {"tabular": 69, "image": 179, "series": 140}


def read_pins():
    """{package: its versions in oldest.txt, for one Python or another}"""
    pins = {}
    for line in (ROOT / "oldest.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            name, version = line.split(" ;")[0].split("==")
            pins.setdefault(name, []).append(Version(version))
    return pins


def read_requirements(project):
    """What setup.py requires, without the extras of cloud and GPU, which oldest.txt leaves out."""
    texts = re.findall(r'"([a-z][\w-]*[<>=][^"]*)"', project.read("setup.py"))
    found = [Requirement(text) for text in texts]
    return [one for one in found if not one.name.startswith("google-cloud")]


SOAK = pytest.mark.soak
LATER = [
    kind for kind in answers.PROBLEMS if kind != "tabular"
]  # half a minute of imports for little more


@pytest.fixture(scope="module")
def oldest():
    """The Python of an environment with exactly the oldest versions."""
    return dev.make_oldest()


@pytest.mark.parametrize("problem", answers.PROBLEMS)
def test_each_lower_bound_is_a_version_that_is_tested(bake, problem):
    pins = read_pins()
    requirements = read_requirements(bake(problem=problem))

    assert {"tensorflow", "keras", "numpy", "rich", "pytest"} <= {one.name for one in requirements}
    for one in requirements:
        [bound] = [Version(part.version) for part in one.specifier if part.operator == ">="]
        tested = [version.release[: len(bound.release)] for version in pins[one.name]]
        assert bound.release in tested, f"{one}: oldest.txt has {pins[one.name]}"


@pytest.mark.parametrize("problem", answers.PROBLEMS)
def test_the_bounds_admit_what_colab_ships(bake, problem):
    for one in read_requirements(bake(problem=problem)):
        if one.name in COLAB:
            assert one.specifier.contains(COLAB[one.name]), str(one)
    for name, version in COLAB.items():
        assert min(read_pins()[name]) <= Version(version), name


@pytest.mark.slow
@pytest.mark.parametrize("problem", ["tabular", *(pytest.param(k, marks=SOAK) for k in LATER)])
def test_own_tests_pass_on_the_oldest(bake, oldest, problem):
    command = [oldest, *forked("pytest", oldest)]
    bake(problem=problem).run(command, timeout=1800, **fork_trainers(oldest))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("problem", "name"),
    [("tabular", "data"), pytest.param("image", "same_pixels", marks=SOAK)],
)
def test_data_is_read_alike_on_the_oldest(bake_with_tests, oldest, problem, name):
    """With the oldest PyArrow and Pillow. All other tests of these readers are for `make soak`."""
    project = bake_with_tests(problem)
    project.run([oldest, *forked("pytest", oldest), f"tests/test_{name}.py"], timeout=1800)


@pytest.mark.soak
@pytest.mark.parametrize("problem", answers.PROBLEMS)
def test_all_tests_pass_on_the_oldest(bake_with_tests, oldest, problem):
    bake_with_tests(problem).run([oldest, "-m", "pytest"], timeout=3600)


def train(project, python, job_dir, epochs):
    """A local run to the end of this epoch, and its report; return what it printed."""
    flags = ["--job-dir", job_dir, "--epochs", str(epochs)]
    command = [python, "scripts/train_local.py", "--", *flags]
    return project.run(command, **fork_trainers(python)).stdout


def predict(project, python, job_dir, problem):
    """The answers of an exported model, each as a dictionary."""
    script = forked("scripts/predict.py", python)
    command = [python, *script, "--model", job_dir / "model", INSTANCES[problem]]
    return [json.loads(line) for line in project.run(command).stdout.splitlines()]


def ask_server(project, python, job_dir):
    """A server's answer to the instance that its page begins with, explained."""
    with Served(project.path, job_dir / "model", python=python) as server:
        fields = json.loads(server.wait_until_ready().get("/form")[1])["fields"]
        instance = {field["name"]: field["example"] for field in fields}
        status, body = server.predict([instance], explain=True)
        assert status == 200 and server.get("/metrics")[0] == 200 and server.stop() == 0
    return body["predictions"][0]


def read_history(job_dir):
    with open(job_dir / "history.csv", encoding="utf-8", newline="") as file:
        return [{name: float(text) for name, text in row.items()} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def undisturbed(bake):
    """undisturbed(problem): the history of two epochs on the newest versions."""

    @functools.cache
    def undisturbed(problem):
        project = bake(problem=problem)
        job_dir = project.path / "runs" / "undisturbed"
        train(project, sys.executable, job_dir, 2)
        return read_history(job_dir)

    return undisturbed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("problem", "first"),
    [
        ("tabular", "newest"),
        # Half a minute each for little more:
        pytest.param("tabular", "oldest", marks=SOAK),
        pytest.param("image", "oldest", marks=SOAK),
        pytest.param("image", "newest", marks=SOAK),
    ],
)
def test_a_run_and_its_model_pass_to_the_other_end(bake, oldest, undisturbed, problem, first):
    """One trains an epoch and exports. The other gives the same answers, and trains the next
    epoch with all state of the optimizer: as if one version had trained both."""
    project = bake(problem=problem)
    job_dir = project.path / "runs" / f"{first}-first"
    one, other = (oldest, sys.executable) if first == "oldest" else (sys.executable, oldest)

    train(project, one, job_dir, 1)
    answers_of_one = predict(project, one, job_dir, problem)
    answers_of_other = predict(project, other, job_dir, problem)
    served = ask_server(project, oldest, job_dir)
    printed = train(project, other, job_dir, 2)

    assert len(answers_of_one) == len(answers_of_other) == ANSWERS[problem]
    for mine, theirs in zip(answers_of_one, answers_of_other, strict=True):
        assert mine["class"] == theirs["class"]
        assert mine["probabilities"] == pytest.approx(theirs["probabilities"], abs=1e-5)
    assert sum(served["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert served["explanation"]["score"].startswith(("probability of", "logit of"))
    assert "after epoch 1" in printed and "epoch 1/" not in printed
    for row, expected in zip(read_history(job_dir), undisturbed(problem), strict=True):
        assert [*row] == [*expected]  # columns in the same order
        assert row == pytest.approx(expected, abs=1e-3)
