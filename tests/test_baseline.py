"""scripts/baseline.py: simple models on the run's own rows, and the same for BigQuery ML and AutoML."""

import json
import os

import numpy as np
import pytest

import dev
from conftest import forked

pytestmark = pytest.mark.slow

BASELINE = ["python", "scripts/baseline.py"]


@pytest.fixture(scope="module")
def scikit_learn():
    return dev.install_apart("scikit-learn")


@pytest.fixture(scope="module")
def make_run(bake, scikit_learn):
    """make_run("tabular", "one", *flags): a bake with scikit-learn beside it, and the folder of a run."""
    projects = {}

    def make_run(problem, name, *flags):
        project = projects.get(problem) or bake(fresh=True, problem=problem)
        if problem not in projects:
            (project.path / "build").mkdir()
            os.symlink(scikit_learn, project.path / "build/scikit-learn", target_is_directory=True)
            projects[problem] = project
        run = project.path / "runs" / name
        if not run.exists():
            project.run(["python", *forked("trainer.task"), "--job-dir", run, *flags])
        return project, run

    return make_run


@pytest.fixture(scope="module")
def penguins(make_run):
    return make_run("tabular", "one", "--epochs=5")


@pytest.fixture(scope="module")
def prices(make_run):
    """A regression with missing values, categories, a code and a date; held out by a hash of rows."""
    random = np.random.default_rng(0)
    lines = ["living space,town,built,sold,price"]
    for i in range(400):
        space, town = random.uniform(30, 200), random.integers(3)
        price = 2000 * space + 90_000 * town + random.normal(0, 9000)
        cells = [f"{space:.1f}", "abc"[town], -999 if i % 9 == 0 else 1950 + i % 70]
        cells = [cell if random.random() > 0.1 else "NA" for cell in cells]
        lines.append(",".join(map(str, [*cells, f"2020-{i % 12 + 1:02}-01", f"{price:.0f}"])))
    project, _ = make_run("tabular", "one", "--epochs=5")
    (project.path / "data/prices.csv").write_text("\n".join(lines), encoding="utf-8")
    files = ["--train-files=data/prices.csv", "--target=price", "--epochs=3"]
    return make_run("tabular", "prices", *files)


@pytest.fixture(scope="module")
def digits(make_run):
    return make_run("image", "digits", "--epochs=1")


def compare(project, run):
    """What is printed, without line breaks and lines of the table, and what baselines.json has."""
    printed = project.run([*BASELINE, run]).stdout
    found = json.loads((run / "baselines.json").read_text(encoding="utf-8"))
    return " ".join(printed.split()), found, {one["name"]: one for one in found["models"]}


def test_logistic_regression_does_as_well_on_penguins(penguins):
    project, run = penguins
    printed, found, models = compare(project, run)

    assert list(models) == ["the most frequent class", "logistic regression", "gradient boosting", "this run"]  # fmt: skip
    assert models["the most frequent class"]["value"][0] == pytest.approx(30 / 69, abs=1e-5)
    assert models["logistic regression"]["value"][0] == 1
    assert models["gradient boosting"]["value"][0] > 0.95
    own = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert models["this run"]["value"][0] == pytest.approx(own["metrics"]["val_accuracy"], abs=1e-5)
    assert models["this run"]["value"][1:] == pytest.approx(own["intervals"]["val_accuracy"], 1e-3)
    assert all(one["seconds"] > 0 and one["cost"].startswith("$0.0") for one in found["models"])
    assert "Logistic regression does as well, as far as 69 held-out rows show" in printed
    low, high = models["logistic regression"]["ahead"][1:]
    assert low < 0 < high  # though all rows may be right on both sides
    project.run(["python", "scripts/report.py", run])
    report = (run / "report.html").read_text(encoding="utf-8")
    assert "Is it better than a simple model?" in report and "Logistic regression does as" in report


