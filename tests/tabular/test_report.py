"""Runs are read back as they were, and their report tells what a person looks for."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pages import page_of, words_of

from launcher.report import comparison, report, runs

pytestmark = pytest.mark.slow

REPO = Path(__file__).resolve().parents[1]
HISTORY = """\
epoch,loss,accuracy,val_loss,val_accuracy
1,0.9,0.5,1.0,0.45
2,0.4,0.8,0.5,0.75
3,0.2,0.9,0.6,0.7125
"""
CONFUSION = {
    **{"kind": "confusion", "title": "What it confuses", "text": "One remark.\nAnother one."},
    "labels": ["Adelie", "Chinstrap", "Gentoo"],
    "counts": [[30, 10, 0], [5, 15, 0], [20, 0, 0]],
}
NUMBERS = {
    **{"kind": "numbers", "title": "How close it comes", "text": ""},
    "values": [
        {"label": "R²", "value": 0.875, "note": "1 is perfect", "interval": [0.8431, 0.9066]},
        {"label": "rows", "value": 4321, "note": "of an older trainer"},
    ],
}
SCATTER = {
    **{"kind": "scatter", "title": "Where it is off", "text": "", "equal": True, "of": 9},
    **{"x": [1.0, 2.0, 3.0, 4.0], "y": [1.0, 2.5, 3.0, 3.5]},
    **{"x_label": "truth", "y_label": "prediction"},
}
COLUMNS = {
    **{"kind": "table", "title": "Columns", "text": "warning: 'island' alone gives the class"},
    "columns": ["column", "kind", "missing"],
    "rows": [["island", "category", 0], ["sample", "ignore", 3]],
}
BARS = {
    **{"kind": "table", "title": "Which columns matter", "text": ""},
    "columns": ["column", "fall", "shape"],
    "rows": [
        ["bill", {"bar": [0.4, 0.3, 0.5]}, {"histogram": [1, 4, 2]}],
        ["year", {"bar": [-0.01, -0.05, 0.02]}, {"histogram": [0, 0]}],
        ["sex", {"bar": [None, None, None]}, None],
    ],
}
CURVES = {
    **{"kind": "curves", "title": "Calibration", "text": "", "x_label": "confidence"},
    **{"x": [0, 0.5, 1], "lines": {"model": [0, None, 1], "$\\frac$": [0, 0.5, 1]}},
}
GALLERY = {"kind": "gallery", "title": "Some", "text": "", "items": []}
SIGNALS = [
    {"name": "x <b>", "values": [0, None, 5, 10], "shades": [], "scale": [0, 20]},
    {"name": "jump", "values": [], "shades": [0.5, None, -1, 0], "scale": None},
]
TIMELINES = {
    **{"kind": "timelines", "title": "Over time", "text": "", "x_label": "s"},
    "items": [{"rows": SIGNALS, "span": [0, 2.5], "lines": ["jump 80 %", "p03"], "right": False}],
}
EVERY = (NUMBERS, COLUMNS, BARS, CONFUSION, SCATTER, CURVES, GALLERY, TIMELINES)
RECORD = {
    **{"status": "succeeded", "error": None, "project": "Penguins", "author": "Ada"},
    "command": ["python", "-m", "trainer.task", "--target", "body mass"],
    "flags": {"epochs": 3, "learning_rate": 0.003, "job_dir": None},
    "git": {"commit": "4f1c2d3e", "dirty": False},
    "versions": {"python": "3.11.7"},
    "machine": {"cpus": 8, "gpus": [], "memory_bytes": 32_000_000_000},
    "data": {"train": {"files": [{"path": "train.csv", "bytes": 1200}], "rows": 275, "dropped": 2}},
    **{"task": "classification", "target": "species", "parameters": 2915},
    "data_sections": [COLUMNS],
    "metrics": {"loss": 0.2, "accuracy": 0.9, "val_loss": 0.6, "val_accuracy": 0.7125},
    "exported": {"epoch": 3, "why": "the last"},
    "intervals": {"val_loss": [0.52, 0.68], "val_accuracy": [0.66, 0.76], "val_x": ["a", None]},
    "timings": {"import tensorflow": 3.0, "train": 6.0, "export": 1.0},
    "rows_per_second": 18450,
    **{"started": "2026-11-21T10:32:05+00:00", "ended": "2026-11-21T10:33:35+00:00"},
}


@pytest.fixture
def make(tmp_path):
    """Writes a run directory: a good one, but for what is said. A file that is None is left out."""

    def write(name="run", record=None, history=HISTORY, sections=(CONFUSION,), **keys):
        path = tmp_path / "runs" / name
        path.mkdir(parents=True)
        texts = {"evaluation.json": json.dumps({"sections": sections})} if sections else {}
        texts["run.json"] = record if record is not None else json.dumps(RECORD | keys)
        if history is not None:
            texts["history.csv"] = history
        for file, text in texts.items():
            (path / file).write_text(text, encoding="utf-8")
        return path

    return write


def test_a_classification_run_is_told_in_numbers(make):
    words = words_of(page_of(make()))
    for expected in (
        "71 % accuracy 66 to 76 %, on held-out examples (val_accuracy)",
        "Metrics of the exported model: epoch 3 of 3 (the last)",
        "val_loss 0.60 0.52 to 0.68",
        "One remark. Another one.",
        "Of 80 held-out examples, 45 were predicted right.",
        "Adelie 0.55 0.42 to 0.67 0.75 0.60 to 0.86 0.63 40",
        "Gentoo – 0.00 0.00 to 0.16 0.00 20",  # never predicted: its precision has no value
        "Training examples: 275, 2 dropped",
        "column kind missing island category 0 sample ignore 3",
        "Before you trust the figures 'island' alone gives the class",
        "The slowest part was train : 6 s, 60.0 % of the 10 s",
        "git checkout 4f1c2d3e python -m trainer.task --target 'body mass'",
        "started 2026-11-21 10:32:05 UTC · took 90 s",
    ):
        assert expected in words
    assert "Not on this page" not in words


def test_the_exported_epoch_is_named(make):
    page = page_of(make())
    words = words_of(page)
    assert "Exported: 0.6 in epoch 3." in words and "Exported: 0.7125 in epoch 3." in words
    assert page.count('alt="Line chart of') == 2


def test_sections_are_drawn_by_their_kind(make):
    page = page_of(make(sections=EVERY))
    words = words_of(page)
    for expected in (
        "How close it comes 0.875 R² 0.843 to 0.907; 1 is perfect 4,321 rows of an older trainer",
        "bill 0.40 0.30 to 0.50",
        "year −0.010 −0.050 to 0.020",
        "The median of prediction − truth is 0; nine in ten lie between",
        "Across: truth; up: prediction. 4 of 9 points.",
        "Across: confidence. model $\\frac$",
        "Over time jump 80 % p03 x <b> 0 to 20 jump 0 s 2.5",
    ):
        assert expected in words
    assert [words.index(section["title"]) for section in EVERY] == sorted(
        words.index(section["title"]) for section in EVERY
    )
    assert page.count("data:image/svg+xml") == 2 + 2 + 1  # learning curves, scatter, curves
    widths = [float(width) for width in re.findall(r'<rect x="[^"]*" y="2" width="([^"]*)"', page)]
    assert widths[0] / widths[1] == pytest.approx(40, rel=0.1)  # on one scale: 0.4 and −0.01
    heights = [float(h) for h in re.findall(r'width="4" height="([^"]*)"', page)]
    assert heights == [5, 20, 10, 0, 0]
    assert 'd="M0.0 24.0 M293.3 18.5 L440.0 13.0"' in page  # a gap, and half of the scale
    shades = re.findall(
        r'<rect x="([^"]*)" [^>]*fill="rgb\(([^)]*)\)" fill-opacity="([^"]*)"', page
    )
    assert shades == [("0.0", "0, 114, 178", "0.50"), ("220.0", "213, 94, 0", "1.00")]
    assert "Not on this page" not in words
    free = page_of(make("free", sections=[SCATTER | {"equal": False}]))
    assert "Scatter plot" in free and "Histogram" not in free


def test_the_page_loads_nothing_and_is_repeatable(make):
    path = make()
    page = page_of(path)
    assert not re.findall(r"""(?:src|href)=["'](?!data:)|url\(|@import|<script|<link""", page)
    assert page == page_of(path)


