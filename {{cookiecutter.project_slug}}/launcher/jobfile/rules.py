"""What the API's messages do not say: rules whose breach the service reports late, or never.

A rule looks at one message and yields its problems; RULES lists the rules of each message. Those of
this file are about a job as a whole: its pools together, times, names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from launcher.common.document import inner
from launcher.jobfile import machines, program, study
from launcher.jobfile.job import WEEK, Job, Pool, read_pools
from launcher.jobfile.machines import is_pod, is_tpu
from launcher.jobfile.schema import TABLE, Problem, parse_duration, walk
from launcher.project.buckets import find_uri_problem
from launcher.project.settings import ACCOUNT, TENSORBOARD

POOLS = ("the chief", "workers", "parameter servers", "evaluators")
FLEXIBLE = re.compile(r"NVIDIA_(L4|TESLA_A100|A100_80GB|H100_\w+|H200_\w+|B200)")
REDUCTION_SERVER = "vertex-ai-restricted/training/reductionserver"
NETWORK = re.compile(r"projects/\d+/global/networks/[a-z]([-a-z0-9]*[a-z0-9])?")
REQUIRED = {
    **TABLE["required"],
    "WorkerPoolSpec": ("replicaCount", "machineSpec"),
    "MachineSpec": ("machineType",),
}
# The launcher fills these in from project.yaml, so a job file may go without.
FILLED_IN = {"imageUri", "executorImageUri", "packageUris"}
# {field: (its form, what to write)}
FORMS = {
    "serviceAccount": (ACCOUNT, "NAME@PROJECT.iam.gserviceaccount.com"),
    "network": (NETWORK, "projects/NUMBER/global/networks/NAME, with the project's number"),
    "tensorboard": (TENSORBOARD, "projects/NUMBER/locations/REGION/tensorboards/ID"),
}


def find_problems(job: Job) -> Iterator[Problem]:
    """Yield the problems of a job's message and of all those in it."""
    name = "HyperparameterTuningJob" if job.tuning else "CustomJobSpec"
    for path, kind, part in walk(job.message, name):
        if kind == "WorkerPoolSpec" and not part:
            continue  # it only keeps the place of its role
        for rule in RULES.get(kind, ()):
            for field, what, instead in rule(part):
                yield ".".join(filter(None, (path, field))), what, instead
        for field in REQUIRED.get(kind, ()):
            empty = part.get(field) in (None, "", []) and (kind, field) != ("EnvVar", "value")
            if field not in FILLED_IN and (empty or field not in part):
                word = "is empty" if field in part else "is missing"
                yield inner(path, field), word, f"write {field}: …; configs/ has examples"


def check_roles(spec: dict) -> Iterator[Problem]:
    """Which pools there are, and how many machines each role may have."""
    count, pools = len(spec.get("workerPoolSpecs", ())), read_pools(spec)
    if count > len(POOLS):
        what = f"there are {count} pools, and roles for four: {', '.join(POOLS)}"
        yield f"workerPoolSpecs[{len(POOLS)}]", what, "put machines of one role into one pool"
    if not count:
        return  # a required field
    by_index = {pool.index: pool for pool in pools}
    chief, workers, servers = map(by_index.get, range(3))
    if not chief:
        what = "is empty, and the first pool is the chief's"
        yield "workerPoolSpecs[0]", what, "describe the chief here"
    elif chief.replicas > 1:
        what = f"is {chief.replicas}: a job has one chief, and the first pool is the chief's"
        instead = "write 1 here, and put the others into the second pool, as workers"
        yield "workerPoolSpecs[0].replicaCount", what, instead
    if servers and REDUCTION_SERVER in servers.program.image:
        yield from _check_reduction_server(by_index)
    elif servers and not workers and not (chief and chief.program.foreign):
        # To other programs the third pool may be anything.
        what = "is empty: parameter servers need workers that compute"
        yield "workerPoolSpecs[1]", what, "describe the workers here"
    tpus = [pool for pool in pools if is_tpu(pool.machine)]
    if tpus and len(pools) > 1:
        instead = "remove the other pools; tpuTopology says how many chips"
        what = "a TPU job has one pool with one replica"
        yield f"workerPoolSpecs[{tpus[0].index}]", what, instead


def _check_reduction_server(pools: Mapping[int, Pool]) -> Iterator[Problem]:
    for index, role in enumerate(POOLS[:3]):
        pool, server = pools.get(index), index == 2
        if not pool or bool(pool.accelerators) == server:
            what = f"{role} {'have GPUs' if server else 'have no GPU'}"
            instead = (
                "a Reduction Server, which has none, is for a chief and workers that have them"
            )
            yield f"workerPoolSpecs[{index}]", what, instead


