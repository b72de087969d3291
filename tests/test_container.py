"""The product's Dockerfile is built and run by a real Docker daemon, and `--container` with it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from conftest import PRODUCT, Project, fork_trainers

pytestmark = pytest.mark.slow

BASE = "base:local"
WAIT = 300  # seconds; generous, for a machine with other things to do
SOMEBODY = 1000  # a user without a name in the image, and without rights here
LONG = ["--epochs=100000", "--checkpoint-every=0"]
# A program of others that trains nothing, as long as nobody ends it.
IDLE = """
import time
for epoch in range(1, 9):
    print(f"epoch {epoch}/8", flush=True)
    time.sleep(0.1)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def lab(docker, bake):
    return Lab(docker, bake(fresh=True))


class Lab:
    """A baked repo that belongs to SOMEBODY, and a daemon that has a base image for it."""

    def __init__(self, docker, project):
        self.docker = docker
        ask = "import setuptools, distutils.core as core; print(core.run_setup('setup.py', stop_after='init').install_requires)"
        asked = project.run(["python", "-c", ask]).stdout
        docker.import_base(BASE, re.findall(r"'(.*?)'", asked))
        # pytest's own folders are closed to others.
        self.project = project = Project(shutil.copytree(project.path, docker.folder / "repo"))
        (project.path / "trainer" / "model.py").chmod(0o600)  # as a strict umask leaves them
        for path in [project.path, *project.path.rglob("*")]:
            os.chown(path, SOMEBODY, SOMEBODY, follow_symlinks=False)
        self.home = docker.folder / "home"
        self.home.mkdir()
        shutil.chown(self.home, SOMEBODY, SOMEBODY)

    def start(self, *words, **environ):
        """Starts scripts/train_local.py as SOMEBODY, who has no right to write elsewhere."""
        may_read = "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"  # this Python
        somebody = [f"--reuid={SOMEBODY}", f"--regid={SOMEBODY}", "--clear-groups"]
        own = {"HOME": str(self.home), "BASE_IMAGE": BASE}
        command = ["setpriv", *somebody, *may_read, sys.executable, "scripts/train_local.py"]
        log = self.docker.folder / f"said-{time.monotonic_ns()}"
        with open(log, "wb") as said:
            process = subprocess.Popen(
                [*command, *map(str, words)],
                cwd=self.project.path,
                env={**os.environ, **self.docker.environ, **own, **environ},
                stdout=said,
                stderr=subprocess.STDOUT,
            )
        return Started(process, log)

    def build_image(self):
        """Build the project's image, unless it is there; return its tag."""
        code = "from launcher.local import container; print(container.build_image())"
        # The repo belongs to SOMEBODY.
        git = ("GIT_CONFIG_KEY_0", "safe.directory"), ("GIT_CONFIG_VALUE_0", "*")
        environ = {**self.docker.environ, "BASE_IMAGE": BASE, "GIT_CONFIG_COUNT": "1", **dict(git)}
        return self.project.run(["python", "-c", code], **environ).stdout.splitlines()[-1]

    def train(self, *words, code=0, **environ):
        """Runs it to its end; gives the run directory, None where there is none, and the output."""
        return self.start(*words, **environ).finish(code)

    def job(self, name, pools, **task):
        """Writes a job file with so many pools of one replica; gives its path."""
        pool = {"machineSpec": {"machineType": "n2-standard-4"}, "replicaCount": 1}
        pool["containerSpec"] = {"args": [], **task}
        spec = {
            "workerPoolSpecs": [pool] * pools,
            "scheduling": {"timeout": "600s", "disableRetries": True},
        }
        path = self.project.path / "configs" / name
        path.write_text(yaml.safe_dump(spec), encoding="utf-8")
        return path

    def job_of_others(self, pools, code):
        """Write a job file whose replicas run this code in an image that is not ours."""
        self.docker.run("tag", BASE, "lab/theirs:1")
        task = {"imageUri": "lab/theirs:1", "command": ["python", "-c", code]}
        return self.job("others.yaml", pools, **task)

    def files(self):
        """All files of all runs."""
        return [path for path in (self.project.path / "runs").rglob("*") if path.is_file()]

    def networks(self):
        names = self.docker.run("network", "ls", "--format", "{{.Name}}").stdout.split()
        return set(names) - {"host", "none"}


@dataclass
class Started:
    """A launcher at work."""

    process: subprocess.Popen
    log: Path

    @property
    def said(self):
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, text):
        deadline = time.monotonic() + WAIT
        while text not in self.said:
            assert self.process.poll() is None and time.monotonic() < deadline, self.said
            time.sleep(0.05)

    def finish(self, code=0):
        """Waits for its end; gives the run directory, None where there is none, and the output."""
        try:
            assert self.process.wait(WAIT) == code, self.said
        finally:
            self.process.kill()
        found = re.search(r"^run directory: (.*)$", self.said, flags=re.M)
        return Path(found[1]) if found else None, self.said


