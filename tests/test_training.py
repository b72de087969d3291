"""Baked repos train: their own data, other people's, and data that cannot be trained on."""

import csv
import json
import random
import re
import statistics
from pathlib import Path

import pytest

from conftest import forked

pytestmark = pytest.mark.slow

IRIS = Path(__file__).parent / "data" / "iris.csv"
TASK = ["python", "-m", "trainer.task"]


def train(project, job_dir, *flags, check=True):
    task = ["python", *forked("trainer.task")]
    return project.run([*task, "--job-dir", job_dir, *flags], check=check)


def run_record(job_dir):
    return json.loads((Path(job_dir) / "run.json").read_text(encoding="utf-8"))


def sections(job_dir):
    return json.loads((job_dir / "evaluation.json").read_text(encoding="utf-8"))["sections"]


def read_predictions(job_dir):
    with open(job_dir / "predictions.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_census(path, rows, seed=0):
    """Rows shaped as the tutorials' census file, in which income follows from the columns."""
    rng = random.Random(seed)
    header = (
        "age,workclass,fnlwgt,education,education_num,marital_status,occupation,relationship,"
        "race,gender,capital_gain,capital_loss,hours_per_week,native_country,income_bracket"
    )
    lines = [header]
    for _ in range(rows):
        age, school, hours = rng.randint(17, 90), rng.randint(1, 16), rng.randint(1, 99)
        married = rng.choice(["Married-civ-spouse", "Never-married", "Divorced"])
        gain = rng.randint(1, 99999) if rng.random() < 0.1 else 0
        score = school / 4 + hours / 40 + gain / 20000 + 2 * married.startswith("M")
        income = ">50K" if score + rng.gauss(0, 0.5) > 5 else "<=50K"
        work = rng.choice(["Private", "State-gov", "?"])
        lines.append(
            f"{age}, {work}, {rng.randint(10**4, 10**6)}, School-{school}, {school}, {married}, "
            f"Occupation-{rng.randint(1, 14)}, Husband, White, {rng.choice(['Male', 'Female'])}, "
            f"{gain}, 0, {hours}, Country-{rng.randint(1, 40)}, {income}"
        )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="session")
def finished(bake):
    """The main job, as `make demo` runs it: the process, and the directory of its run."""
    project = bake()
    done = project.run(["python", "scripts/train_local.py"])
    return done, Path(re.search(r"run directory: (.+)", done.stdout)[1])


def test_the_main_job_learns_and_shows_it(finished):
    done, run_dir = finished

    accuracy = float(re.search(r"eval accuracy: ([\d.]+)", done.stdout)[1])
    assert accuracy >= 0.95
    assert re.search(r"eval accuracy: \S+ \(95 % interval: [\d.]+ to [\d.]+\)", done.stdout)
    assert f"report: {run_dir / 'report.html'}" in done.stdout
    names = {path.name for path in run_dir.iterdir()}
    assert names >= {"model", "checkpoints", "logs", "run.json", "schema.json", "history.csv"}
    assert len(read_predictions(run_dir)) == 69
    assert (run_dir / "model" / "saved_model.pb").is_file()
    assert any(run_dir.glob("logs/eval/*tfevents*"))


def test_metric_ids_are_the_same_everywhere(finished):
    _, run_dir = finished
    metrics = run_record(run_dir)["metrics"]

    with open(run_dir / "history.csv", encoding="utf-8", newline="") as file:
        history = list(csv.DictReader(file))

    assert list(metrics) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert list(history[0]) == ["epoch", *metrics]
    row = history[run_record(run_dir)["exported"]["epoch"] - 1]
    assert {name: float(row[name]) for name in metrics} == metrics
    epochs = run_record(run_dir)["flags"]["epochs"]
    assert [row["epoch"] for row in history] == [str(n + 1) for n in range(epochs)]
    page = (run_dir / "report.html").read_text(encoding="utf-8")
    assert all(name in page for name in metrics)