def check_pool(pool: dict) -> Iterator[Problem]:
    """What a WorkerPoolSpec has: replicas, and something to run."""
    count = pool.get("replicaCount")
    if count is not None and int(count) < 1:
        instead = "write 1 or more, or {} for the whole pool to skip it"
        yield "replicaCount", f"is {count}: a pool has machines", instead
    if "containerSpec" not in pool and "pythonPackageSpec" not in pool:
        what = "has neither containerSpec nor pythonPackageSpec: nothing would run"
        yield "", what, "write containerSpec: {args: []}"


def check_scheduling(spec: dict) -> Iterator[Problem]:
    """How long a job runs and waits, and what starts again."""
    scheduling = spec.get("scheduling", {})
    timeout, wait = scheduling.get("timeout"), scheduling.get("maxWaitDuration")
    if not 0 < parse_duration(timeout or "0s") <= WEEK:
        what = f"is {timeout or 'missing'}: it ends a job that hangs, and {WEEK:.0f}s is the most"
        yield "scheduling.timeout", what, "write timeout: 3600s for an hour"
    if scheduling.get("restartJobOnWorkerRestart") and scheduling.get("disableRetries"):
        what = "has no effect beside disableRetries, which overrides it"
        yield "scheduling.restartJobOnWorkerRestart", what, "keep one of them"
    strategy = scheduling.get("strategy", "STANDARD")
    if wait is not None and (strategy != "FLEX_START" or parse_duration(wait) < 0):
        what = f"is {wait}: how long a FLEX_START job waits for machines, 0s for ever"
        yield "scheduling.maxWaitDuration", what, f"remove it: this job is {strategy}"


def check_strategy(spec: dict) -> Iterator[Problem]:
    """Which machines a job may wait for, or lose."""
    strategy, pools = spec.get("scheduling", {}).get("strategy", "STANDARD"), read_pools(spec)
    where, old = "scheduling.strategy", {"ON_DEMAND": "STANDARD", "LOW_COST": "SPOT"}
    if strategy in old:
        yield where, f"{strategy} is an old name", f"write {old[strategy]}"
    if strategy in ("SPOT", "LOW_COST") and any(map(is_pod, pools)):
        what = f"{strategy} is not for TPU pods, several machines"
        yield where, what, "write STANDARD, or take a topology of one machine"
    if strategy == "FLEX_START":
        specs = [pool.get("machineSpec") for pool in spec.get("workerPoolSpecs", ()) if pool]
        kinds = {pool.accelerator or "no accelerator" for pool in pools}
        if unfit := sorted(kind for kind in kinds if not FLEXIBLE.fullmatch(kind)):
            what = f"FLEX_START is for L4, A100, H100, H200 and B200, not for {', '.join(unfit)}"
            yield where, what, "write STANDARD, or take a machine as in configs/flex_start.yaml"
        elif any(other != specs[0] for other in specs):
            what = "FLEX_START needs the same machineSpec in all pools"
            yield where, what, "write STANDARD, or the first pool's machineSpec in the others"


def check_names(spec: dict) -> Iterator[Problem]:
    """Names of resources that are not of the form which the service takes."""
    output = spec.get("baseOutputDirectory", {}).get("outputUriPrefix")
    if output and (problem := find_uri_problem(output)):
        instead = f"write gs://BUCKET/PATH; {problem}"
        yield "baseOutputDirectory.outputUriPrefix", f"{output} is no folder in a bucket", instead
    for key, (form, right) in FORMS.items():
        if (name := spec.get(key)) and not form.fullmatch(name):
            yield key, f"{name} is not of the form that the service takes", f"write {right}"


RULES: dict[str, tuple[Callable[[dict], Iterator[Problem]], ...]] = {
    "CustomJobSpec": (check_roles, check_scheduling, check_strategy, check_names),
    "WorkerPoolSpec": (check_pool, program.check_program),
    "MachineSpec": (machines.check_machine,),
    "DiskSpec": (machines.check_disk,),
    "ContainerSpec": (program.check_task,),
    "PythonPackageSpec": (program.check_task,),
    "HyperparameterTuningJob": (study.check_job,),
    "StudySpec": (study.check_study,),
    "StudySpec.ParameterSpec": (study.check_parameter,),
}
