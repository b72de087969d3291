"""The points of `scale.py`: each function measures one size, in processes of its own.

They return {panel: {line: value}}: seconds in "clock" and "processor time", bytes in "memory" and
"traffic", numbers in "count". What they generate lies in `lab.folder` and in the bake; whoever calls them removes it.
"""

import json
import os
import re
import shutil
import sys
import time
from pathlib import Path

import census
import limits
import numpy as np
import shards
from measure import ROOT
from PIL import Image
from processes import find_last_epoch, free_addresses
from series import BATCH, HOP, WINDOW, table_of
from studies import write_job

sys.path.insert(0, str(ROOT / "tests"))

PIXELS = 32  # a side of the generated images
BLOCK = 10_000  # images that are drawn at once
SLUG = "my-research"  # of a bake with the default answers
MODEL = ("--hidden-units", "1024,1024,512")
GLOBAL_BATCH, ROWS, EPOCHS = 512, 40_000, 3  # of the replicas' runs


def rows(lab, size):
    job = lab.job_dir()
    words = ["--batch-size", 4096, "--epochs", 1, "--job-dir", job]
    done = lab.train(*lab.data_flags(size), *words, "--cache-dir", lab.folder / "cache")
    stages = limits.stages(job / "run.json")
    clock = {"read and encode": stages["read and encode data"], "one epoch": stages["train"]}
    return {
        "clock": clock | {"the whole command": done.seconds},
        "processor time": {"the whole command": done.cpu},
        "memory": {"the trainer": done.peak},
        "count": {"bytes of CSV": lab.csv(size).stat().st_size},
    }


def images(lab, size):
    source, target, job = make_images(lab, size), lab.folder / "shards", lab.job_dir()
    made, _ = shards.make_shards(lab, source, os.cpu_count(), PIXELS, target)
    words = ["--filters", 4, "--hidden-units", "", "--batch-size", 256, "--epochs", 1]
    done = lab.train("--data", target, *words, "--cache", "none", "--job-dir", job)
    epoch = limits.stages(job / "run.json")["train"]
    return {
        "clock": {"to shards": made.answer["seconds"], "one epoch": epoch},
        "processor time": {"to shards": made.answer["cpu"], "training, one epoch": done.cpu},
        "memory": {
            "the largest process that makes shards": made.answer["peak"],
            "the trainer": done.peak,
        },
    }


def make_images(lab, size):
    """PNG files of noise in ten classes, no two alike."""
    folder = lab.folder / "images"
    if not folder.exists():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        for label in range(10):
            (partial / str(label)).mkdir(parents=True)
        for start in range(0, size, BLOCK):
            random = np.random.default_rng(start)
            noise = random.integers(0, 256, (min(BLOCK, size - start), PIXELS, PIXELS), np.uint8)
            for i, pixels in enumerate(noise, start):
                path = partial / str(i % 10) / f"{i:07}.png"
                Image.fromarray(pixels).save(path, compress_level=0)
        partial.rename(folder)
    return folder


def samples(lab, size):
    flags = ["--target", "label", "--window", WINDOW, "--hop", HOP, "--batch-size", BATCH]
    words = ["encode", "--data", table_of(lab, size), *flags, "--cache-dir", lab.folder / "cache"]
    answer = lab.child("series_ways.py", *words).answer
    return {
        "clock": {"read and encode": answer["seconds"], "all windows once": answer["epoch"]},
        "processor time": {"both": answer["cpu"]},
        "memory": {"the process": answer["peak"]},
    }