def test_predictions_are_the_models_own(bake, finished):
    """The held-out rows through predict.py give the confusion counts of the run."""
    project, (_, run_dir) = bake(), finished

    predict = ["python", *forked("scripts/predict.py"), "--model", run_dir / "model"]
    answers = project.run([*predict, "data/penguins_eval.csv"]).stdout.splitlines()

    with open(project.path / "data/penguins_eval.csv", encoding="utf-8", newline="") as file:
        truth = [row["species"] for row in csv.DictReader(file)]
    quality, confusion, importance = sections(run_dir)
    labels = confusion["labels"]
    counts = [[0] * len(labels) for _ in labels]
    for true, line in zip(truth, answers, strict=True):
        answer = json.loads(line)
        assert answer["class"] == max(answer["probabilities"], key=answer["probabilities"].get)
        assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-6)
        counts[labels.index(true)][labels.index(answer["class"])] += 1
    assert counts == confusion["counts"]
    accuracy, baseline = (value["value"] for value in quality["values"])
    assert accuracy == sum(counts[i][i] for i in range(len(labels))) / len(truth)
    assert baseline == truth.count("Adelie") / len(truth)
    assert importance["rows"][0][0] == "bill_length_mm"


def test_hostile_names_stand_in_the_run_record(bake, tmp_path):
    name = '"It\'s" {{ 7*7 }} ${HOME} \\n C:\\temp #~ 🐧 <script>'
    project = bake(project_name=name, author=name, project_slug="hostile")

    train(project, tmp_path / "run", "--epochs", "1")

    record = run_record(tmp_path / "run")
    assert (record["project"], record["author"]) == (name, name)
    assert re.fullmatch("[0-9a-f]{40}", record["template"])


def test_iris(bake, tmp_path):
    rows = IRIS.read_text(encoding="utf-8").splitlines()
    body = rows[1:]
    random.Random(0).shuffle(body)
    for part, chosen in (("train", body[30:]), ("eval", body[:30])):
        (tmp_path / f"{part}.csv").write_text("\n".join([rows[0], *chosen]), encoding="utf-8")
    files = ["--train-files", tmp_path / "train.csv", "--eval-files", tmp_path / "eval.csv"]

    train(bake(), tmp_path / "run", *files, "--target", "species")

    record = run_record(tmp_path / "run")
    assert record["metrics"]["val_accuracy"] >= 0.93
    assert (record["data"]["train"]["rows"], record["data"]["eval"]["rows"]) == (120, 30)


def test_census(bake, tmp_path):
    write_census(tmp_path / "census.csv", 5000)
    flags = ["--train-files", tmp_path / "census.csv", "--target", "income_bracket"]

    train(bake(), tmp_path / "run", *flags, "--epochs", "10", "--batch-size", "128")

    schema = json.loads((tmp_path / "run" / "schema.json").read_text(encoding="utf-8"))
    kinds = {column["name"]: column["kind"] for column in schema["columns"]}
    assert schema["labels"] == ["<=50K", ">50K"]
    assert (kinds["age"], kinds["workclass"], kinds["race"]) == ("number", "category", "ignore")
    assert run_record(tmp_path / "run")["metrics"]["val_accuracy"] >= 0.9


def test_regression(bake, tmp_path):
    flags = ["--train-files", "data/*.csv", "--target", "body_mass_g", "--early-stopping", "10"]

    done = train(bake(), tmp_path / "run", *flags, "--epochs", "60")

    record = run_record(tmp_path / "run")
    numbers, scatter, importance = sections(tmp_path / "run")
    assert record["task"] == "regression"
    r2, rmse, baseline = (value["value"] for value in numbers["values"])
    errors = [abs(y - x) for x, y in zip(scatter["x"], scatter["y"], strict=True)]
    assert len(errors) == scatter["of"] == record["data"]["eval"]["rows"]
    assert record["metrics"]["val_mae"] == pytest.approx(statistics.mean(errors), rel=1e-4)
    assert rmse == pytest.approx(statistics.mean(e**2 for e in errors) ** 0.5, rel=1e-4)
    assert r2 == pytest.approx(1 - rmse**2 / statistics.pvariance(scatter["x"]), rel=1e-4)
    assert r2 > 0.6
    assert baseline > rmse > 0
    spread = 1.96 * statistics.stdev(errors) / len(errors) ** 0.5
    low, high = record["intervals"]["val_mae"]
    assert (high - low) / 2 == pytest.approx(spread, rel=0.1)
    assert low < record["metrics"]["val_mae"] < high
    assert all(v["interval"][0] <= v["value"] <= v["interval"][1] for v in numbers["values"])
    falls = {name: cell["bar"] for name, cell in importance["rows"]}
    assert set(falls) == {"species", "island", "bill_length_mm", "bill_depth_mm"} | (
        {"flipper_length_mm", "sex", "year"}
    )
    assert max(value for value, _, _ in falls.values()) > 0.1
    assert all(low <= value <= high for value, low, high in falls.values())
    rows = read_predictions(tmp_path / "run")
    assert [float(row["truth"]) for row in rows] == pytest.approx(scatter["x"])
    assert [float(row["mae"]) for row in rows] == pytest.approx(errors, rel=1e-4)

    # Log, record, history and report agree on the epoch that was exported.
    with open(tmp_path / "run" / "history.csv", encoding="utf-8", newline="") as file:
        history = list(csv.DictReader(file))
    lowest = min(history, key=lambda row: float(row["val_loss"]))
    epoch = int(lowest["epoch"])
    assert epoch < len(history)  # or nothing was stopped early
    assert record["exported"]["epoch"] == epoch
    assert record["metrics"] == {k: float(v) for k, v in lowest.items() if k != "epoch"}
    which = f"epoch {epoch} of {len(history)} (the best val_loss)"
    exported, _ = done.stdout.splitlines()[-2:]
    assert exported.startswith(f"exported {which}: val_loss {float(lowest['val_loss']):.4g}")
    bake().run(["python", "scripts/report.py", tmp_path / "run"])
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert f"Metrics of the exported model: {which}" in page
    assert done.stdout.count("mae: mean absolute error, in the unit of body_mass_g\n") == 1
    assert re.search(r"^weights \w+ \(a checksum: ", done.stdout, re.MULTILINE)


