"""What the platform says to a job, read once: flags and environment in, one frozen `Runtime` out.

This is the only reader of environment variables in the trainer, and it imports no TensorFlow, so
that a wrong environment is reported in milliseconds. Vertex AI sets the variables; so does
`scripts/train_local.py`; without either, a run is a single process that writes to `runs/<time>`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone

from codec.errors import JobError

ROLES = ("chief", "worker", "ps", "evaluator")
POOL_ROLES = dict(
    zip(("workerpool0", "workerpool1", "workerpool2", "workerpool3"), ROLES, strict=True)
)
CONTRACT = re.compile(
    r"^(AIP_.*|CLOUD_ML_.*|TF_CONFIG|CLUSTER_SPEC|GIT_COMMIT|GIT_DIRTY|OWN_DATA_URI)$"
)


@dataclass(frozen=True)
class Runtime:
    """Where this process stands in its job, and where the job's results go.

    Directories are local paths, `gs://…` or `/gcs/…`, without a trailing slash.
    """

    job_dir: str | None  # None: nobody chose one; `trainer.engine.record` makes a new runs/<time>
    model_dir: str
    checkpoint_dir: str
    log_dir: str
    role: str = "chief"
    index: int = 0
    cluster: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    trial: str | None = None
    hosted: bool = False  # on Vertex AI rather than on a machine of your own
    metric_file: str = "/tmp/hypertune/output.metrics"
    contract: Mapping[str, str] = field(default_factory=dict)  # the variables as given

    @property
    def is_chief(self) -> bool:
        """The one replica that writes: models, checkpoints, logs and the run record."""
        return self.role == "chief"

    @property
    def replicas(self) -> int:
        """Processes in the cluster; 1 where there is none."""
        return sum(len(hosts) for hosts in self.cluster.values()) or 1


def read(job_dir: str | None = None, environ: Mapping[str, str] = os.environ) -> Runtime:
    """Builds the `Runtime` from `--job-dir` and the environment.

    Each directory has its own precedence: its AIP variable, then `--job-dir`, then `runs/<time>`.
    Vertex's AIP directories are per trial already; `--job-dir` is not, so the trial id is appended.

    Raises:
        JobError: a variable that cannot be read or describes an impossible cluster.
    """
    spec, source = _task_environment(environ)
    cluster = _cluster(spec, source)
    role, index = _task(spec, cluster, source)
    trial = environ.get("CLOUD_ML_TRIAL_ID") or str(spec.get("task", {}).get("trial") or "") or None

    base = _strip(job_dir)
    if base and trial:
        base = join(base, trial)
    if environ.get("AIP_MODEL_DIR"):
        job = os.path.dirname(_strip(environ["AIP_MODEL_DIR"]))
    else:
        job = base

    def directory(variable: str, name: str) -> str:
        return _strip(environ.get(variable)) or join(base or job or "", name)

    return Runtime(
        job_dir=job,
        model_dir=directory("AIP_MODEL_DIR", "model"),
        checkpoint_dir=directory("AIP_CHECKPOINT_DIR", "checkpoints"),
        log_dir=directory("AIP_TENSORBOARD_LOG_DIR", "logs"),
        role=role,
        index=index,
        cluster=cluster,
        trial=trial,
        hosted=spec.get("environment") == "cloud",
        metric_file=environ.get("CLOUD_ML_HP_METRIC_FILE") or Runtime.metric_file,
        contract={k: v for k, v in sorted(environ.items()) if CONTRACT.match(k)},
    )


def new_job_dir(root: str = "runs", now: datetime | None = None) -> str:
    """Makes `runs/<UTC time>` and returns it; two runs in one second get two directories."""
    stamp = (now or datetime.now(timezone.utc)).strftime("%Y%m%d-%H%M%S")
    os.makedirs(root, exist_ok=True)
    for attempt in range(1000):
        path = join(root, stamp if attempt == 0 else f"{stamp}-{attempt + 1}")
        try:
            os.mkdir(path)  # mkdir is atomic: of two processes only one succeeds
            return path
        except FileExistsError:
            continue
    raise JobError(f"{root}/{stamp}: a thousand runs in one second; give --job-dir")


def join(directory: str, *names: str) -> str:
    """Joins with `/`, which local paths, `gs://` and `/gcs/` all understand."""
    return "/".join([directory.rstrip("/"), *names]) if directory else "/".join(names)


def _strip(path: str | None) -> str | None:
    if not path:
        return None
    return path.rstrip("/") or "/"


def _task_environment(environ: Mapping[str, str]) -> tuple[dict, str]:
    """TF_CONFIG where there is one, else CLUSTER_SPEC in TF_CONFIG's words, else nothing."""
    for name in ("TF_CONFIG", "CLUSTER_SPEC"):
        text = environ.get(name, "").strip()
        if not text:
            continue
        try:
            spec = json.loads(text)
        except ValueError as error:
            raise JobError(
                f"{name} is not JSON ({error}): got {text[:200]!r}; expected "
                '{"cluster": {"chief": ["host:port"], …}, "task": {"type": "chief", "index": 0}}'
            ) from None
        if not isinstance(spec, dict):
            raise JobError(f"{name} must be a JSON object, got {text[:200]!r}")
        for key in ("cluster", "task"):
            if spec.get(key) is None:
                spec[key] = {}
            if not isinstance(spec[key], dict):
                raise JobError(f"{name}: {key} must be an object, got {json.dumps(spec[key])}")
        return spec, name
    return {"cluster": {}, "task": {}}, "TF_CONFIG"