def test_hostile_names_stay_text(make):
    evil = """<script>alert("1")</script> & 'x' 🐧 {% for %} $\\frac$"""
    quiet = evil.replace(chr(34), chr(34) * 2)
    hostile = [
        CONFUSION | {"labels": [evil, '" onload="x', "$"], "title": evil, "text": evil},
        SCATTER | {"x_label": evil, "y_label": evil},
        CURVES | {"x_label": evil, "lines": {evil: [1, 2, 3]}},
        NUMBERS | {"values": [{"label": evil, "value": evil, "note": evil}]},
    ]
    page = page_of(
        make(
            project=evil,
            target=evil,
            sections=hostile,
            history=f'epoch,"{quiet}"\n1,0.5\n',
            data_sections=[COLUMNS | {"columns": [evil], "rows": [[evil]]}],
            flags={evil: evil},
            command=["python", evil],
        )
    )
    assert "<script" not in page
    assert not re.search(r'<[^>]*" onload=', page)
    assert words_of(page).count(evil) >= 8


def test_a_failed_run_says_why_and_shows_what_is_there(make):
    error = "the loss is not a number any more in epoch 3"
    path = make(status="failed", error=error, metrics=None, sections=None, git={"commit": None})
    words = words_of(page_of(path))
    assert words.index(error) < words.index("Learning curves")
    assert "The commit is not recorded" in words