def test_the_last_epoch_is_exported_although_training_stopped_early(bake, tmp_path):
    """With a learning rate that spoils the model, the first epochs stay the best ones."""
    flags = ["--learning-rate", "3", "--export", "last"]
    stop = ["--epochs", "12", "--early-stopping", "2"]

    stopped = train(bake(), tmp_path / "stopped", *flags, *stop)
    epochs = len((tmp_path / "stopped/history.csv").read_text().splitlines()) - 1
    calm = train(bake(), tmp_path / "calm", *flags, "--epochs", str(epochs))

    assert 2 < epochs < 12
    one, two = (re.search(r"^weights (\w+)", run.stdout, re.M)[1] for run in (stopped, calm))
    assert one == two


def test_same_seed_same_history(bake, tmp_path):
    """One is a process of its own: forks share the order of their sets."""
    flags = ["--epochs", "5", "--dropout", "0.3", "--seed"]
    bake().run([*TASK, "--job-dir", tmp_path / "one", *flags, "4"])
    train(bake(), tmp_path / "two", *flags, "4")
    train(bake(), tmp_path / "other", *flags, "5")

    network = "model/assets.extra/network.onnx"
    for file in ("history.csv", "evaluation.json", "predictions.csv", network):
        one, two, other = ((tmp_path / n / file).read_bytes() for n in ("one", "two", "other"))
        assert one == two != other


@pytest.mark.parametrize("batch_size, compiles", [(8, True), (64, False)])
def test_xla_compiles_where_many_steps_follow(bake, tmp_path, batch_size, compiles):
    write_census(tmp_path / "census.csv", 4000)
    data = ["--train-files", tmp_path / "census.csv", "--target", "income_bracket"]
    flags = ["--epochs", "1", "--batch-size", str(batch_size), "--job-dir", tmp_path / "run"]
    compiled = tmp_path / "compiled"  # where XLA writes what it compiles, if anything

    task = ["python", *forked("trainer.task"), *data, *flags]
    bake().run(task, XLA_FLAGS=f"--xla_dump_to={compiled}")

    assert compiled.exists() == compiles


def test_options_train(bake, tmp_path):
    """Flags that change how, not what: each is used at least once, and the penguins are told."""
    flags = ["--epochs", "10", "--optimizer", "adamw", "--weight-decay", "0.01"]
    flags += ["--precision", "mixed_bfloat16", "--jit", "on", "--deterministic", "--histograms"]
    flags += ["--class-weights", "balanced"]

    train(bake(), tmp_path / "run", *flags, "--hidden-units", "16")

    assert run_record(tmp_path / "run")["metrics"]["val_accuracy"] >= 0.9


