"""A researcher's own models: whatever Keras compiles trains, on one process and on two."""

import csv
import json
import re
import shutil

import pytest

import cluster
from conftest import forked

pytestmark = pytest.mark.slow

ONE, TWO = {"chief": 1}, {"chief": 1, "worker": 1}
# 275 training rows: replicas cannot share every batch equally. Each would draw a dropout of its own.
FLAGS = ["--epochs", "4", "--batch-size", "83", "--dropout", "0", "--checkpoint-every", "0"]

SUBCLASS = """
import keras
from keras import layers, ops


class Own(keras.Model):
    def __init__(self, examples, flags):
        super().__init__()
        self.embedding = layers.Embedding(examples.vocabulary, 4)
        self.hidden = layers.Dense(16, activation="relu", kernel_regularizer=REGULARIZER)
        self.dropout = layers.Dropout(flags.dropout)
        self.logits = layers.Dense(len(examples.classes))

    def call(self, inputs, training=False):
        embedded = self.embedding(inputs["categories"])
        embedded = ops.reshape(embedded, (-1, embedded.shape[1] * embedded.shape[2]))
        hidden = self.hidden(ops.concatenate([inputs["numbers"], embedded], axis=1))
        self.add_loss(PENALTY * ops.mean(ops.square(hidden)))
        return self.logits(self.dropout(hidden, training=training))


def build(examples, flags):
    model = Own(examples, flags)
    accuracy = keras.metrics.SparseCategoricalAccuracy
    model.compile(
        keras.optimizers.AdamW(1e-2, clipnorm=1.0, use_ema=EMA, **OPTIMIZER),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[accuracy("accuracy")],
        weighted_metrics=[accuracy("weighted_accuracy")],
    )
    return model


JIT = ("CPU",)
"""
PLAIN = {"REGULARIZER": None, "PENALTY": 0.0, "EMA": False, "OPTIMIZER": {}}


@pytest.fixture(scope="module")
def with_model(bake, tmp_path_factory):
    """with_model(PENALTY=1.0): a bake whose model.py is the subclass above, so adapted."""
    projects = {}

    def with_model(**settings):
        key = json.dumps(settings)
        if key not in projects:
            copy = tmp_path_factory.mktemp("own") / "project"
            shutil.copytree(bake().path, copy, ignore=shutil.ignore_patterns("runs", ".git"))
            lines = [f"{name} = {value!r}" for name, value in (PLAIN | settings).items()]
            (copy / "trainer/model.py").write_text("\n".join(lines) + SUBCLASS, encoding="utf-8")
            projects[key] = type(bake())(copy)
        return projects[key]

    return with_model


def history(job_dir):
    return (job_dir / "history.csv").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def plain(with_model, tmp_path_factory):
    """(weights, history) of the subclass without any penalty."""
    place = tmp_path_factory.mktemp("plain")
    [replica] = cluster.run(with_model(), place / "log", ONE, place / "run", *FLAGS)
    return replica.weights, history(place / "run")


@pytest.mark.parametrize(
    "settings", [{"REGULARIZER": "l2"}, pytest.param({"PENALTY": 1.0}, marks=pytest.mark.soak)]
)
def test_penalties_change_the_weights_equally_on_two_processes(
    with_model, plain, tmp_path, settings
):
    project = with_model(**settings)

    [one] = cluster.run(project, tmp_path / "log", ONE, tmp_path / "one", *FLAGS)
    two = cluster.run(project, tmp_path / "log", TWO, tmp_path / "two", *FLAGS)

    assert one.weights not in (None, plain[0])
    assert len({replica.weights for replica in two}) == 1
    first, second = history(tmp_path / "one"), history(tmp_path / "two")
    assert columns(second, "val_") == pytest.approx(columns(first, "val_"), abs=1e-4)
    # Where replicas have not the same number of rows, the training metrics of a batch differ a bit.
    assert columns(second) == pytest.approx(columns(first), abs=1e-3)
    assert columns(first) != pytest.approx(columns(plain[1]), abs=1e-2)


def columns(text, prefix=""):
    """The numbers of a history.csv, of the columns whose names begin so."""
    rows = csv.DictReader(text.splitlines())
    return [float(row[name]) for row in rows for name in row if name.startswith(prefix)]


def test_a_model_with_averaged_weights_resumes(with_model, tmp_path):
    """Killed in the middle, it ends with the same weights, and exports the averages."""
    project, flags = with_model(EMA=True), [*FLAGS, "--dropout", "0.3", "--epochs", "40"]
    [calm] = cluster.run(project, tmp_path / "log", ONE, tmp_path / "calm", *flags)

    [killed] = cluster.start(project, tmp_path / "log", ONE, tmp_path / "run", *flags)
    cluster.wait_for_epoch(killed, 5)
    killed.process.kill()
    cluster.finish([killed])
    [again] = cluster.run(project, tmp_path / "log", ONE, tmp_path / "run", *flags)

    assert re.search(r"after epoch [1-9]", again.text())
    assert again.weights == calm.weights
    assert history(tmp_path / "run") == history(tmp_path / "calm")
    text = (tmp_path / "run/evaluation.json").read_text(encoding="utf-8")
    _, confusion, _ = json.loads(text)["sections"]
    right = sum(row[i] for i, row in enumerate(confusion["counts"]))
    record = json.loads((tmp_path / "run/run.json").read_text(encoding="utf-8"))
    assert record["metrics"]["val_accuracy"] == pytest.approx(right / 69, abs=1e-6)