def test_a_regression_of_a_table_with_gaps(prices):
    project, run = prices
    printed, found, models = compare(project, run)

    assert found["metric"] == "mae" and found["rows"] + found["train"] == 400
    own = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert models["this run"]["value"][0] == pytest.approx(own["metrics"]["val_mae"], 1e-3)
    assert models["ridge regression"]["value"][2] < models["the mean"]["value"][1] / 2
    low, high = models["ridge regression"]["ahead"][1:]
    assert low < 0 < high and "Ridge regression does as well, as far as" in printed


def test_images_are_compared_by_their_pixels(digits):
    project, run = digits
    printed, _, models = compare(project, run)

    assert models["logistic regression"]["value"][0] > 0.93 > models["this run"]["value"][0]
    assert "Logistic regression does better: this run is behind logistic regression by" in printed


def test_other_data_than_the_runs_is_refused(prices):
    project, run = prices
    path = project.path / "data/prices.csv"
    before = path.read_bytes()
    path.write_bytes(before + b"\n1,a,2000,2020-01-01,9")
    done = project.run([*BASELINE, run], check=False)
    path.write_bytes(before)

    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "the data is no longer what it was trained on; train again" in done.stderr


def test_without_scikit_learn_and_network_the_command_is_named(penguins):
    project, run = penguins
    folder = project.path / "build"
    folder.rename(project.path / "away")
    done = project.run([*BASELINE, run], check=False, PIP_NO_INDEX="1", UV_OFFLINE="1", UV_NO_CACHE="1")  # fmt: skip
    left = list(folder.glob("*"))
    (project.path / "away").rename(folder)

    *_, error = done.stderr.splitlines()
    assert done.returncode == 2 and left == []
    assert error.startswith("error: scikit-learn: cannot be installed (")
    assert "with a network, run: " in error and error.endswith("--target build/scikit-learn")


CASES = """
import sys
from types import SimpleNamespace as Of
import numpy as np
from codec import baselines
from codec.errors import JobError
from launcher.report.baselines import describe

random = np.random.default_rng(0)
command = [sys.executable, "launcher/local/simple_models.py", "build/scikit-learn"]

def measure(examples, text):
    return baselines.measure(examples, text, command)

def make(rows, inputs, target, classes=()):
    def batches(size):
        for start in range(0, rows, 500):
            part = slice(start, start + 500)
            block = {n: a[part][:, None] for n, a in inputs.items()}, target[part][:, None]
            yield len(target[part]), block
    part = Of(rows=rows, batches=batches)
    return Of(train=part, eval=part, classes=list(classes))

# Two outputs: one depends on a category of 1,000, the other on the mean of many places.
codes = random.integers(0, 1000, (600, 1)).astype(np.int32)
pixels = random.integers(0, 256, (600, 30, 26, 1)).astype(np.uint8)
target = np.hstack([codes % 7, pixels.mean(axis=(1, 2))]).astype(np.float32)
both = make(600, {"codes": codes, "pixels": pixels}, target)
part = baselines.read_part(both.train)
assert part.numbers.shape == (600, 15 * 13) and part.codes.shape == (600, 1)
assert np.allclose(part.numbers[0, 0], pixels[0, :2, :2].mean())
# Of many rows, evenly spaced ones, of which predictions.csv has others.
baselines.ROWS = 200
found = measure(both, "row,mae\\n0,0\\n3,1\\n6,0\\n7,0\\n")
assert (found["train"], found["train_of"], found["rows"]) == (200, 600, 3), found
mean, ridge, trees, own = found["models"]
assert own["value"][0] == 0.333333 and ridge["value"][0] < mean["value"][0], found
other = make(600, {"x": target}, target[:, :1])
for truth, is_own in ((target[3, 0], True), (-1, False)):  # rows that are no examples
    models = measure(other, f"row,truth,mae\\n3,{truth},0.5\\n")["models"]
    assert (models[-1]["name"] == "this run") == is_own
for bad in (pixels, codes):
    try:
        measure(make(600, {"x": target}, bad), "")
    except JobError as error:
        assert str(error).startswith("baselines predict a class, or numbers; the target of this")
    else:
        raise AssertionError

# Which sentence stands below the table.
mean["ahead"], ridge["ahead"], trees["ahead"] = [0.5, 0.4, 0.6], [0.2, 0.1, 0.3], [0.3, 0.2, 0.4]
best = "This run does better than all of them: it is ahead of ridge regression by 0.20 (0.10 to 0.30)."
assert describe(found).startswith(best), describe(found)
trees["ahead"] = [-0.3, -0.4, -0.2]
best = "Gradient boosting does better: this run is behind gradient boosting by 0.30 (0.20 to 0.40)."
assert describe(found).startswith(best), describe(found)
other.eval = Of(**vars(other.train), groups=np.arange(600) % 2)
few = measure(other, "row,mae\\n0,0\\n3,1\\n6,0\\n7,0\\n")
assert few["models"][0]["ahead"][1:] == [None, None]
assert describe(few).startswith("Whether this run is better cannot be said: "), describe(few)
mean["ahead"] = ridge["ahead"] = trees["ahead"] = None
assert describe(found).startswith("Nothing is compared with this run: "), describe(found)
"""