def bad_file(path, text):
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "flags", "message"),
    [
        (None, [], r"--train-files: no file matches"),
        (None, ["--train-files", "https://x.org/a.csv"], r"https://x\.org/a\.csv: https:// is not"),
        ("", [], r"data\.csv: the file is empty"),
        ("a,b\n", [], r"data\.csv: a header and no rows"),
        ("a,c\n1,2\n", [], r"no column 'b'; there are: a, c"),
        ("a,b\n1,x\n2,x\n", [], r"target 'b' has one class, 'x'"),
        ("a,b\n1,x\n2,y,z\n", [], r"data\.csv:3: 3 values"),
        ("a,b\nm,x\nn,y\n", ["--schema"], r"data\.csv:2: column 'a': expected a number, got 'm'"),
        ("a,b\n1,x\n2,y\n", ["--target", "b", "--learning-rate", "1e38"], r"in epoch \d+"),
    ],
)
def test_bad_data_is_told_in_a_line_and_leaves_nothing(bake, tmp_path, text, flags, message):
    data, job_dir = tmp_path / "data.csv", tmp_path / "runs" / "bad"
    if text is not None:
        if "1e38" in flags:  # rows enough to train on
            text = "a,b\n" + "".join(f"{i / 2},{'xy'[i % 2]}\n" for i in range(100))
        bad_file(data, text)
    if flags == ["--schema"]:
        hints = '{"columns": [{"name": "a", "kind": "number"}]}'
        flags = ["--schema", bad_file(tmp_path / "hints.json", hints)]

    done = train(bake(), job_dir, "--train-files", data, "--target", "b", *flags, check=False)

    told = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2
    assert len(told) == 1 and re.search(message, told[0])
    assert "Traceback" not in done.stderr + done.stdout
    # What has trained keeps its record and its logs; nothing else leaves a trace.
    assert job_dir.exists() == ("1e38" in flags)


def test_unknown_flags_are_named_and_underscores_taken(bake, tmp_path):
    flags = ["--learning_rate", "0.01", "--batch_size=64.0", "--epochs", "1", "--nonsense", "7"]

    done = train(bake(), tmp_path / "run", *flags)

    assert "warning: unknown flags, ignored: --nonsense 7" in done.stderr
    recorded = run_record(tmp_path / "run")["flags"]
    assert (recorded["learning_rate"], recorded["batch_size"]) == (0.01, 64)


def test_help_and_wrong_flags_do_not_wait_for_tensorflow(bake):
    """What takes long to import is not imported: seen in the modules, not by a clock."""
    probe = (
        "import sys, trainer.task as t\n"
        "try: t.main(sys.argv[1:])\n"
        "except SystemExit as end: code = end.code\n"
        "heavy = {'tensorflow', 'keras', 'numpy', 'pyarrow'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 10 + code)"
    )
    for flags, code in ((["--help"], 10), (["--epochs", "none"], 12)):
        assert bake().run(["python", "-c", probe, *flags], check=False).returncode == code


def test_packages_that_only_keras_imports_do_not_delay_a_start(bake, tmp_path):
    """They are there, would say so if Keras imported them, and can be imported afterwards."""
    for name in ("matplotlib", "sklearn"):
        (tmp_path / f"{name}.py").write_text(f"print('imported {name}')", encoding="utf-8")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from trainer.task import hidden\n"
        "with hidden('matplotlib', 'sklearn'):\n"
        "    import tensorflow\n"
        "print('now')\n"
        "import matplotlib, sklearn"
    )

    printed = bake().run(["python", "-c", code]).stdout.splitlines()

    assert printed[printed.index("now") :] == ["now", "imported matplotlib", "imported sklearn"]
    assert "imported matplotlib" not in printed[: printed.index("now")]


def test_every_optimizer_of_the_flag_is_one_of_keras(bake):
    code = (
        "from trainer import task, model\n"
        "from trainer.engine.flags import OPTIMIZERS\n"
        "flags = ['--weight-decay', '0.1', '--learning-rate', '0.01']\n"
        "for name in map(str.title, OPTIMIZERS):\n"
        "    model.optimizer(task.parse(['--optimizer', name, *flags]))\n"
    )
    bake().run(["python", *forked("-c"), code])
    done = bake().run([*TASK, "--optimizer", "adma"], check=False)
    assert done.returncode == 2
    assert "'adma' is no optimizer of Keras; write one of adamax, adam, nadam" in done.stderr


def test_every_flag_is_explained(bake):
    text = bake().run([*TASK, "--help"]).stdout
    usage, _, described = text.partition("\n\n")

    flags = set(re.findall(r"--[a-z-]+", usage))
    assert flags >= {"--job-dir", "--train-files", "--eval-files", "--target", "--task", "--schema"}
    assert flags >= {"--epochs", "--batch-size", "--learning-rate", "--seed", "--hidden-units"}
    for flag in flags:
        assert re.search(rf"{flag}\b[^\n]*\n? +\S", described), flag
