"""A study's trials: forked from one process that has imported TensorFlow, or processes of their own."""

import json
import os
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path

from measure import interleave, middle, missed, shown, standalone, table, verdict

TITLE = "Studies"
SAMPLE_EVERY = 0.5  # seconds
# Random, and as short as trials can be.
MANY = """
displayName: many
maxTrialCount: {count}
parallelTrialCount: {parallel}
studySpec:
  algorithm: RANDOM_SEARCH
  metrics: [{{metricId: val_loss, goal: MINIMIZE}}]
  parameters:
    - parameterId: learning_rate
      doubleValueSpec: {{minValue: 0.001, maxValue: 0.03}}
trialJobSpec:
  workerPoolSpecs:
    - machineSpec: {{machineType: n2-standard-4}}
      replicaCount: 1
      containerSpec: {{imageUri: trainer, args: ["--epochs=1", "--jit=off"]}}
  scheduling: {{timeout: 600s}}
"""


def measure(lab):
    job = write_job(lab, 2) if lab.quick else lab.repo / "configs" / "tuning.yaml"
    ways = {"forked": lambda: Study(lab, job), "apart": lambda: Study(lab, job, "--no-fork")}
    if lab.before and not lab.quick:
        old_job = lab.before / job.relative_to(lab.repo)
        ways["before"] = lambda: Study(lab, old_job, repo=lab.before)
    forked, apart, *before = interleave(lab.repeats, ways).values()
    trials = len(forked[0].histories)
    lines = [
        [
            name,
            shown([study.done.seconds for study in studies], " s"),
            shown([study.done.cpu for study in studies], " s"),
        ]
        for name, studies in (
            ("forked", forked),
            ("processes of their own (`--no-fork`)", apart),
            *((f"as of {lab.before_commit}", studies) for studies in before),
        )
    ]
    speed = _ratio(apart, forked, lambda study: study.done.seconds)
    differ = len(_find_differences([*forked, *apart]))
    aims = [
        ["time of the study, own processes ÷ forked", *verdict(speed, 2.5)],
        *(
            [
                f"{what}, as of {lab.before_commit} ÷ forked",
                *verdict(_ratio(studies, forked, value), 2.5),
            ]
            for studies in before
            for what, value in (
                ("time of the study", lambda study: study.done.seconds),
                ("CPU of the study", lambda study: study.done.cpu),
            )
        ),
        [
            "CPU of the study, own processes ÷ forked",
            f"{_ratio(apart, forked, lambda study: study.done.cpu):.3g}",
            "",
            "",
        ],
        [
            "trials of equal flags with other results",
            differ,
            "0",
            "**missed**" if differ else "met",
        ],
    ]
    whys = [_explain(forked, apart)] if any(map(missed, aims)) else []
    return (
        f"The {trials} trials of `configs/tuning.yaml`, two at a time: the whole command, with the "
        "launcher's start, the report of each trial and the study's page. Trials whose flags are "
        "equal must have the same history.csv to the byte.\n\n"
        + "\n".join(
            [
                table(["trials", "the whole command", "CPU, of all processes"], *lines),
                table(["", "value", "aim", ""], *aims),
                *whys,
                _measure_memory(lab, 4 if lab.quick else 200),
            ]
        )
    )


class Study:
    """A study that has ended."""

    def __init__(self, lab, job, *words, repo=None):
        path = lab.job_dir().parent
        flags = ["--", "--job-dir", path]
        self.done = lab.run(["scripts/train_local.py", job, *words, *flags], repo=repo)
        self.histories, self.timings = {}, Counter()
        for record in path.glob("*/run.json"):
            run = json.loads(record.read_text(encoding="utf-8"))
            history = record.with_name("history.csv").read_bytes()
            self.histories[json.dumps(run["flags"], sort_keys=True)] = history
            self.timings.update(run["timings"])


def write_job(lab, count):
    path = lab.repo / "configs" / f"many-{count}.yaml"
    path.write_text(MANY.format(count=count, parallel=min(2, count)), encoding="utf-8")
    return path


def _ratio(ones, others, value):
    return middle(list(map(value, ones))) / middle(list(map(value, others)))


def _find_differences(studies):
    """The flags that have had more than one history."""
    histories = {}
    for study in studies:
        for flags, history in study.histories.items():
            histories.setdefault(flags, set()).add(history)
    return [flags for flags, several in histories.items() if len(several) > 1]


def _explain(forked, apart):
    """Where the seconds of the trials go, and how much of them a fork can save."""
    parts = []
    for name, studies in (("forked", forked), ("processes of their own", apart)):
        stages = {
            stage: middle([study.timings[stage] for study in studies])
            for stage in studies[0].timings
        }
        text = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in stages.items())
        parts.append(f"of {name} {text}")
    total = sum(stages.values())  # of processes of their own, the last ones
    factor = total / (total - stages["import tensorflow"])
    return (
        f"Missed: the stages of all trials, added up, take, {'; '.join(parts)}. Of these a fork saves "
        f"the import, which is a factor of {factor:.2g}; the rest, tracing, "
        "training and export, is each trial's own and needs TensorFlow's threads.\n"
    )


def _measure_memory(lab, count):
    """The most memory that a study of many short trials holds at any time, early and late."""
    part = max(2, count // 10)
    forked, apart = _sample(lab, count), _sample(lab, part, "--no-fork")

    def most(samples, column, first, last):
        values = [sample[column] for sample in samples if first <= sample[0] <= last]
        return f"{max(values, default=0) / 2**20:,.0f} MiB"

    rows = [
        ["forked", most(forked, 1, 1, part), most(forked, 1, count - part, count)],
        [
            "the process that forks them",
            most(forked, 2, 1, part),
            most(forked, 2, count - part, count),
        ],
        ["processes of their own", most(apart, 1, 1, part), ""],
    ]
    return (
        f"{count} trials of one epoch, two at a time. Peak memory of the study, all its processes "
        "together, a page that several share counted once:\n\n"
        + table(["", f"trials 1 to {part}", f"trials {count - part} to {count}"], *rows)
    )


def _sample(lab, count, *words):
    """[(trials started, bytes of all processes, bytes of the one that forks)]"""
    path, samples, ended = lab.job_dir().parent, [], threading.Event()

    def watch():
        while not ended.wait(SAMPLE_EVERY):
            started = len(list(path.glob("*/chief-0.log")))
            samples.append((started, *_read_memory(lab.repo)))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    job = write_job(lab, count)
    lab.run(["scripts/train_local.py", job, *words, "--", "--job-dir", path])
    ended.set()
    watcher.join()
    return samples


def _read_memory(repo):
    """Bytes of all processes in a baked repo, and of the one that forks (Linux)."""
    processes = {}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, StopIteration):  # it has ended
            if os.readlink(path / "cwd") == str(repo):
                lines = (path / "smaps_rollup").read_text().splitlines()
                held = next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
                command = (path / "cmdline").read_bytes()
                parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
                processes[int(path.name)] = held * 1024, b"fork_server" in command, parent
    forking = [
        held
        for held, forks, parent in processes.values()
        if forks and not processes.get(parent, (0, False))[1]
    ]
    return sum(held for held, *_ in processes.values()), max(forking, default=0)


if __name__ == "__main__":
    standalone(measure)
