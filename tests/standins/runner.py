"""Runs what was submitted: packages out of the bucket, one process a replica, with the contract.

Python modules only. A container command is never run on this machine: it may be anything.
"""

import json
import os
import random
import socket
import subprocess
import sys
import threading
from pathlib import Path

from conftest import forked

SECONDS = 120  # that a replica may take, on a busy machine
ROLES = ("chief", "worker", "ps", "evaluator")


class Runner:
    """Starts jobs, each in a folder of its own.

    Args:
        buckets: where packages lie, and results come to.
        environ: what makes a process talk to the stand-ins and to nothing else.
        folder: below it everything is kept.
    """

    def __init__(self, buckets, environ, folder):
        self.buckets, self.environ, self.folder = buckets, environ, Path(folder)
        self.installed: dict[str, Path] = {}
        self.started = []

    def start(self, resource: dict, log) -> "Run":
        run = Run(self, resource, log)
        self.started.append(run)
        return run

    def stop(self):
        """Ends whatever still runs."""
        for run in self.started:
            run.stop()

    def install(self, uris: list[str]) -> Path:
        """Packages as pip installs them, without a network, in a folder that only they are in."""
        key = " ".join(uris)
        if key not in self.installed:
            target = self.folder / f"packages-{len(self.installed)}"
            fetched = self.folder / f"fetched-{len(self.installed)}"
            fetched.mkdir(parents=True)
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
            command += ["--no-build-isolation", "--target", str(target)]
            for uri in uris:
                bucket, _, name = uri.removeprefix("gs://").partition("/")
                path = fetched / name.rpartition("/")[2]
                path.write_bytes(self.buckets.read(bucket, name))
                command.append(str(path))
            env = {"PATH": os.environ["PATH"], "HOME": str(fetched)}
            env["PIP_REQUIRE_VIRTUALENV"] = "1"
            done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=SECONDS)
            if done.returncode:
                raise RuntimeError(done.stderr)
            self.installed[key] = target
        return self.installed[key]


