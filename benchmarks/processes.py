"""Benchmark: two processes on two cores beside one process on one core, a compute-bound model."""

import json
import os
import re
import socket

from measure import interleave, middle, missed, short, shown, standalone, table, verdict

TITLE = "Two processes"


def measure(lab):
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2:
        return "Not measured: it takes Linux and two cores.\n"
    rows, batch, hidden = (
        (5_000, 512, "1024,1024") if lab.quick else (30_000, 2048, "1024,1024,512")
    )
    flags = [*lab.data_flags(rows), "--batch-size", batch, "--hidden-units", hidden]
    flags += ["--epochs", 3, "--cache-dir", lab.folder / "cache"]
    lab.train(*flags, "--job-dir", lab.job_dir())  # so that all later runs reuse the encoding
    cores = sorted(os.sched_getaffinity(0))[:2]
    found = interleave(
        lab.repeats,
        {
            "one process, one core": lambda: _run(lab, flags, cores[:1]),
            "one process, one core, without XLA": lambda: _run(
                lab, [*flags, "--jit", "off"], cores[:1]
            ),
            "two processes, a core each": lambda: _run(lab, flags, cores),
            "two runs without XLA that know nothing of each other, a core each, both rates": (
                lambda: _apart(lab, [*flags, "--jit", "off"], cores)
            ),
        },
    )
    rate = {name: [rows / seconds for seconds, _ in runs] for name, runs in found.items()}
    lines = [
        [name, shown(rate[name]), " / ".join(sorted({loss for _, loss in runs}))]
        for name, runs in found.items()
    ]
    one, plain, two, apart = (middle(values) for values in rate.values())
    aims = [
        ["two processes ÷ one", *verdict(two / one, 1.7)],
        ["two processes ÷ one without XLA", *verdict(two / plain, 1.7)],
        ["two runs apart ÷ one without XLA", f"{apart / plain:.3g}", "", ""],
    ]
    whys = []
    if any(map(missed, aims)):
        whys.append(
            f"Missed: two runs that share nothing but the machine reach {short(apart)} rows/s "
            f"together, the most that a second core can give where nothing else runs; two processes "
            f"that pass their gradients reach {short(two)}, one process {short(plain)} without XLA "
            f"and {short(one)} with it.\n"
        )
    return (
        f"Hidden layers {hidden}, batches of {batch} over all processes; three "
        "epochs, evaluation included, of which the last is timed to a tenth of a "
        "second. XLA does not work across processes on CPUs; one process uses it by default.\n\n"
        + "\n".join(
            [
                table(["", "rows/s", "val_loss"], *lines),
                table(["", "value", "aim", ""], *aims),
                *whys,
            ]
        )
    )


def _run(lab, flags, cores):
    """Seconds of the last epoch, and its val_loss; a process for each core, with one thread."""
    job = lab.job_dir()
    hosts = free_addresses(len(cores))
    cluster = {"chief": hosts[:1], "worker": hosts[1:]}
    started = []
    for number, core in enumerate(cores):
        role = {"type": "worker" if number else "chief", "index": 0}
        settings = {"TF_NUM_INTRAOP_THREADS": "1"}
        if len(cores) > 1:
            settings["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": role})
        words = ["-m", "trainer.task", *flags, "--job-dir", job]
        started.append(lab.start(words, cpus=[core], **settings))
    return find_last_epoch([lab.finish(child).output for child in started][0])


def _apart(lab, flags, cores):
    """Two runs of their own at the same time: seconds of an epoch, as if they shared its rows."""
    started = [
        lab.start(
            ["-m", "trainer.task", *flags, "--job-dir", lab.job_dir()],
            cpus=[core],
            TF_NUM_INTRAOP_THREADS="1",
        )
        for core in cores
    ]
    runs = [find_last_epoch(lab.finish(child).output) for child in started]
    return 1 / sum(1 / seconds for seconds, _ in runs), runs[0][1]


def find_last_epoch(output):
    """Its seconds and its val_loss, by the line in the log."""
    last = re.findall(r"^epoch .* val_loss (\S+) .*\((\S+) s,", output, re.MULTILINE)[-1]
    return max(float(last[1]), 0.05), last[0]


def free_addresses(count):
    """Ports that nobody listens at; all are bound at once, so that no two are the same."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{sock.getsockname()[1]}" for sock in sockets]
    for sock in sockets:
        sock.close()
    return addresses


if __name__ == "__main__":
    standalone(measure)
