"""What the platform says to a job, read once: flags and environment in, one frozen `Runtime` out.

This is the only reader of environment variables in the trainer, and it imports no TensorFlow, so
that a wrong environment is reported in milliseconds. Vertex AI sets the variables; so does
`scripts/train_local.py`; without either, a run is a single process that writes to `runs/<time>`.
"""

import contextlib
import itertools
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone

from codec.errors import JobError

ROLES = ("chief", "worker", "ps", "evaluator")
# What CLUSTER_SPEC and old jobs call them.
OTHER_NAMES = {**{f"workerpool{i}": role for i, role in enumerate(ROLES)}, "master": "chief"}
CONTRACT = re.compile(
    r"^(AIP_.*|CLOUD_ML_.*|TF_CONFIG|CLUSTER_SPEC|GIT_COMMIT|GIT_DIRTY|OWN_DATA_URI)$"
)


@dataclass(frozen=True)
class Runtime:
    """Where this process stands in its job, and where the job's results go.

    Directories are local paths, `gs://…` or `/gcs/…`, without a trailing slash.
    """

    job_dir: str | None  # None: nobody chose one; `new_job_dir` makes it
    model_dir: str
    checkpoint_dir: str
    log_dir: str
    role: str
    index: int
    cluster: Mapping[str, tuple[str, ...]]  # addresses by role; empty for a single process
    trial: str | None
    hosted: bool  # on Vertex AI rather than on a machine of your own
    metric_file: str
    contract: Mapping[str, str]  # the variables as given

    @property
    def is_chief(self) -> bool:
        """The one replica that writes: models, checkpoints, logs and the run record."""
        return self.role == "chief"


def read(job_dir: str | None = None, environ: Mapping[str, str] = os.environ) -> Runtime:
    """Builds the `Runtime` from `--job-dir` and the environment.

    Each directory has its own precedence: its AIP variable, then `--job-dir`, then `runs/<time>`.
    Vertex's AIP directories are per trial already; `--job-dir` is not, so the trial id is appended.

    Raises:
        JobError: a variable that cannot be read or describes an impossible cluster.
    """
    source, spec = _read_spec(environ)
    cluster = _read_cluster(source, spec["cluster"])
    role, index = _read_task(source, spec["task"], cluster)
    trial = environ.get("CLOUD_ML_TRIAL_ID") or str(spec["task"].get("trial") or "") or None
    base, model_dir = _strip(job_dir), _strip(environ.get("AIP_MODEL_DIR"))
    if base and trial:
        base = join(base, trial)
    job = os.path.dirname(model_dir) if model_dir else base

    def directory(variable: str, name: str) -> str:
        return _strip(environ.get(variable)) or join(base or job or "", name)

    return Runtime(
        job_dir=job,
        model_dir=model_dir or join(job or "", "model"),
        checkpoint_dir=directory("AIP_CHECKPOINT_DIR", "checkpoints"),
        log_dir=directory("AIP_TENSORBOARD_LOG_DIR", "logs"),
        role=role,
        index=index,
        cluster=cluster,
        trial=trial,
        hosted=spec.get("environment") == "cloud",
        metric_file=environ.get("CLOUD_ML_HP_METRIC_FILE") or "/tmp/hypertune/output.metrics",
        contract={k: v for k, v in sorted(environ.items()) if CONTRACT.match(k)},
    )


def new_job_dir(root: str = "runs", now: datetime | None = None) -> str:
    """Makes `runs/<UTC time>` and returns it; two runs in one second get two directories."""
    stamp = (now or datetime.now(timezone.utc)).strftime("%Y%m%d-%H%M%S")
    os.makedirs(root, exist_ok=True)
    for number in itertools.count(1):
        path = join(root, stamp if number == 1 else f"{stamp}-{number}")
        with contextlib.suppress(FileExistsError):
            os.mkdir(path)  # mkdir is atomic: of two processes only one succeeds
            return path


def join(directory: str, *names: str) -> str:
    """Joins with `/`, which local paths, `gs://` and `/gcs/` all understand."""
    return "/".join([directory.rstrip("/"), *names]) if directory else "/".join(names)


def _strip(path: str | None) -> str | None:
    return (path.rstrip("/") or "/") if path else None


def _read_spec(environ: Mapping[str, str]) -> tuple[str, dict]:
    """The variable that describes the cluster, TF_CONFIG before CLUSTER_SPEC, and what it holds."""
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
        spec |= {key: {} for key in ("cluster", "task") if spec.get(key) is None}
        for key in ("cluster", "task"):
            if not isinstance(spec[key], dict):
                raise JobError(f"{name}: {key} must be an object, got {json.dumps(spec[key])}")
        return name, spec
    return "TF_CONFIG", {"cluster": {}, "task": {}}


def _read_cluster(source: str, named: dict) -> dict[str, tuple[str, ...]]:
    """Hosts by role. A cluster of one replica is no cluster: nothing is to be agreed on."""
    cluster: dict[str, tuple[str, ...]] = {}
    for name, hosts in named.items():
        role = _read_role(source, name)
        if not isinstance(hosts, list) or not all(isinstance(h, str) and ":" in h for h in hosts):
            raise JobError(
                f'{source}: cluster.{name} must be a list of "host:port", got {json.dumps(hosts)}'
            )
        if hosts and role != "evaluator":  # the evaluator never takes part in collectives
            cluster[role] = (*cluster.get(role, ()), *hosts)
    if len(cluster.get("chief", ())) > 1:
        raise JobError(f"{source}: a cluster has one chief, got {list(cluster['chief'])}")
    hosts = [host for group in cluster.values() for host in group]
    if len(set(hosts)) < len(hosts):
        raise JobError(f"{source}: two replicas share an address: {sorted(hosts)}")
    if "ps" in cluster and "worker" not in cluster:
        raise JobError(f"{source}: parameter servers need at least one worker in the cluster")
    return cluster if len(hosts) > 1 else {}


def _read_task(source: str, task: dict, cluster: dict) -> tuple[str, int]:
    """The role and the index of this process."""
    role = _read_role(source, task.get("type") or "chief")
    try:
        index = int(task.get("index") or 0)
    except (TypeError, ValueError):
        raise JobError(f"{source}: task.index must be a number, got {task['index']!r}") from None
    if role == "evaluator":
        return role, index
    if not cluster and index:
        raise JobError(f"{source}: task.index is {index}, but the cluster is empty")
    if cluster and not 0 <= index < len(cluster.get(role, ())):
        shape = json.dumps({name: len(group) for name, group in cluster.items()})
        raise JobError(f"{source}: this task is {role} {index}, but the cluster has {shape}")
    if cluster and role == "worker" and index == 0 and "chief" not in cluster:
        role = "chief"  # TensorFlow's own rule: without a chief, worker 0 is it
    return role, index


def _read_role(source: str, name: str) -> str:
    role = OTHER_NAMES.get(name, name)
    if role not in ROLES:
        known = ", ".join([*ROLES, *OTHER_NAMES])
        raise JobError(f"{source}: unknown role {name!r}; expected one of {known}")
    return role