def replicas(lab, size):
    """Replicas of one job on this machine, each with one thread; the batch is shared."""
    rows = ROWS if not lab.quick else 2_000
    files = ["--train-files", lab.csv(rows), "--eval-files", lab.csv(1000, seed=1)]
    flags = [
        *files,
        "--target",
        census.TARGET,
        *MODEL,
        "--batch-size",
        GLOBAL_BATCH,
        "--epochs",
        EPOCHS,
    ]
    flags += ["--jit", "off", "--cache-dir", lab.folder / "cache"]
    lab.train(*flags, "--epochs", 1, "--job-dir", lab.job_dir())  # all others reuse the encoding
    hosts = free_addresses(size)
    cluster = {"chief": hosts[:1], "worker": hosts[1:]}
    job, before, started = lab.job_dir(), _count_sent(), []
    for number in range(size):
        role = {"type": "worker" if number else "chief", "index": max(0, number - 1)}
        settings = {"TF_NUM_INTRAOP_THREADS": "1"}
        if size > 1:
            settings["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": role})
        started.append(lab.start(["-m", "trainer.task", *flags, "--job-dir", job], **settings))
    ended = [lab.finish(child) for child in started]
    sent = _count_sent() - before if size > 1 else 0
    steps = -(-rows // GLOBAL_BATCH)
    seconds, _ = find_last_epoch(ended[0].output)
    checkpoint = max(file.stat().st_size for file in (job / "checkpoints").iterdir())
    return {
        "clock": {"a step": seconds / steps},
        "processor time": {"a step, of all": sum(done.cpu for done in ended) / EPOCHS / steps},
        "memory": {"the largest replica": max(done.peak for done in ended)},
        "traffic": {"sent in a step, by all": sent / EPOCHS / steps},
        "count": {
            "rows of a batch": GLOBAL_BATCH,
            "bytes of a checkpoint": checkpoint,
        },
    }


def _count_sent():
    """Bytes that this machine has sent to itself (Linux)."""
    [line] = re.findall(r"^ *lo:(.*)", Path("/proc/net/dev").read_text(), re.MULTILINE)
    return int(line.split()[8])


def trials(lab, size):
    job = write_job(lab, size)
    answer = lab.child("scale_ways.py", "run_study", job, lab.job_dir().parent).answer
    return {
        "clock": {"the whole study": answer["seconds"]},
        "processor time": {"the launcher": answer["cpu"]},
        "memory": {"the launcher": answer["peak"]},
    }


def jobs(lab, size):
    """So many jobs in the project, by the tests' stand-in of Vertex AI; so many runs in runs/."""
    from standins.cloud import Cloud

    ways = {"`jobs.py list`": "list_jobs", "`notebook.jobs()`": "notebook_jobs"}
    answers, requests = {}, {}
    with Cloud("lab") as cloud:
        _fill_project(cloud, size)
        for name, way in ways.items():
            cloud.requests.clear()
            environ = cloud.environ(lab.folder / "gcloud")
            answers[name] = lab.child("scale_ways.py", way, size, **environ).answer
            requests[f"requests of {name}"] = len(cloud.requests)
    _fill_runs(lab, size)
    answers["`report.py`, the newest run"] = lab.child("scale_ways.py", "report_newest").answer
    answers["notebook 3, all runs compared"] = lab.child("scale_ways.py", "compare_runs").answer
    return {
        "processor time": {name: answer["cpu"] for name, answer in answers.items()},
        "memory": {name: answer["peak"] for name, answer in answers.items()},
        "count": requests,
    }


def _fill_project(cloud, count):
    """Put finished jobs into the stand-in, as the service describes them."""
    from google.protobuf import json_format

    from standins.jobs import NUMBER
    from standins.vertex import sdk

    pool = {
        "machineSpec": {"machineType": "n2-standard-4"},
        "replicaCount": 1,
        "diskSpec": {"bootDiskType": "pd-ssd", "bootDiskSizeGb": 100},
        "containerSpec": {"imageUri": "trainer", "args": ["--epochs=20", "--batch-size=64"]},
    }
    described = {
        "displayName": "smoke",
        "labels": {"project": SLUG, "config": "smoke", "git_commit": "0123456"},
        "state": "JOB_STATE_SUCCEEDED",
        "jobSpec": {
            "workerPoolSpecs": [pool],
            "scheduling": {"timeout": "3600s"},
            "baseOutputDirectory": {"outputUriPrefix": "gs://lab/runs/smoke"},
        },
        **{key: "2026-03-01T10:00:00Z" for key in ("createTime", "startTime")},
        "endTime": "2026-03-01T10:20:00Z",
    }
    kind = sdk().CustomJob
    pattern = json_format.ParseDict(described, kind.pb(kind()))
    for number in range(count):
        job = type(pattern)()
        job.CopyFrom(pattern)
        job.name = f"projects/{NUMBER}/locations/us-central1/customJobs/{number + 1}"
        job.display_name = f"smoke-{number}"
        cloud.jobs.resources[job.name] = job


def _fill_runs(lab, count):
    """One run that was trained, so many times over; each has its own start and metrics."""
    trained, folder = lab.job_dir(), lab.repo / "runs"
    lab.train("--epochs", 2, "--job-dir", trained)
    record = json.loads((trained / "run.json").read_text(encoding="utf-8"))
    for number in range(count):
        run = folder / f"made-{number:06}"
        run.mkdir(parents=True, exist_ok=True)
        for name in ("history.csv", "evaluation.json"):
            shutil.copy(trained / name, run)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(1.7e9 + 60 * number))
        metrics = {id: value + number / 1e6 for id, value in record["metrics"].items()}
        one = {**record, "started": stamp, "ended": stamp, "metrics": metrics}
        (run / "run.json").write_text(json.dumps(one), encoding="utf-8")