def test_several_outputs_rare_categories_and_many_rows(penguins):
    project, _ = penguins
    project.run(["python", "-c", CASES])


def read_sql(project, run):
    """The statements, as sqlglot understands them: {name: statement}."""
    import sqlglot

    parsed = sqlglot.parse(project.run([*BASELINE, run, "--bqml"]).stdout, dialect="bigquery")
    assert not any(isinstance(one, sqlglot.exp.Command) for one in parsed)  # what it does not read
    return [one.sql("bigquery") for one in parsed]


def test_the_sql_for_bigquery_is_read_by_a_parser(penguins, prices):
    statements = read_sql(*penguins)
    assert len(statements) == 7
    assert "FROM `PROJECT.my_research.eval` AS t" in statements[2]
    assert "input_label_cols=['species']" in statements[3]
    assert "ML.PREDICT(MODEL `PROJECT.my_research.logistic_reg`" in statements[4]

    statements = read_sql(*prices)
    assert (
        "NULLIF(SAFE_CAST(`PROJECT.my_research.present`(CAST(`built` AS STRING))" in statements[1]
    )
    assert "`living_space`" in statements[1] and "`sold` AS `sold`" in statements[1]
    assert "FROM `PROJECT.my_research.train` AS t" in statements[2]  # without files of their own
    assert "FARM_FINGERPRINT" in statements[2] and "FARM_FINGERPRINT" in statements[1]


@pytest.mark.parametrize(
    ("name", "inputs", "price"),
    [
        ("penguins", "AutoMlTablesInputs", "about $21.25"),
        ("prices", "AutoMlTablesInputs", "about $21.25"),
        ("digits", "AutoMlImageClassificationInputs", "about $27.72"),
    ],
)
def test_the_message_for_automl_is_the_apis_own(request, name, inputs, price):
    from google.cloud.aiplatform.v1.schema.trainingjob import definition_v1
    from google.cloud.aiplatform_v1.types import TrainingPipeline
    from google.protobuf.json_format import ParseDict

    project, run = request.getfixturevalue(name)
    inputs = getattr(definition_v1, inputs)
    done = project.run([*BASELINE, run, "--automl"])
    message = json.loads(done.stdout)

    ParseDict(message, TrainingPipeline.pb(TrainingPipeline()))  # raises on any unknown field
    ParseDict(message["trainingTaskInputs"], inputs.pb(inputs()))
    assert price in done.stderr


def test_images_are_nothing_for_bigquery(digits):
    project, run = digits
    done = project.run([*BASELINE, run, "--bqml"], check=False)
    assert done.returncode == 2
    assert (
        done.stderr == "error: --bqml: BigQuery ML trains on tables, not on images; see --automl\n"
    )
