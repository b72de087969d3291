"""Windows of recordings: what is held out, where they lie, and that predictions see the same numbers."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from codec.windows import encode, find_starts
from own import flags_of, load, make_rows, refusal, write_waves
from trainer.engine import cache
from trainer.series.choose import hash_numbers

from conftest import tree


FLAGS = flags_of("classification", "waves.csv")


def read_all(part) -> tuple[dict, np.ndarray]:
    return part.read(np.arange(part.rows))


@pytest.mark.parametrize("length", [1, 31, 32, 33, 64, 100])
def test_windows_reach_from_the_first_sample_to_the_last(length):
    starts = find_starts(length, 32, 16)

    assert starts[0] == 0 and (np.diff(starts) > 0).all() and (np.diff(starts) <= 16).all()
    assert starts[-1] + 32 == max(length, 32)


def test_each_participant_is_held_out_once():
    path = write_waves()
    held_out = []
    for fold in range(1, 7):
        loaded = load(*flags_of("classification", path), "--folds", "6", "--fold", str(fold))
        names = np.array(loaded.recordings.participants)
        train, own = ({*names[part.number]} for part in (loaded.train, loaded.eval))
        assert not train & own and len(train | own) == 6
        held_out += own

    assert sorted(held_out) == [f"p{i:02}" for i in range(6)]
    assert (
        len([name for name in tree("runs/.cache") if name.endswith("samples")]) == 1
    )  # encoded once


@pytest.mark.parametrize("task", ["classification", "regression", "labelling", "forecasting"])
def test_nothing_of_held_out_recordings_reaches_training(task):
    """They are as strange as can be: large, longer, slower, of new classes, with zeros that are no blink."""
    flags = [
        flag for flag in flags_of(task, "")[2:] if flag not in ("--window", "32", "--hop", "16")
    ]
    rows = make_rows(lost=23)
    for row in rows:
        row[4] = f"{float(row[4]) + 2:.4f}" if row[3] else "0"
    one = load("--data", write_waves(rows=rows), *flags)
    [held_out] = {one.recordings.participants[i] for i in one.eval.number}
    strange = []
    for i, (who, trial, t, x, y, shape, phase, size) in enumerate(rows):
        row = [who, trial, t, x, y, shape, phase, size]
        if who == held_out:
            row[2:5] = f"{1.01 * float(t):.4f}", f"{1000 * float(x or 0)}", i % 3 and y
            row[5:] = (
                "new" if trial else shape,
                phase if i % 5 else "still",
                size if trial else "1e300",
            )
            strange.append([*row[:2], f"{1.01 * (float(t) + 2.4):.4f}", *row[3:]])
        strange.append(row)
    strange.sort(key=lambda row: (row[0], row[1], float(row[2])))
    other = load("--data", write_waves("other.csv", strange), *flags)

    ours, theirs = ({**vars(e.schema), "notes": None} for e in (one, other))
    assert ours == theirs
    assert [c.blinks for c in one.schema.channels] == [False, True]
    pairs = zip(read_all(one.train), read_all(other.train), strict=True)
    for before, after in pairs:
        np.testing.assert_equal(before, after)
    assert other.eval.rows
    log = other.describe()
    assert ("no training recording has its class, 'new'" in log) == (task == "classification")
    assert ("with its target, '1e300', no network computes" in log) == (task == "regression")
    expected = "count as without a label, since no training recording has theirs: 'still'"
    assert (expected in log) == (task == "labelling")


def test_each_fold_has_the_classes_of_its_own_training():
    """Whichever fold is encoded first: only one participant has the third class."""
    rows = make_rows()
    for row in rows:
        row[5] = "rest" if row[0] == "p03" and row[1] == 2 else row[5]
    flags, known = ["--data", write_waves(rows=rows), *FLAGS[2:], "--folds", "6"], {}
    for order in (range(1, 7), range(6, 0, -1)):
        cache_dir = f"cache-{order[0]}"
        for fold in order:
            loaded = load(*flags, "--fold", str(fold), "--cache-dir", cache_dir)
            who = {loaded.recordings.participants[i] for i in loaded.eval.number}
            known.setdefault(fold, []).append((*who, *loaded.classes, loaded.train.rows))
    assert all(one == two for one, two in known.values())
    assert {who: classes for (who, *classes, _), _ in known.values()} == {
        f"p{i:02}": ["saw", "sine"] if i == 3 else ["rest", "saw", "sine"] for i in range(6)
    }


@pytest.mark.parametrize(
    ("by", "warning"),
    [
        ("row", "holds out windows of recordings that are in"),
        ("recording", "of participants who are in"),
    ],
)
def test_a_split_that_leaks_is_warned_of(by, warning):
    loaded = load(*flags_of("classification", write_waves()), "--split", by)

    assert f"warning: --split {by} " in loaded.describe() and warning in loaded.describe()
    assert not np.intersect1d(loaded.train.start, loaded.eval.start).size
    assert {*loaded.train.number} & {*loaded.eval.number} if by == "row" else True


def list_held_out(loaded) -> set[tuple]:
    """(folder, name of the file, recording) of those that are held out."""
    keys = (loaded.recordings.keys[i] for i in np.unique(loaded.eval.number))
    return {(*Path(file).parts[-2:], recording) for _, recording, file in keys}


def write_files(by_trial: bool) -> None:
    """Files of participants, or of their trials, in folders of participants; no column names these."""
    for row in (rows := make_rows(lost=23)):
        row[0] = f"{row[0]}/{row[1]}.csv" if by_trial else f"{row[0]}/all.csv"
    for name in dict.fromkeys(row[0] for row in rows):
        own = [row[by_trial + 1 : 6] for row in rows if row[0] == name]
        write_waves(f"data/{name}", own, "t,x,y,shape" if by_trial else "trial,t,x,y,shape")


def test_without_participants_whole_files_are_held_out():
    write_files(by_trial=False)
    loaded = load("--data", "data/*/*.csv", "--target", "shape")

    held_out = list_held_out(loaded)

    assert len(held_out) == 4 and len({folder for folder, *_ in held_out}) == 1
    assert "held out by file: p0" in loaded.describe()
    assert "warning: no column names the participants: who has several" in loaded.describe()
    assert len(np.unique(loaded.train.groups)) == 5
    names = os.path.abspath("data"), "data/../data", "other/deep/data"
    shutil.copytree("data", names[-1])
    for folder in names:  # each machine has them elsewhere
        assert list_held_out(load("--data", f"{folder}/*/*.csv", "--target", "shape")) == held_out


def test_whole_folders_may_be_held_out():
    write_files(by_trial=True)
    flags = ["--data", "data/*/*.csv", "--target", "shape", "--split"]

    loaded = load(*flags, "folder")

    assert len({folder for folder, *_ in list_held_out(loaded)}) == 1
    assert len(list_held_out(loaded)) == 4 and "warning" not in loaded.describe()
    assert "warning: no column names the participants" in load(*flags, "file").describe()
    assert "--split folder: there is a single folder" in refusal(
        "--data", write_waves(), *flags[2:], "folder"
    )


def test_copies_in_training_are_warned_of():
    rows = make_rows(lost=23)
    loaded = load("--data", write_waves(rows=rows), *FLAGS[2:])
    [held_out] = {loaded.recordings.participants[i] for i in loaded.eval.number}
    assert "warning" not in loaded.describe()
    kept, one = [row for row in rows if row[0] != held_out], "p00"
    copied = [[held_out, row[1] + 10, *row[2:]] for row in rows if row[0] == one and row[1] < 3]
    log = load("--data", write_waves("copies.csv", [*kept, *copied]), *FLAGS[2:]).describe()
    expected = f"warning: 3 held-out recordings have the same samples as one in training, such as {held_out}"
    assert f"{expected}, 10 as {one}, 0: the model may know" in log


def test_windows_are_split_by_hashes_that_never_change():
    assert (hash_numbers(np.arange(6)) % np.uint64(5)).tolist() == [1, 0, 2, 4, 3, 1]


def test_whole_recordings_are_padded_to_the_longest():
    rows = [row for i, row in enumerate(make_rows()) if not 20 <= i < 60]
    loaded = load("--data", write_waves(rows=rows), "--channels", "x,y", "--target", "shape")
    first = next(i for i, length in enumerate(loaded.recordings.lengths) if length == 20)
    side = loaded.train if first in loaded.train.number else loaded.eval

    inputs, _ = side.read(np.flatnonzero(side.number == first))

    assert inputs["mask"].shape == (1, 60, 2)
    assert inputs["mask"][0, :20].all() and not inputs["mask"][0, 20:].any()
    assert not inputs["samples"][0, 20:].any()


@pytest.mark.parametrize("task", ["classification", "regression", "labelling", "forecasting"])
def test_a_target_belongs_to_its_window(task):
    rows = make_rows()
    for row in rows[10:15]:
        row[3] = row[6] = ""  # x is lost, and the label
    loaded = load(*flags_of(task, write_waves(rows=rows)))

    assert loaded.schema.task == task
    recordings, schema = loaded.recordings, loaded.schema
    for part in (loaded.train, loaded.eval):
        inputs, target = read_all(part)
        assert part.rows and target.dtype == (
            np.float32 if task in ("regression", "forecasting") else np.int32
        )
        for i in range(part.rows):
            number, start = part.number[i], part.start[i] - recordings.begins[part.number[i]]
            samples = recordings.read(number)
            window = samples[start : start + 32]
            known = np.isfinite(window)
            assert np.array_equal(inputs["mask"][i], known)
            scaled = (window - schema.scale[0]) / schema.scale[1]
            assert np.array_equal(inputs["samples"][i][known], scaled[known])
            if task == "labelling":
                assert np.array_equal(target[i], recordings.labels(number)[start : start + 32])
            elif task == "forecasting":
                assert np.array_equal(target[i], samples[start + 32 : start + 40, :1])
            else:
                assert np.array_equal(np.ravel(target[i]), [recordings.targets[number]])


@pytest.mark.parametrize("normalize", ["training", "recording"])
@pytest.mark.parametrize("rate", [[], ["--rate", "20"], ["--rate", "40"]])
def test_predictions_see_what_training_saw(normalize, rate):
    rows = make_rows(participants=3)
    for i, row in enumerate(rows):
        row[2] = f"{float(row[2]) + (i % 3 - 1) * 0.004 + 1e6:.3f}"  # wavers, and is large
        row[3] = "" if i % 11 == 0 else row[3]
        row[3:5] = ["", ""] if i < 33 else row[3:5]  # a whole window
    path = write_waves(rows=rows)
    flags = ["--normalize", normalize, "--time-unit", "s", *rate]
    loaded = load(*flags_of("classification", path), *flags)
    first = rows[:60]
    time = np.array([float(row[2]) for row in first])
    values = np.array([[float(row[3] or "nan"), float(row[4] or "nan")] for row in first])

    inputs, starts, length = encode(loaded.schema, values, time)

    side = loaded.train if 0 in loaded.train.number else loaded.eval
    expected, _ = side.read(np.flatnonzero(side.number == 0))
    assert length == loaded.recordings.lengths[0] and len(starts) == len(expected["mask"])
    for name in ("samples", "mask"):
        assert inputs[name].tobytes() == expected[name].tobytes()


def test_a_corrupt_file_in_the_cache_is_made_again(capsys):
    flags = flags_of("classification", write_waves())
    expected = load(*flags)
    paths = [path for path in Path("runs/.cache").rglob("*") if path.is_file()]
    assert {path.name for path in paths} >= {"samples", "recordings.npz", "start", "rows.json"}
    for path in paths:
        os.truncate(path, path.stat().st_size // 2)
        capsys.readouterr()
        again = load(*flags)

        assert "is missing or corrupt; the folder is made again" in capsys.readouterr().out or (
            path.name == "labels"  # it is empty
        )
        for one, other in zip(read_all(again.train), read_all(expected.train), strict=True):
            np.testing.assert_equal(one, other)


def test_a_corrupt_folder_that_another_process_has_made_again_stays(monkeypatch):
    flags = flags_of("classification", write_waves())
    first = load(*flags).recordings.path
    os.truncate(Path(first, "samples"), 8)
    made = []

    def make_meanwhile(folder):  # as another process: this one has already seen the corrupt file
        monkeypatch.setattr(cache, "_sweep", lambda folder: None)
        made.append(os.stat(load(*flags).recordings.path).st_ino)

    monkeypatch.setattr(cache, "_sweep", make_meanwhile)
    load(*flags)

    assert made == [os.stat(first).st_ino]


def test_a_cache_of_other_flags_is_not_taken():
    path = write_waves()
    first = load(*flags_of("classification", path))
    again = load(*flags_of("classification", path), "--window", "20")

    assert again.reused and not first.reused
    assert (first.window, again.window) == (32, 20)
    assert not load(*flags_of("regression", path)).reused
    assert "--fold 9: there are 5" in refusal(*flags_of("classification", path), "--fold", "9")