def test_uncommitted_changes_and_a_reused_directory_are_warned_of(make):
    command = ["python", "-m", "trainer.task", "--job_dir=runs/a"]
    words = words_of(page_of(make(git={"commit": "4f1c", "dirty": True}, command=command)))
    assert "Some files had changes that were not committed." in words
    assert "give another --job-dir" in words


@pytest.mark.parametrize(
    "damage",
    [
        {"history": ""},
        {"history": "epoch,loss\n"},
        {"history": "loss\n0.5\n"},
        {"history": "epoch,loss,val_loss\n1,nan,inf\n2,,x\n3,0."},
        {"history": None, "sections": None},
        {"record": "{}"},
        {"metrics": {"val_accuracy": float("nan"), "loss": None}, "rows_per_second": "fast"},
    ],
)
def test_a_run_that_left_little_still_gets_a_page(make, damage):
    path = make(**damage)
    assert "How to repeat it" in page_of(path)
    found = runs.load_all(path.parent)
    assert comparison.table(found).height == 1
    [*map(comparison.Group.rank, comparison.group_runs(found))]


@pytest.mark.parametrize(
    "section",
    [
        *(3, None, {}, [], {"kind": "unknown"}, {"kind": ["numbers"]}),
        *({"kind": section["kind"]} for section in EVERY),
        CONFUSION | {"counts": [[1, 2], [3]]},
        CONFUSION | {"counts": [[0] * 3] * 3},
        CONFUSION | {"counts": [[1, 2, 3], [1, 2, 3], [1, 2, -3]]},
        SCATTER | {"x": [float("nan")] * 4},
        SCATTER | {"y": [1]},
        CURVES | {"lines": {"a": [1]}},
        COLUMNS | {"rows": [["one"]]},
        BARS | {"rows": [["bill", {"bar": [1]}, None]]},
        BARS | {"rows": [["bill", {"other": [1]}, None]]},
        NUMBERS | {"values": [1]},
        GALLERY | {"items": [{"images": 3}]},
        TIMELINES | {"items": [{"rows": 3}]},
        TIMELINES | {"items": [{**TIMELINES["items"][0], "rows": [{"name": "x"}]}]},
    ],
)
def test_a_damaged_section_is_left_out_and_named(make, section):
    words = words_of(page_of(make(sections=[section, CONFUSION])))
    assert "Not on this page: 1 section(s)" in words
    assert "What it confuses" in words