class Run:
    """A job, or a study with its trials one after the other."""

    def __init__(self, runner: Runner, resource: dict, log):
        self.runner, self.log = runner, log
        self.id = resource["name"].rpartition("/")[2]
        self.resource = resource
        self.error = None
        self.trials: list[dict] = []
        self.processes: list[subprocess.Popen] = []
        self.stopped = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def describe(self) -> dict:
        """How far it is, as fields of the resource."""
        found = {"trials": [dict(trial) for trial in self.trials]} if self.trials else {}
        if self.thread.is_alive():
            return found
        if self.error:
            error = {"code": 3, "message": self.error}
            return {**found, "state": "JOB_STATE_FAILED", "error": error}
        return {**found, "state": "JOB_STATE_SUCCEEDED"}

    def stop(self):
        self.stopped = True
        for process in self.processes:
            process.kill()

    def _run(self):
        try:
            if "trialJobSpec" in self.resource:
                self._study()
            else:
                base = _base(self.resource["jobSpec"])
                self.error = self._job(self.resource["jobSpec"], base, None, [])
        except Exception as error:  # the test sees it as the job's error
            self.error = f"the stand-in's runner: {error!r}"

    def _study(self):
        spec, choose = self.resource["studySpec"], random.Random(0)
        base = _base(self.resource["trialJobSpec"])
        for number in range(1, int(self.resource["maxTrialCount"]) + 1):
            if self.stopped:
                return
            chosen = {p["parameterId"]: _value(p, choose) for p in spec["parameters"]}
            parameters = [{"parameterId": key, "value": value} for key, value in chosen.items()]
            trial = {"id": str(number), "state": "ACTIVE", "parameters": parameters}
            self.trials.append(trial)
            # As the service passes them: two words, numbers as it likes to write them.
            flags = [word for key, v in chosen.items() for word in (f"--{key}", str(v))]
            where = f"{base}/{number}" if base else None
            failed = self._job(self.resource["trialJobSpec"], where, str(number), flags)
            reports = self._reports(str(number))
            metric = spec["metrics"][0]["metricId"]
            values = [float(r[metric]) for r in reports if metric in r]
            if failed or not values:
                trial |= {"state": "INFEASIBLE", "infeasibleReason": failed or "no metric"}
                continue
            best = min if spec["metrics"][0]["goal"] == "MINIMIZE" else max
            measured = [{"metricId": metric, "value": best(values)}]
            steps = str(reports[-1].get("global_step", 0))
            trial |= {"state": "SUCCEEDED"}
            trial["finalMeasurement"] = {"stepCount": steps, "metrics": measured}
        if not any(trial["state"] == "SUCCEEDED" for trial in self.trials):
            self.error = "All trials failed."

    def _reports(self, trial):
        path = self.runner.folder / self.id / trial / "output.metrics"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]

    def _job(self, spec, base, trial, flags) -> str | None:
        """Runs all replicas; why the job failed, or None."""
        pools = spec["workerPoolSpecs"]
        members = [
            (i, index, pool["pythonPackageSpec"])
            for i, pool in enumerate(pools)
            for index in range(int(pool.get("replicaCount", 1)))
            if pool and "pythonPackageSpec" in pool
        ]
        if len(members) < sum(int(pool.get("replicaCount", 1)) for pool in pools if pool):
            return "containers are not run here"
        addresses = _addresses(len(members))
        readers, codes = [], {}
        for number, (pool, index, task) in enumerate(members):
            env = self._environment(spec, members, addresses, number, base, trial)
            cwd = self.runner.folder / self.id / (trial or "job") / f"{pool}-{index}"
            cwd.mkdir(parents=True)
            packages = self.runner.install(task["packageUris"])
            program = forked(task["pythonModule"])
            process = subprocess.Popen(
                [sys.executable, *program, *task.get("args", []), *flags],
                cwd=cwd,
                env={**env, "PYTHONPATH": str(packages), "HOME": str(cwd)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
            )
            self.processes.append(process)
            name = f"workerpool{pool}-{index}"
            readers.append(threading.Thread(target=self._read, args=(process, name, codes)))
            readers[-1].start()
        readers[0].join(SECONDS)
        for process in self.processes[-len(members) :]:
            process.kill()  # the primary is done, or has had its time
        for reader in readers:
            reader.join(10)
        code = codes.get("workerpool0-0")
        if code:
            return (
                f"The replica workerpool0-0 exited with a non-zero status of {code}. To find out "
                "more about why your job exited please check the logs"
            )
        return None

    def _read(self, process, name, codes):
        for line in process.stdout:
            severity = "ERROR" if line.startswith("error:") else "INFO"
            self.log.write(self.id, name, line.rstrip("\n"), severity)
        codes[name] = process.wait()

    def _environment(self, spec, members, addresses, number, base, trial) -> dict:
        cluster, roles = {}, {}
        for (pool, _, _), address in zip(members, addresses, strict=True):
            cluster.setdefault(f"workerpool{pool}", []).append(address)
            roles.setdefault(ROLES[pool], []).append(address)
        pool, index, task = members[number]
        at = {"index": index, **({"trial": trial} if trial else {})}
        env = {
            "PATH": os.environ["PATH"],
            **self.runner.environ,
            "CLOUD_ML_JOB_ID": self.id,
            "CLOUD_ML_PROJECT_ID": "123456789012",
            "CLUSTER_SPEC": json.dumps(
                {
                    "cluster": cluster,
                    "environment": "cloud",
                    "task": {"type": f"workerpool{pool}", **at},
                    "job": json.dumps({"worker_pool_specs": []}),
                }
            ),
        }
        if base:
            env |= {
                "AIP_MODEL_DIR": f"{base}/model/",
                "AIP_CHECKPOINT_DIR": f"{base}/checkpoints/",
                "AIP_TENSORBOARD_LOG_DIR": f"{base}/logs/",
            }
        if trial:
            reports = self.runner.folder / self.id / trial
            reports.mkdir(parents=True, exist_ok=True)
            env |= {"CLOUD_ML_TRIAL_ID": trial}
            env["CLOUD_ML_HP_METRIC_FILE"] = str(reports / "output.metrics")
        if len(members) > 1:
            task_config = {"type": ROLES[pool], **at, "cloud": self.id}
            roles.pop("evaluator", None)
            config = {"cluster": roles, "environment": "cloud", "task": task_config, "job": {}}
            env["TF_CONFIG"] = json.dumps(config)
        return env | {entry["name"]: entry.get("value", "") for entry in task.get("env", [])}


def _base(spec: dict) -> str | None:
    return (spec.get("baseOutputDirectory") or {}).get("outputUriPrefix", "").rstrip("/") or None


def _value(parameter: dict, choose: random.Random):
    """A value as the service might suggest it."""
    for kind, spec in parameter.items():
        if kind == "doubleValueSpec":
            return choose.uniform(float(spec.get("minValue", 0)), float(spec["maxValue"]))
        if kind == "integerValueSpec":
            low, high = int(spec.get("minValue", 0)), int(spec["maxValue"])
            return float(choose.randint(low, high))  # "32.0"
        if kind in ("categoricalValueSpec", "discreteValueSpec"):
            return choose.choice(spec["values"])
    raise ValueError(parameter)


def _addresses(number: int) -> list[str]:
    """Free ports of this machine; all are looked for at once, so that they differ."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    found = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return found
