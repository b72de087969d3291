"""Benchmark: the prediction server: CPU and time of a request, overload, memory (Linux)."""

import importlib.metadata
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from measure import HERE, Lab, interleave, middle, missed, shown, standalone, table, verdict

TITLE = "Serving"

WAYS = {
    "ours": ["-m", "predictor"],
    "bare limit: httptools without a framework": [HERE / "serving_ways.py", "bare"],
    "TensorFlow, each request alone": [HERE / "serving_ways.py", "tensorflow"],
}
OURS, BARE, TENSORFLOW = WAYS
CONNECTIONS = (1, 16, 64)
BIRD = {"island": "Biscoe", "bill_length_mm": 43.8, "bill_depth_mm": 17.1, "sex": "male"}
BIRD |= {"flipper_length_mm": 200.9, "body_mass_g": 4184, "year": 2008}
PACKAGES = ("onnxruntime", "uvicorn", "starlette", "httptools", "uvloop", "orjson", "numpy")


class Served:
    """A server of the model, in a process of its own."""

    def __init__(self, lab, model, command):
        env = {**os.environ, "PYTHONPATH": str(lab.repo), "TF_CPP_MIN_LOG_LEVEL": "2"}
        env |= {"AIP_HTTP_PORT": "0", "AIP_STORAGE_URI": str(model)}
        command = [sys.executable, *map(str, command)] + ([] if "-m" in command else [str(model)])
        self.log, begin = tempfile.NamedTemporaryFile(), time.monotonic()  # noqa: SIM115
        with open(os.devnull, "wb") as out:
            self.process = subprocess.Popen(
                command, cwd=lab.repo, env=env, stdout=out, stderr=self.log
            )
        while not (
            found := re.search(rb"http://127.0.0.1:(\d+)", Path(self.log.name).read_bytes())
        ):
            assert self.process.poll() is None, Path(self.log.name).read_text()
            time.sleep(0.005)
        self.port = int(found[1])
        while not self.is_healthy():
            time.sleep(0.005)
        self.start = time.monotonic() - begin

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.log.close()

    def is_healthy(self):
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}/health", timeout=10
            ) as reply:
                return reply.status == 200
        except OSError:
            return False

    def cpu(self):
        """Seconds of CPU so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self):
        """Bytes in memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(re.search(r"VmRSS:\s+(\d+)", status)[1])

    def load(self, lab, body, connections, seconds, rate=0):
        """What a load gave, with the server's CPU for a request in microseconds."""
        path = lab.folder / f"request-{os.getpid()}.json"
        path.write_text(json.dumps(body), encoding="utf-8")
        before = self.cpu()
        words = ["serving_ways.py", "load", self.port, path, connections, seconds, rate]
        done = lab.child(*words).answer
        spent = self.cpu() - before
        return {**done, "cpu": 1e6 * spent / max(1, done["count"] + done["failures"])}


def measure(lab):
    seconds = 1 if lab.quick else 4
    model = lab.job_dir() / "model"
    lab.train("--job-dir", model.parent, "--epochs", 2)
    one, many = {"instances": [BIRD]}, {"instances": [BIRD] * 128}

    def run(way):
        with Served(lab, model, WAYS[way]) as served:
            start, memory = served.start, served.memory()
            served.load(lab, one, 16, 0.5)  # warm
            loads = {n: served.load(lab, one, n, seconds) for n in CONNECTIONS}
            rows = served.load(lab, many, 4, seconds) if way == OURS else None
            half = served.load(lab, one, 16, seconds, loads[16]["rate"] / 2)
            return {"start": start, "memory": memory, "loads": loads, "rows": rows, "half": half}

    found = interleave(lab.repeats, {way: lambda way=way: run(way) for way in WAYS})
    rows = []
    for way, runs in found.items():
        for n in CONNECTIONS:
            loads = [one["loads"][n] for one in runs]
            times = [shown([1e3 * load[name] for load in loads], " ms") for name in ("p50", "p99")]
            cpu = shown([load["cpu"] for load in loads], " µs")
            rows.append([f"{way}, {n}", shown([load["rate"] for load in loads]), *times, cpu])
    heavy = _overload(lab, model, one)
    aims = _compare(lab, found, heavy, model)
    cpu = {way: middle([run["loads"][64]["cpu"] for run in runs]) for way, runs in found.items()}
    whys = []
    if late := [row[0] for row in aims if missed(row)]:
        whys = [
            f"Missed: {'; '.join(late)}. At 64 connections a request takes {cpu[OURS]:.0f} µs of CPU "
            f"with us, {cpu[BARE]:.0f} µs without a framework and an access log, and "
            f"{cpu[TENSORFLOW]:.0f} µs with TensorFlow; the load generator has the same cores.\n"
        ]
    head = ["way, connections", "requests/s", "p50", "p99", "CPU a request"]
    return "\n".join(
        [
            "Penguins, one row a request unless stated; the load generator runs on the same cores.\n",
            table(head, *rows),
            table(["", "value", "aim", ""], *aims),
            *whys,
        ]
    )


