"""The benchmark of real tables judges fairly: its list, its folds and its verdicts."""

import csv
import sys
from collections import defaultdict

import numpy as np
import pytest

from conftest import ROOT

sys.path.append(str(ROOT / "benchmarks"))
import quality
import quality_ways


def make_table(task="regression", subjects=40, rows_each=3):
    """Subjects with several rows; the target is the number of the row, or its parity."""
    count = subjects * rows_each
    rows = [[str(i // rows_each), str(i)] for i in range(count)]
    if task == "classification":
        rows = [[subject, "even" if int(i) % 2 == 0 else "odd"] for subject, i in rows]
    return quality_ways.Table("a/table", task, "y", "subject", ["subject", "y"], rows)


def records(table, **ways):
    """Records as the ways write them, from predictions for each row."""
    return [
        {
            way: [value for value, other in zip(values, table.folds, strict=True) if other == fold]
            for way, values in ways.items()
        }
        for fold in range(quality_ways.FOLDS)
    ]


def test_list():
    """Each line is complete, and no table stands there twice."""
    with quality_ways.LIST.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) >= 200 and len({line["table"] for line in lines}) == len(lines)
    for line in lines:
        assert line["task"] in quality.MARGINS and line["target"] and "/" in line["table"]
        assert not {line["target"], line["group"]} & {*line["drop"].split()}
    assert len(quality_ways.read_list(sample=40)) == 40


def test_folds_keep_groups_together(tmp_path):
    """A subject stays in one fold, folds are alike in size, and files hold each row once."""
    table = make_table()
    folds = defaultdict(set)
    for (subject, _), fold in zip(table.rows, table.folds, strict=True):
        folds[subject].add(fold)
    assert all(len(of_subject) == 1 for of_subject in folds.values())
    assert np.bincount(table.folds).tolist() == [24] * quality_ways.FOLDS
    train, test = (path.read_text().splitlines() for path in table.write(2, tmp_path))
    assert train[0] == test[0] == "subject,y" and len(test) == 25
    assert sorted(train[1:] + test[1:]) == sorted(map(",".join, table.rows))


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_verdicts(task):
    """Better and worse beyond the margin, alike within it; no answer is as good as the mean."""
    table = make_table(task)
    if task == "regression":
        good, near = np.array(table.truths), np.array(table.truths) + 4.0
        bad = [float(np.mean(good))] * len(good)
    else:
        good, bad = table.truths, ["even"] * len(table.truths)
        near = [*good[:-3], "even", "even", "even"]  # two of 120 are wrong
    found = quality.compare(table, records(table, ours=near, linear=good, boosting=good, mean=bad))
    assert (found["linear"], found["mean"]) == (0, 1)
    assert found["figures"]["linear"] == 1 and 0.97 < found["figures"]["ours"] < 1
    missing = [None] * len(good)
    found = quality.compare(
        table, records(table, ours=missing, linear=good, boosting=bad, mean=bad)
    )
    assert found["linear"] == -1 and found["boosting"] == (0 if task == "regression" else -1)


def test_verdict_needs_more_than_a_few_rows():
    """One row far off is no evidence: the interval of the difference includes zero."""
    table = make_table()
    good = np.array(table.truths)
    ours = good.copy()
    ours[0] += 200  # R² falls by 0.28
    found = quality.compare(table, records(table, ours=ours, linear=good, boosting=good, mean=good))
    assert found["figures"]["ours"] < 0.75 and found["linear"] == 0


def test_killed_writer_leaves_half_a_line(tmp_path):
    path = tmp_path / "ours.jsonl"
    path.write_text('{"table": "a/b", "fold": 0}\n{"table": "a/b", "fo')
    assert quality_ways.read_records(path) == [{"table": "a/b", "fold": 0}]