@pytest.mark.parametrize(
    "record",
    [
        "{",
        "[]",
        '{"metrics": [1]}',
        '{"flags": 3}',
        '{"git": "x"}',
        '{"timings": {"train": "long"}}',
        '{"data_sections": 3}',
        '{"data": {"train": []}}',
        '{"started": "yesterday"}',
        '{"intervals": {"val_loss": [1]}}',
        '{"phases": {"a": "x", "b": 1}}',
    ],
)
def test_a_record_that_no_trainer_writes_is_one_line(make, record):
    with pytest.raises(runs.RunError, match="its files cannot be") as refused:
        report.write(make(record=record))
    assert "\n" not in str(refused.value)


def test_a_line_that_a_killed_run_left_half_written_is_skipped(make):
    assert runs.load(make(history=HISTORY + "4,0.1")).history["epoch"] == [1, 2, 3]


@pytest.mark.parametrize("epochs", [1, 10_000])
def test_any_number_of_epochs_makes_a_page_of_some_size(make, epochs):
    lines = (f"{e},{1 / e + (e % 7) / 100},{1 / e + (e % 5) / 90}" for e in range(1, epochs + 1))
    page = page_of(make(history="epoch,loss,val_loss\n" + "\n".join(lines) + "\n"))
    assert "Line chart of training, evaluation" in page
    assert len(page) < 500_000


def test_hundreds_of_classes_are_cut_down_to_the_mistaken_ones(make):
    size = 300
    confusion = [[5 if i == j else 0 for j in range(size)] for i in range(size)]
    confusion[250][17] = 4
    labels = [f"class {i}" for i in range(size)]
    page = page_of(make(sections=[CONFUSION | {"labels": labels, "counts": confusion}]))
    words = words_of(page)
    assert "class 250 class 17 4 44.4 %" in words
    assert 'class="matrix' not in page
    assert page.count("<td") < 4000


def test_tables_compare_runs(make):
    make(
        "old", flags={"epochs": 3, "learning_rate": 0.1, "units": "64"}, started="2026-01-01T00:00Z"
    )
    make("new", flags={"epochs": 3, "learning_rate": 1, "units": [8], "newer": 1})
    broken = make("broken", record="{")
    found = runs.load_all(broken.parent)
    table = comparison.table(found)
    assert table["run"].to_list() == ["new", "old"]
    assert table["--learning-rate"].to_list() == [1.0, 0.1]
    assert table["--units"].to_list() == ["[8]", "64"]
    assert not {"--epochs", "--newer"} & set(table.columns)  # equal in both, or only in one
    assert table["seconds"].to_list()[0] == 90
    assert table["val_accuracy"].to_list() == [0.7125, 0.7125]
    assert table["exported_epoch"].to_list() == [3, 3]


def test_a_table_of_many_runs_looks_at_each_once(make):
    """Its time grows with the runs, not with their square."""

    class Counted(dict):
        looks = 0

        def __iter__(self):
            Counted.looks += 1
            return super().__iter__()

    one = runs.load(make())
    many = [dataclasses.replace(one, metrics=Counted(one.metrics))] * 50
    assert comparison.table(many)["val_accuracy"].to_list() == [0.7125] * 50
    assert Counted.looks <= 100


def test_a_broken_run_is_named_and_skipped(make, capsys):
    root = make("broken", record="{").parent
    make("good")
    assert [run.name for run in runs.load_all(root)] == ["good"]
    assert re.search(r"skipped .*broken.*cannot be read", capsys.readouterr().err)


def regression(make, name, target, mae, **keys):
    """A finished run: the error of its exported model, and a lower one that was not exported."""
    return make(
        name,
        task="regression",
        target=target,
        history=f"epoch,mae,val_mae\n1,1,0.001\n2,1,{mae}\n",
        metrics={"mae": 1, "val_mae": mae},
        exported={"epoch": 2, "why": "the last"},
        intervals={"val_mae": [mae - 0.2, mae + 0.2]},
        **keys,
    )