def _compare(lab, found, heavy, model):
    """The aims, each with its value."""

    def cpu(way, n=64):
        return middle([run["loads"][n]["cpu"] for run in found[way]])

    ours = found[OURS]
    rates = [run["loads"][16]["rate"] for run in ours]
    tails = [run["half"]["p99"] / run["half"]["p50"] for run in ours]
    rows = [run["rows"]["cpu"] / 1e3 for run in ours]
    alone = [lab.child("serving_ways.py", "images", repo=_images(lab)).answer for _ in ours]
    ratio, bound = (
        middle([one["graph"] / one[way] for one in alone]) for way in ("codec", "pillow")
    )
    start, memory = (middle([run[name] for run in ours]) for name in ("start", "memory"))
    below = {"below": True}
    return [
        ["CPU ÷ bare limit, 64 connections", *verdict(cpu(OURS) / cpu(BARE), 2.0, **below)],
        [
            "CPU of TensorFlow alone ÷ ours, 64 connections",
            *verdict(cpu(TENSORFLOW) / cpu(OURS), 4),
        ],
        ["requests/s, 16 connections", *verdict(middle(rates), 2000)],
        ["CPU of 128 rows in one request, ms", *verdict(middle(rows), 1.2, **below)],
        ["p99 ÷ p50 at half load", *verdict(middle(tails), 10, **below)],
        ["image of 160×160: CPU in the graph ÷ codec", *verdict(ratio, 6)],
        ["the same ÷ Pillow's own decoding and resizing, the bound", f"{bound:.3g}", "", ""],
        ["seconds until healthy", *verdict(start, 1.5, **below)],
        ["memory when healthy, MB", *verdict(memory / 1e6, 120, **below)],
        ["packages of the serving image, MB", *verdict(_packages() / 1e6, 200, **below)],
        ["`predict.py` on one row, seconds", *verdict(_predict(lab, model), 1, **below)],
        [
            "overload: memory after the second minute ÷ after the first",
            *verdict(heavy["overload"], 1.05, **below),
        ],
        ["overload: memory after the first minute ÷ before", f"{heavy['held']:.3g}", "", ""],
        ["overload: share of 503", *verdict(heavy["refused"], 0.01)],
        [
            f"{heavy['count']:,} requests: memory after ÷ before",
            *verdict(heavy["many"], 1.05, **below),
        ],
    ]


def _overload(lab, model, body):
    """Ten times the requests that may wait (512), for a minute, twice; then a million requests.

    Connections have buffers, and an allocator keeps what it once had: the first minute is for that.
    What the second adds would be added by each.
    """
    with Served(lab, model, WAYS[OURS]) as served:
        served.load(lab, body, 64, 2)
        after = [served.memory()]
        for _ in range(2):
            done = served.load(lab, body, 5120, 3 if lab.quick else 60)
            after.append(served.memory())
        overload, held = after[2] / after[1], after[1] / after[0]
        refused = done["failures"] / (done["failures"] + done["count"])
        assert served.is_healthy()
        before, count = served.memory(), 0
        while count < (10_000 if lab.quick else 1_000_000):
            count += served.load(lab, body, 64, 2 if lab.quick else 20)["count"]
        many = served.memory() / before
    return {"overload": overload, "held": held, "refused": refused, "count": count, "many": many}


def _images(lab):
    """A bake for images, which lives as long as `lab`."""
    if not hasattr(lab, "images"):
        lab.images = Lab(lab.quick, "problem=image")
    return lab.images.repo


def _predict(lab, model):
    path = lab.folder / "bird.json"
    path.write_text(json.dumps(BIRD), encoding="utf-8")
    words = ["scripts/predict.py", "--model", model, path]
    return middle([lab.run(words).seconds for _ in range(lab.repeats)])


def _packages():
    """Bytes of what the serving image installs, with what that needs."""
    names, waiting = set(), list(PACKAGES)
    while waiting:
        try:
            distribution = importlib.metadata.distribution(waiting.pop())
        except importlib.metadata.PackageNotFoundError:
            continue
        if distribution.name not in names:
            names.add(distribution.name)
            needs = [text for text in distribution.requires or () if "extra ==" not in text]
            waiting += [re.match(r"[\w.-]+", text)[0] for text in needs]
    files = [file.locate() for name in names for file in importlib.metadata.files(name) or ()]
    return sum(os.path.getsize(file) for file in files if os.path.isfile(file))


if __name__ == "__main__":
    standalone(measure)
