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
from posixpath import join  # local paths, `gs://` and `/gcs/` all understand `/`

from codec.errors import JobError

ROLES = ("chief", "worker", "ps", "evaluator")
# What CLUSTER_SPEC and old jobs call them.
OTHER_NAMES = {**{f"workerpool{i}": role for i, role in enumerate(ROLES)}, "master": "chief"}
EXPECTED = '{"cluster": {"chief": ["host:port"], …}, "task": {"type": "chief", "index": 0}}'
CONTRACT = re.compile(
    r"^(AIP_.*|CLOUD_ML_.*|TF_CONFIG|CLUSTER_SPEC|GIT_COMMIT|GIT_DIRTY|OWN_DATA_URI|DATA_HASH)$"
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
    cluster, role, index = _read_cluster(source, spec)
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


def _strip(path: str | None) -> str | None:
    return (path.rstrip("/") or "/") if path else None


def _read_spec(environ: Mapping[str, str]) -> tuple[str, dict]:
    """The variable that describes the cluster, TF_CONFIG before CLUSTER_SPEC, and what it holds."""
    source = "TF_CONFIG" if environ.get("TF_CONFIG", "").strip() else "CLUSTER_SPEC"
    text = environ.get(source, "").strip() or "{}"
    try:
        given = {key: value for key, value in json.loads(text).items() if value is not None}
        spec = {"cluster": {}, "task": {}} | given
        spec["task"]["index"] = int(spec["task"].get("index") or 0)
        if not all(":" in host for hosts in spec["cluster"].values() for host in hosts):
            raise ValueError("an address has no port")
    except (ValueError, TypeError, AttributeError):
        raise JobError(f"{source}: expected {EXPECTED}, got {text[:200]!r}") from None
    return source, spec


def _read_cluster(source: str, spec: dict) -> tuple[dict[str, tuple[str, ...]], str, int]:
    """Hosts by role; the role and the index of this process.

    A cluster of one replica is no cluster: nothing is to be agreed on.
    """
    cluster: dict[str, tuple[str, ...]] = {}
    for name, hosts in spec["cluster"].items():
        role = _read_role(source, name)
        if hosts and role != "evaluator":  # the evaluator never takes part in collectives
            cluster[role] = (*cluster.get(role, ()), *hosts)
    addresses = [host for hosts in cluster.values() for host in hosts]
    cluster = cluster if len(addresses) > 1 else {}
    role, index = _read_role(source, spec["task"].get("type") or "chief"), spec["task"]["index"]
    sizes = {name: len(hosts) for name, hosts in cluster.items()} or {role: 1}
    problems = {
        f"a cluster has one chief, not {sizes.get('chief')}": sizes.get("chief", 0) > 1,
        f"two replicas share an address: {sorted(addresses)}": len(set(addresses)) < len(addresses),
        "parameter servers need at least one worker": "ps" in cluster and "worker" not in cluster,
        f"this task is {role} {index}, but the cluster has {json.dumps(sizes)}": (
            role != "evaluator" and not 0 <= index < sizes.get(role, 0)
        ),
    }
    for problem, is_there in problems.items():
        if is_there:
            raise JobError(f"{source}: {problem}")
    if role == "worker" and index == 0 and "chief" not in cluster:
        role = "chief"  # TensorFlow's own rule: without a chief, worker 0 is it
    return cluster, role, index


def _read_role(source: str, name: str) -> str:
    role = OTHER_NAMES.get(name, name)
    if role not in ROLES:
        known = ", ".join([*ROLES, *OTHER_NAMES])
        raise JobError(f"{source}: unknown role {name!r}; expected one of {known}")
    return role