NOT_COMPILED = ("trainer/model.py: build() returns a model that is not compiled", ONE)
ACCUMULATES = ("trainer/model.py: gradient_accumulation_steps works on one replica", TWO)


@pytest.mark.parametrize(("message", "roles"), [NOT_COMPILED, ACCUMULATES])
def test_a_model_that_cannot_train_here_is_one_line(with_model, tmp_path, message, roles):
    project = with_model(OPTIMIZER={"gradient_accumulation_steps": 4})
    if roles == ONE:
        project = type(project)(shutil.copytree(project.path, tmp_path / "project"))
        path = project.path / "trainer/model.py"
        code = path.read_text(encoding="utf-8")
        path.write_text(
            re.sub(r"    model\.compile\(.*?\n    \)\n", "", code, flags=re.S), encoding="utf-8"
        )

    replicas = cluster.start(project, tmp_path / "log", roles, tmp_path / "run", *FLAGS)
    codes = cluster.finish(replicas)

    assert set(codes) == {2}, replicas[0].text()
    assert f"error: {message}" in replicas[0].text()
    assert "Traceback" not in replicas[0].text()


def test_an_exit_in_the_model_is_a_mistake(with_model, tmp_path):
    """Exit code 1 would mean that another start may help."""
    project = with_model()
    copy = shutil.copytree(project.path, tmp_path / "project")
    code = "import sys\n\n\ndef build(examples, flags):\n    sys.exit(1)\n\n\nJIT = ()\n"
    (copy / "trainer/model.py").write_text(code, encoding="utf-8")

    done = type(project)(copy).run(["python", *forked("trainer.task")], check=False)

    assert done.returncode == 2
    assert "trainer/model.py:5: sys.exit(1) ends the job" in done.stderr.replace("\\", "/")
    assert "Traceback" not in done.stderr


TWO_OUTPUTS = """
import keras
from keras import layers, ops


class TwoOutputs(keras.Model):
    def __init__(self, examples):
        super().__init__()
        self.hidden = layers.Dense(8, activation="relu")
        self.logits = layers.Dense(len(examples.classes))

    def call(self, inputs):
        hidden = self.hidden(inputs["numbers"])
        return {"logits": self.logits(hidden), "hidden": hidden}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(
            keras.losses.sparse_categorical_crossentropy(y, y_pred["logits"], from_logits=True)
        )


def build(examples, flags):
    model = TwoOutputs(examples)
    model.compile("adam")
    return model


JIT = ("CPU",)
"""
FITTED = {
    "context.predictions():  # [batch], [batch, classes]\n": "context.predictions():\n"
    "        logits = logits['logits']\n",
    "return logits.argmax(axis=1) == target": "return logits['logits'].argmax(axis=1) == target",
    "name_classes(output, ": "name_classes(output['logits'], ",
}


def test_a_model_that_outputs_py_does_not_fit_loses_nothing(bake, tmp_path):
    """It is exported and recorded; with outputs.py adapted, the same command ends the run."""
    copy = shutil.copytree(
        bake().path, tmp_path / "p", ignore=shutil.ignore_patterns("runs", ".git")
    )
    project, job_dir = type(bake())(copy), tmp_path / "run"
    (copy / "trainer/model.py").write_text(TWO_OUTPUTS, encoding="utf-8")
    command = ["python", *forked("trainer.task"), "--job-dir", job_dir, *FLAGS]

    failed = project.run(command, check=False)

    assert failed.returncode == 2 and "Traceback" not in failed.stderr
    [line] = [line for line in failed.stderr.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: trainer/outputs.py: answer() fails (")
    assert "; evaluate() fails (" in line
    record = json.loads((job_dir / "run.json").read_text(encoding="utf-8"))
    assert (record["status"], record["error"]) == ("failed", line.removeprefix("error: "))
    assert record["exported"]["epoch"] == 4 and set(record["metrics"]) == {"loss", "val_loss"}
    assert (job_dir / "model/saved_model.pb").is_file()
    assert json.loads((job_dir / "evaluation.json").read_text()) == {"sections": []}
    assert project.run(["python", "scripts/report.py", job_dir]).returncode == 0

    path = copy / "trainer/outputs.py"
    code = path.read_text(encoding="utf-8")
    for before, after in FITTED.items():
        assert code.count(before) == 1
        code = code.replace(before, after)
    path.write_text(code, encoding="utf-8")
    done = project.run(command)

    weights = re.compile(r"^weights (\w+)", re.MULTILINE)
    assert weights.search(done.stdout)[1] == weights.search(failed.stdout)[1]
    assert "epoch 1/4" not in done.stdout
    record = json.loads((job_dir / "run.json").read_text(encoding="utf-8"))
    assert (record["status"], record["error"]) == ("succeeded", None)
    assert record["intervals"] == {}  # such a loss has no value for each row
    project.run(["python", "scripts/report.py", job_dir])
    assert "What it confuses" in (job_dir / "report.html").read_text(encoding="utf-8")
    predict = ["python", *forked("scripts/predict.py"), "--model", job_dir / "model"]
    answers = project.run([*predict, "data/penguins_eval.csv"])
    assert len(answers.stdout.splitlines()) == 69
