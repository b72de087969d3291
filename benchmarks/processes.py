"""Benchmark: two processes on two cores beside one process on one core, a compute-bound model."""

import json
import os
import re
import socket

from measure import interleave, middle, shown, standalone, table, verdict


def measure(lab):
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2:
        return "## Two processes\n\nNot measured: it takes Linux and two cores.\n"
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
        },
    )
    rate = {name: [rows / seconds for seconds, _ in runs] for name, runs in found.items()}
    lines = [
        [name, shown(rate[name]), " / ".join(sorted({loss for _, loss in runs}))]
        for name, runs in found.items()
    ]
    one, plain, two = (middle(values) for values in rate.values())
    aims = [
        ["two processes ÷ one", *verdict(two / one, 1.7)],
        ["two processes ÷ one without XLA", *verdict(two / plain, 1.7)],
    ]
    return (
        f"## Two processes\n\nHidden layers {hidden}, batches of {batch} over all processes; three "
        "epochs, evaluation included, of which the last is timed to a tenth of a second. XLA does not work across "
        "processes on CPUs; one process uses it by default.\n\n"
        f"{table(['', 'rows/s', 'val_loss'], *lines)}\n{table(['', 'value', 'aim', ''], *aims)}"
    )


def _run(lab, flags, cores):
    """Seconds of the last epoch, and its val_loss; a process for each core, with one thread."""
    job = lab.job_dir()
    hosts = _free_addresses(len(cores))
    cluster = {"chief": hosts[:1], "worker": hosts[1:]}
    started = []
    for number, core in enumerate(cores):
        role = {"type": "worker" if number else "chief", "index": 0}
        settings = {"TF_NUM_INTRAOP_THREADS": "1"}
        if len(cores) > 1:
            settings["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": role})
        words = ["-m", "trainer.task", *flags, "--job-dir", job]
        started.append(lab.start(words, cpus=[core], **settings))
    output = [lab.finish(child).output for child in started][0]
    last = re.findall(r"^epoch .* val_loss (\S+) .*\((\S+) s,", output, re.MULTILINE)[-1]
    return max(float(last[1]), 0.05), last[0]


def _free_addresses(count):
    """Ports that nobody listens at; all are bound at once, so that no two are the same."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{sock.getsockname()[1]}" for sock in sockets]
    for sock in sockets:
        sock.close()
    return addresses


if __name__ == "__main__":
    standalone(measure)
