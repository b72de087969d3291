"""What a job does to the machine that runs it: nothing is left behind, and its output costs little."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import forked
from test_run_dirs import JOB

pytestmark = pytest.mark.slow  # starts many processes
LINUX = pytest.mark.skipif(not Path("/proc/self").exists(), reason="only Linux shows processes so")
# A job's program: writes the ids of its processes to its directory.
ACT = """
import json, os, subprocess, sys, time
run_dir = os.path.dirname(os.path.dirname(os.environ["AIP_MODEL_DIR"]))
if "shout" in sys.argv:
    for _ in range(200):
        sys.stdout.write("x" * (1 << 20))
    print()
    print("after it")
if "detach" in sys.argv or "wait" in sys.argv:
    sleep = [sys.executable, "-c", "import time; time.sleep(300)"]
    child = subprocess.Popen(sleep, start_new_session=True)
    with open(f"{run_dir}/pids", "w") as file:
        file.write(f"{os.getpid()} {child.pid}")
    print("started", flush=True)
if "wait" in sys.argv:
    time.sleep(300)
"""


@pytest.fixture(scope="module")
def project(bake):
    project = bake(fresh=True)
    (project.path / "trainer" / "act.py").write_text(ACT, encoding="utf-8")
    for act in ("detach", "wait", "shout"):
        job = project.path / "configs" / f"{act}.yaml"
        job.write_text(JOB.replace("ACT", act), encoding="utf-8")
    return project


def start(project, job, run_dir, stdout=subprocess.PIPE):
    words = [sys.executable, "scripts/train_local.py", f"configs/{job}.yaml", "--"]
    return subprocess.Popen(
        [*words, "--job-dir", str(run_dir)], cwd=project.path, stdout=stdout, text=True
    )


def alive(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@LINUX
def test_a_process_in_a_session_of_its_own_ends_with_the_job(project, tmp_path):
    launcher = start(project, "detach", tmp_path)
    launcher.communicate(timeout=60)

    assert launcher.returncode == 0
    assert [pid for pid in (tmp_path / "pids").read_text().split() if alive(pid)] == []


@LINUX
def test_a_killed_guard_leaves_no_process(project, tmp_path):
    launcher = start(project, "wait", tmp_path)
    try:
        assert "started" in launcher.stdout.readline()
        first = (tmp_path / "pids").read_text().split()
        os.kill(parent(first[0]), signal.SIGKILL)
        assert "chief:0 ended with exit code 137" in launcher.stdout.readline()
        assert [pid for pid in first if alive(pid)] == []
        assert "started" in launcher.stdout.readline()  # it was started again
    finally:
        launcher.send_signal(signal.SIGTERM)
        launcher.communicate(timeout=60)
    assert [pid for pid in (tmp_path / "pids").read_text().split() if alive(pid)] == []


@LINUX
def test_a_guard_and_its_launcher_that_are_killed_leave_no_trainer(project, tmp_path):
    launcher = start(project, "wait", tmp_path)
    assert "started" in launcher.stdout.readline()
    trainer, child = map(int, (tmp_path / "pids").read_text().split())
    for pid in (launcher.pid, parent(trainer)):
        os.kill(pid, signal.SIGKILL)
    launcher.communicate(timeout=60)
    os.kill(child, signal.SIGKILL)  # in a session of its own: nobody is left who knows of it

    deadline = time.monotonic() + 60
    while alive(trainer) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(trainer)


@LINUX
def test_a_line_of_200_mb_is_not_held_in_memory(project, tmp_path):
    with open(tmp_path / "output", "w") as output:
        launcher = start(project, "shout", tmp_path, stdout=output)
    peak, status = 0, Path(f"/proc/{launcher.pid}/status")
    while launcher.poll() is None:
        with contextlib.suppress(OSError, StopIteration):
            lines = status.read_text().splitlines()
            peak = max(peak, int(next(n for n in lines if n.startswith("VmHWM")).split()[1]))
        time.sleep(0.02)

    assert launcher.returncode == 0
    assert 0 < peak < 200_000, f"{peak} kB"
    assert (tmp_path / "chief-0.log").stat().st_size == (200 << 20) + len("\nafter it\n")
    shown = (tmp_path / "output").read_text()
    assert "(the rest of this line is in the log)\nafter it\n" in shown
    assert len(shown) < 20_000


def test_relative_paths_begin_in_the_folder_of_the_repo(project, tmp_path):
    script = project.path / "scripts" / "train_local.py"
    job = project.path / "configs" / "detach.yaml"
    words = [sys.executable, script, job, "--", "--job-dir", "runs/relative"]
    subprocess.run(words, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)

    assert (project.path / "runs" / "relative" / "chief-0.log").is_file()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flags", [[], ["--", "--job-dir", "file/run"]])
def test_a_directory_that_cannot_be_made_is_one_line(bake, flags):
    project = bake(fresh=True)
    (project.path / "runs").write_text("a file")
    (project.path / "file").write_text("a file")

    done = project.run(["python", "scripts/train_local.py", *flags], check=False)

    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ") and "cannot be made (" in line


def test_tf_config_names_the_job(project):
    code = """
import json
from pathlib import Path
from launcher.local import contract
from launcher.jobfile import spec
job = spec.load("configs/multi_worker.yaml")
replicas = contract.list_replicas(job)
addresses = {replica: f"host-{i}:1" for i, replica in enumerate(replicas)}
env = contract.Contract(Path("/runs/a"), addresses, None, job.spec).environment(replicas[1])
config = json.loads(env["TF_CONFIG"])
assert config["job"] == json.loads(json.dumps(job.spec)), config
assert config["task"] == {"type": "worker", "index": 0, "cloud": "a"}, config
"""
    project.run(["python", "-c", code])


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="there are no such limits")
def test_a_disk_that_takes_no_more_is_one_line(bake, tmp_path):
    """No file may have more than 20,000 bytes: the checkpoint does not fit."""
    code = (
        "import resource, runpy, sys; sys.dont_write_bytecode = True\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
        "runpy.run_module('trainer.task', run_name='__main__', alter_sys=True)"
    )
    flags = ["--job-dir", tmp_path / "run", "--epochs", "1"]
    done = bake().run(["python", *forked("-c"), code, *flags], check=False)

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    [line] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert str(tmp_path) in line and line.endswith(": File too large")
    assert not list(tmp_path.rglob("*.partial"))