def held_out(digest, targets=None):
    return {"data": {"eval": {"rows": 9, "targets": targets, "files": [{"digest": digest}]}}}


def test_runs_are_ranked_only_against_runs_of_the_same_question(make):
    regression(make, "grams", "mass_g", 228.0)
    regression(make, "grams-better", "mass_g", 227.9)
    regression(make, "grams-worse", "mass_g", 250.0)
    regression(make, "millimetres", "length_mm", 1.8)
    regression(make, "other-rows", "mass_g", 3.0, **held_out("a"))
    regression(make, "other-split", "mass_g", 4.0, **held_out("a", "b"))
    path = regression(make, "unfinished", "mass_g", 1.0)
    record = json.loads((path / "run.json").read_text(encoding="utf-8"))
    del record["metrics"]
    (path / "run.json").write_text(json.dumps(record), encoding="utf-8")

    groups = comparison.group_runs(runs.load_all(path.parent))

    ranked = {tuple(run.name for run in group.rank()) for group in groups}
    one_each = {("millimetres",), ("other-rows",), ("other-split",)}
    assert ranked == {("grams-better", "grams", "grams-worse"), *one_each}
    [grams] = [group for group in groups if len(group.runs) == 4]
    assert "regression of mass_g by val_mae, on unknown held-out rows of train.csv" in grams.title


@pytest.mark.parametrize(
    ("metric", "goals", "best"),
    [
        ("cost", {"cost": "min"}, "low"),  # as METRICS in trainer/outputs.py says
        ("mae_saved", {"mae_saved": "max"}, "high"),
        ("log_loss", {}, "low"),  # by its name, where nobody says
        ("crossentropy", {}, "low"),
        ("auc", {}, "high"),
    ],
)
def test_the_best_run_is_best_by_what_the_trainer_says_of_the_metric(make, metric, goals, best):
    for name, value in {"low": 1.0, "high": 2.0}.items():
        history = f"epoch,{metric},val_{metric}\n1,0,{value}\n"
        known = {"metrics": {f"val_{metric}": value}, "metric_goals": goals}
        path = make(name, task="other", target="y", history=history, **known)
    [group] = comparison.group_runs(runs.load_all(path.parent))
    assert group.rank()[0].name == best


@pytest.fixture
def repo(tmp_path):
    """As much of this repo as reports need; `make` puts runs into it."""
    for folder in ("launcher", "scripts"):
        shutil.copytree(REPO / folder, tmp_path / folder)
    shutil.copy(REPO / "project.yaml", tmp_path)
    return tmp_path