def _cluster(spec: dict, source: str) -> dict[str, tuple[str, ...]]:
    """Hosts by role. A cluster of one replica is no cluster: nothing is to be agreed on."""
    cluster: dict[str, tuple[str, ...]] = {}
    for name, hosts in spec["cluster"].items():
        role = _role(name, source)
        if not isinstance(hosts, list) or not all(isinstance(h, str) and ":" in h for h in hosts):
            raise JobError(
                f'{source}: cluster.{name} must be a list of "host:port", got {json.dumps(hosts)}'
            )
        if hosts and role != "evaluator":  # the evaluator never takes part in collectives
            cluster[role] = cluster.get(role, ()) + tuple(hosts)
    if len(cluster.get("chief", ())) > 1:
        raise JobError(f"{source}: a cluster has one chief, got {list(cluster['chief'])}")
    hosts = [host for group in cluster.values() for host in group]
    if len(set(hosts)) < len(hosts):
        raise JobError(f"{source}: two replicas share an address: {sorted(hosts)}")
    if "ps" in cluster and not cluster.get("worker"):
        raise JobError(f"{source}: parameter servers need at least one worker in the cluster")
    return cluster if len(hosts) > 1 else {}


def _task(spec: dict, cluster: dict, source: str) -> tuple[str, int]:
    task = spec["task"]
    role = _role(task.get("type") or "chief", source)
    try:
        index = int(task.get("index") or 0)
    except (TypeError, ValueError):
        raise JobError(f"{source}: task.index must be a number, got {task['index']!r}") from None
    if cluster and role != "evaluator":
        hosts = cluster.get(role, ())
        if not 0 <= index < len(hosts):
            shape = {name: len(group) for name, group in cluster.items()}
            raise JobError(
                f"{source}: this task is {role} {index}, but the cluster has {json.dumps(shape)}"
            )
        if role == "worker" and index == 0 and "chief" not in cluster:
            role = "chief"  # TensorFlow's own rule: without a chief, worker 0 is it
    elif index and role != "evaluator":
        raise JobError(f"{source}: task.index is {index}, but the cluster is empty")
    return role, index


def _role(name: str, source: str) -> str:
    role = POOL_ROLES.get(name, {"master": "chief"}.get(name, name))
    if role not in ROLES:
        known = ", ".join([*ROLES, "master", *POOL_ROLES])
        raise JobError(f"{source}: unknown role {name!r}; expected one of {known}")
    return role
