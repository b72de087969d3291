"""Runs a job on this machine with the contract that Vertex AI keeps: flags and environment."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from datetime import datetime, timezone
from pathlib import Path

from launcher import spec

ROOT = Path(__file__).resolve().parents[1]
# What an outer job may have left in our own environment must not reach the one started here.
CONTRACT = re.compile(r"^(AIP_.*|CLOUD_ML_.*|TF_CONFIG|CLUSTER_SPEC)$")
# TensorFlow's C++ tells of itself at every start, whatever its log level; the log keeps it.
NOISE = r"WARNING: All log messages before absl|I0000 "
if not shutil.which("nvidia-smi"):  # where there is a driver, that it fails is news
    NOISE += r"|E0000 .*failed call to cuInit"
GRACE = 30  # seconds between a polite stop, time for a checkpoint, and a firm one


def new_run_dir(name: str, runs: Path = ROOT / "runs") -> Path:
    """Makes `runs/<name>-<UTC time>`; two runs in one second get two directories."""
    stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    runs.mkdir(parents=True, exist_ok=True)
    attempt = 1
    while True:
        path = runs / (f"{name}-{stamp}" + (f"-{attempt}" if attempt > 1 else ""))
        try:
            path.mkdir()  # atomic: of two processes only one succeeds
            return path
        except FileExistsError:
            attempt += 1


def environment(run_dir: Path, replica: spec.Replica) -> dict[str, str]:
    """The environment of the job's one replica."""
    env = {name: value for name, value in os.environ.items() if not CONTRACT.match(name)}
    host = {"workerpool0": ["127.0.0.1:2222"]}
    task = {"type": "workerpool0", "index": 0}
    env |= {
        "AIP_MODEL_DIR": f"{run_dir}/model/",
        "AIP_CHECKPOINT_DIR": f"{run_dir}/checkpoints/",
        "AIP_TENSORBOARD_LOG_DIR": f"{run_dir}/logs/",
        "CLOUD_ML_JOB_ID": run_dir.name,
        "CLUSTER_SPEC": json.dumps({"cluster": host, "environment": "local", "task": task}),
        "PYTHONUNBUFFERED": "1",
    }
    for name, value in replica.env.items():
        env[name] = re.sub(r"\$\((\w+)\)", lambda m: env.get(m[1], m[0]), value)
    return env


def run(path: Path, flags: list[str]) -> tuple[Path, int]:
    """Runs the job file; `flags` come after its own args, so that they win.

    The results go to the directory that `--job-dir` names, where an earlier run may lie that is to
    go on, or to a new one. Returns it and the trainer's exit code; a run that left nothing but its
    log leaves no directory.

    Raises:
        spec.SpecError: a fault in the job file or the directory; nothing was started.
    """
    replica = spec.replica(spec.read(path), path)
    flags, chosen = _job_dir([*replica.args, *flags])
    if chosen and "://" in chosen:
        raise spec.SpecError(
            f"--job-dir {chosen}: a local run writes to a local folder; into a bucket writes "
            "python -m trainer.task --job-dir gs://…"
        )
    run_dir = Path(chosen).absolute() if chosen else new_run_dir(path.stem)
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise spec.SpecError(f"--job-dir {chosen}: cannot be made ({error.strerror})") from None
    command = [sys.executable, "-m", replica.module, *flags]
    log_path = run_dir / "chief-0.log"
    with open(log_path, "a", encoding="utf-8") as log:
        code = _follow(command, environment(run_dir, replica), log)
    if code and {p.name for p in run_dir.iterdir()} == {log_path.name}:
        log_path.unlink()
        run_dir.rmdir()
        with contextlib.suppress(OSError):
            run_dir.parent.rmdir()  # only where this was to be the first run
    return run_dir, code if code >= 0 else 128 - code  # ended by a signal: as a shell tells it


def _job_dir(flags: list[str]) -> tuple[list[str], str | None]:
    """Takes `--job-dir` out of the trainer's flags: the environment says it, as on Vertex AI."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--job-dir", "--job_dir")
    found, rest = parser.parse_known_args(flags)
    return rest, found.job_dir


def _follow(command: list[str], env: dict[str, str], log) -> int:
    """Starts the process and copies what it says to the terminal and to its log."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,  # Ctrl-C reaches us alone: the trainer is to be stopped politely
    )
    with _passed_on(process):
        for line in process.stdout:
            log.write(line)
            if not re.match(NOISE, line):
                sys.stdout.write(line)
                sys.stdout.flush()
        return process.wait()


@contextlib.contextmanager
def _passed_on(process: subprocess.Popen):
    """Ctrl-C and its like stop the trainer, which writes its checkpoint and ends; then we do.

    A second one, or `GRACE` seconds, end it firmly. Whatever happens here, no process is left.
    """
    firmly = threading.Timer(GRACE, process.kill)
    firmly.daemon = True

    def stop(*_):
        if firmly.is_alive():
            process.kill()
        else:
            process.terminate()
            firmly.start()

    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {name: signal.signal(getattr(signal, name), stop) for name in names}
    try:
        yield
    finally:
        firmly.cancel()
        process.kill()  # does nothing where it has ended, as it should have
        process.wait()
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