def run_script(repo, *arguments):
    command = [sys.executable, repo / "scripts" / "report.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=repo.parent, timeout=60)


def test_the_script_takes_the_newest_run(repo, make):
    """It reads no older one, of which there may be thousands."""
    old = make("old", started="2026-01-01T00:00:00+00:00")
    (old / "evaluation.json").write_text("{", encoding="utf-8")
    new = make("new")
    result = run_script(repo)
    assert (result.returncode, result.stdout.strip()) == (0, str(new / "report.html"))
    assert result.stderr == ""
    assert (new / "report.html").exists()


def test_the_script_takes_several_runs_and_stops_at_a_wrong_one(repo, make):
    result = run_script(repo, make("a"), make("b"), "nowhere")
    assert result.returncode == 2
    assert [Path(line).parent.name for line in result.stdout.splitlines()] == ["a", "b"]
    assert result.stderr == "error: nowhere: no such directory\n"


def test_the_script_without_runs_says_so_in_one_line(repo):
    result = run_script(repo)
    assert (result.returncode, result.stdout) == (2, "")
    assert re.fullmatch("error: no run in .*; train one first\n", result.stderr)


def test_a_directory_that_is_no_run_is_told_from_one(tmp_path):
    with pytest.raises(runs.RunError, match="no run.json in it"):
        report.write(tmp_path)
    (tmp_path / "study.json").write_text("{}", encoding="utf-8")
    with pytest.raises(runs.RunError, match="a study, whose report is .*report.html; name a trial"):
        report.write(tmp_path)


def write_rows(path, wrong):
    """Writes predictions.csv: 40 penguins, of which these are taken for the other species."""
    lines = ["row,truth,prediction,accuracy,loss"]
    for row in range(40):
        names = ("Gentoo", "Adelie") if row % 2 else ("Adelie", "Gentoo")
        is_wrong = row in wrong
        lines.append(f"{row},{names[0]},{names[is_wrong]},{int(not is_wrong)},{0.1 + is_wrong}")
    (path / "predictions.csv").write_text("\n".join([*lines, ""]), encoding="utf-8")
    return path


def test_two_runs_are_compared_row_by_row(make):
    first, second = write_rows(make("a"), [5]), write_rows(make("b"), [0, 1, 2, 3, 4, 5, 6])
    pair = [runs.load(path) for path in (first, second)]
    rows, difference = comparison.compare_rows(*pair, "val_accuracy")
    assert rows["row"].to_list() == [0, 1, 2, 3, 4, 6]  # 5 is wrong in both
    assert rows["truth"].to_list()[:2] == ["Adelie", "Gentoo"]
    assert rows["prediction of b"].to_list()[:2] == ["Gentoo", "Adelie"]
    assert rows["accuracy of a"].to_list() == [1] * 6 and rows["accuracy of b"].to_list() == [0] * 6
    assert (difference.mean, difference.pairs) == (pytest.approx(6 / 40), 40)
    assert 0 < difference.low < difference.mean < difference.high  # McNemar: p = 0.03
    write_rows(first, [0, 1, 2])
    assert not comparison.compare_rows(*pair, "val_accuracy")[1].is_clear
    with pytest.raises(runs.RunError, match="predictions.csv: no values of mae for each row"):
        comparison.compare_rows(*pair, "val_mae")
    (first / "predictions.csv").unlink()
    with pytest.raises(runs.RunError, match="predictions.csv: no values of loss"):
        comparison.compare_rows(*pair, "val_loss")


def test_a_group_is_compared_by_sections(make):
    make("small-rate", flags={"learning_rate": 0.001, "seed": 0})
    make("large-rate", flags={"learning_rate": 0.1, "seed": 0}, metrics={"val_accuracy": 0.9})
    path = make(
        "short",
        flags={"learning_rate": 1, "seed": 0},
        history=HISTORY[: -len("3,0.2,0.9,0.6,0.7125\n")],
    )
    [group] = comparison.group_runs(runs.load_all(path.parent))

    page = report.render_sections(comparison.draw(group), path)

    words = words_of(page)
    for expected in (
        "val_accuracy by epoch",
        "Across: epoch. large-rate short small-rate",
        "large-rate 0.90",
        "small-rate 0.71 0.66 to 0.76 0.9 3",
        "Across: --learning-rate; up: val_accuracy. 3 of 3 points.",
    ):
        assert expected in words, expected
    assert words.index("large-rate 0.9") < words.index("small-rate 0.71")
    assert page.count("data:image/svg+xml") == 2 and "Not shown" not in words
    assert "--seed" not in words  # equal in all
    assert "val_loss by epoch" in words_of(
        report.render_sections(comparison.draw(group, "val_loss"), path)
    )


def test_sections_alone_make_a_page_with_their_warnings(make):
    page = report.render_sections([COLUMNS, GALLERY, {"kind": "unknown"}], make())
    words = words_of(page)
    assert "Before you trust the figures 'island' alone gives the class" in words
    assert "Not shown: 1 section(s) that cannot be drawn." in words


def test_the_machine_is_shown_where_it_was_watched(make):
    path = make()
    assert "How busy the machine was" not in page_of(path)
    (path / "logs").mkdir()
    samples = "seconds,cpu,memory\n1,20,1e9\n2,60,3e9\n3,40,2e9\n4,to"
    (path / "logs" / "utilisation.csv").write_text(samples, encoding="utf-8")

    words = words_of(page_of(path))

    assert "Processors, % of all cores Across: seconds. CPU" in words
    assert "Memory, GB Across: seconds. main" in words