def record(run_dir):
    return json.loads((run_dir / "run.json").read_text(encoding="utf-8"))


def weights(text):
    return re.findall(r"\bweights (\w+)", text, flags=re.M)


def test_the_dockerfile_is_clean():
    hadolint = shutil.which("hadolint", path=Path(sys.executable).parent)
    if sys.platform == "win32":
        pytest.skip("there is no hadolint for Windows")

    done = subprocess.run([hadolint, PRODUCT / "Dockerfile"], capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (0, "")


def test_one_replica_is_the_same_job_as_without_a_container(lab):
    (lab.project.path / "trainer/new.txt").touch()  # no other test has built an image with it
    run_dir, said = lab.train("configs/cpu.yaml", "--container", "--", "--epochs=4")
    _, again = lab.train("configs/cpu.yaml", "--container", "--", "--target=nothing", code=2)
    command = ["python", "scripts/train_local.py", "--", "--epochs=4"]
    without = lab.project.run(command, **fork_trainers()).stdout

    assert weights(said) == weights(without) != []
    assert "building the image" in said
    assert "building the image" not in again  # nothing has changed
    assert "no column 'nothing'" in again
    assert (run_dir / "model" / "saved_model.pb").exists()
    assert {path.stat().st_uid for path in run_dir.rglob("*")} == {SOMEBODY}
    told = record(run_dir)
    commit = lab.project.run(["git", "-c", "safe.directory=*", "rev-parse", "HEAD"]).stdout.strip()
    assert told["status"] == "succeeded"
    assert told["git"]["commit"] == commit
    assert told["environment"]["AIP_MODEL_DIR"] == f"{run_dir}/model/"
    assert "TF_CONFIG" not in told["environment"]
    assert lab.docker.run("ps", "-aq").stdout == ""


def test_two_replicas_on_a_network_of_their_own_agree(lab):
    job = lab.job("pair.yaml", pools=2)

    run_dir, said = lab.train(job, "--container", "--", "--epochs=4")

    assert len(weights(said)) == 2
    assert len(set(weights(said))) == 1
    cluster = json.loads(record(run_dir)["environment"]["TF_CONFIG"])["cluster"]
    assert cluster == {"chief": ["chief-0:2222"], "worker": ["worker-0:2222"]}
    assert lab.networks() == set()


def test_data_and_a_cache_elsewhere(lab, tmp_path):
    """What flags name is there: for a folder with blanks and commas, too, the job's own one."""
    data, cache = tmp_path / "my data", tmp_path / "encoded"
    shutil.copytree(lab.project.path / "data", data)
    cache.mkdir()
    shutil.chown(cache, SOMEBODY, SOMEBODY)
    job = lab.job('one, "two".yaml', pools=1)
    flags = ["--train-files", f"{data}/*_train.csv,data/penguins_eval.csv", "--target=species"]

    run_dir, _ = lab.train(job, "--container", "--", *flags, f"--cache_dir={cache}", "--epochs=1")

    files = [file["path"] for file in record(run_dir)["data"]["train"]["files"]]
    assert files == [f"{data}/penguins_train.csv", "data/penguins_eval.csv"]
    assert [path.stat().st_uid for path in cache.iterdir()] == [SOMEBODY]


def test_an_image_of_others_runs_its_own_command(lab):
    """As you, with the job's variables, and with no file of this machine but the run directory."""
    lab.docker.run("tag", BASE, "lab/theirs:1")
    code = "import os, sys; out = sys.argv[1]; os.makedirs(out);"
    code += "print(sys.argv[2:], os.path.exists('/app'), file=open(out + 'seen', 'w'))"
    args = ["$(AIP_MODEL_DIR)", "$(A)", "$$(A)", str(lab.project.path / "data")]
    task = {"imageUri": "lab/theirs:1", "command": ["python", "-c", code], "args": args}
    job = lab.job("theirs.yaml", pools=2, **task, env=[{"name": "A", "value": "one"}])

    run_dir, said = lab.train(job, "--container", "--replicas=worker=0")

    assert "building the image" not in said
    seen = run_dir / "model" / "seen"
    assert seen.read_text() == f"['one', '$(A)', '{lab.project.path}/data'] False\n"
    assert seen.stat().st_uid == SOMEBODY


def test_an_image_of_others_starts_its_entrypoint(lab):
    lab.docker.run("create", "--name=made", BASE, "true")
    entrypoint = 'ENTRYPOINT ["python", "-c", "import sys; print(sys.argv); sys.exit(7)"]'
    lab.docker.run("commit", f"--change={entrypoint}", "made", "lab/theirs:2")
    lab.docker.run("rm", "made")
    job = lab.job("theirs.yaml", pools=1, imageUri="lab/theirs:2", args=["--epochs=many", "gs://b"])

    _, said = lab.train(job, "--container", code=7)

    assert "['-c', '--epochs=many', 'gs://b']" in said


def test_an_image_that_cannot_be_pulled(lab):
    job = lab.job("theirs.yaml", pools=1, imageUri="127.0.0.1:1/none:1")

    line = refused(lab, job)

    assert line.startswith("--container: docker pull 127.0.0.1:1/none:1 failed")


def test_a_command_in_the_projects_image_with_variables(lab):
    args = ["--epochs=$(N)", "--cache-dir=$(AIP_CHECKPOINT_DIR)cache"]
    command = ["python", "-u", "-m", "trainer.task"]
    job = lab.job("own.yaml", 1, command=command, args=args, env=[{"name": "N", "value": "1"}])

    run_dir, said = lab.train(job, "--container")

    assert "epoch 1/1" in said
    assert list((run_dir / "checkpoints" / "cache").iterdir())
    assert not list(lab.project.path.glob("*(*"))


def test_asked_to_stop_it_writes_a_checkpoint_and_goes_on_later(lab):
    started = lab.start("--container", "--", *LONG)
    started.wait_for("epoch 3/")

    started.process.send_signal(signal.SIGTERM)

    run_dir, said = started.finish(code=75)
    assert record(run_dir)["status"] == "preempted"
    done = int(re.findall(r"epoch (\d+)/", said)[-1])
    _, said = lab.train("--container", "--", f"--epochs={done + 2}", "--job-dir", run_dir)
    assert f"resuming after epoch {done}" in said


def test_a_replica_that_is_killed_leaves_no_container(lab):
    job = lab.job_of_others(pools=1, code=IDLE)

    lab.train(job, "--container", "--kill=chief@epoch3", code=137)

    assert lab.docker.run("ps", "-aq").stdout == ""


def test_sigterm_reaches_the_trainer_in_a_bare_container(lab, tmp_path):
    """As docs/containers.md starts one, with nothing of the launcher around it."""
    tag = lab.build_image()
    shutil.chown(tmp_path, SOMEBODY, SOMEBODY)
    words = ["--network=none", f"--user={SOMEBODY}:{SOMEBODY}", f"--volume={tmp_path}:/app/runs"]
    name = lab.docker.run("run", "--detach", *words, tag, *LONG).stdout.strip()
    deadline = time.monotonic() + WAIT
    while "epoch 3/" not in lab.docker.run("logs", name).stdout:
        assert time.monotonic() < deadline, lab.docker.run("logs", name)
        time.sleep(0.1)

    lab.docker.run("stop", "--time=30", name)

    assert lab.docker.run("wait", name).stdout.strip() == "75"
    [run_dir] = (path for path in tmp_path.iterdir() if path.name != ".cache")
    assert list((run_dir / "checkpoints").iterdir())
    lab.docker.run("rm", name)


def test_a_killed_launcher_leaves_no_container(lab):
    started = lab.start(lab.job_of_others(pools=2, code=IDLE), "--container")
    started.wait_for("epoch 1/")
    deadline = time.monotonic() + WAIT
    while len(lab.docker.run("ps", "-q").stdout.split()) < 2:
        assert time.monotonic() < deadline, started.said
    left = lab.networks()
    assert len(left) == 1

    started.process.kill()
    started.process.wait()

    deadline = time.monotonic() + WAIT
    while lab.docker.run("ps", "-aq").stdout:
        assert time.monotonic() < deadline, lab.docker.run("ps", "-a").stdout
        time.sleep(0.1)
    lab.train(lab.job_of_others(pools=2, code=""), "--container")  # sweeps what a killed one left
    assert not left & lab.networks()


def refused(lab, *words, **environ):
    """The one line of an error; nothing is left of a run."""
    before = set(lab.files())
    _, said = lab.train("--container", *words, code=2, **environ)
    assert set(lab.files()) == before
    assert "Traceback" not in said
    [line] = re.findall(r"^error: (.*)$", said, flags=re.M)
    return line


def test_data_in_a_bucket_is_refused(lab):
    line = refused(lab, "--", "--train-files=gs://lab/*.csv", "--target=y")

    assert "--train-files gs://lab/*.csv: a container of a local run has no network" in line


def test_a_build_that_fails(lab):
    line = refused(lab, BASE_IMAGE="no-such-image:local")

    assert "docker build failed with exit code 1" in line


def test_no_daemon(lab, tmp_path):
    line = refused(lab, DOCKER_HOST=f"unix://{tmp_path}/none.sock")

    assert "the Docker daemon is not reachable; start it" in line


def test_no_docker(lab, tmp_path):
    for name in ("setpriv", "git"):
        (tmp_path / name).symlink_to(shutil.which(name))

    line = refused(lab, PATH=str(tmp_path))

    assert "docker is not installed" in line
