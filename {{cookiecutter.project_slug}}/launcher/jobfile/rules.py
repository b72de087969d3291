"""The rules of a CustomJobSpec that its messages do not carry: what the service refuses late.

Each rule yields (place, what is wrong, what to write instead), the place as of the CustomJobSpec.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from launcher.common.times import parse_duration
from launcher.jobfile import machine_rules, place_rules, task_rules
from launcher.jobfile.job import WEEK, Job
from launcher.jobfile.machine_rules import Said, is_pod, is_tpu
from launcher.jobfile.program import Program
from launcher.jobfile.shape import MESSAGES, TABLE

POOLS = ("the chief", "workers", "parameter servers", "evaluators")
# The launcher fills these in from project.yaml, so a job file may go without.
FILLED_IN = {"imageUri", "executorImageUri", "packageUris"}
FLEXIBLE = re.compile(r"NVIDIA_(L4|TESLA_A100|A100_80GB|H100_\w+|H200_\w+|B200)")
REDUCTION_SERVER = "vertex-ai-restricted/training/reductionserver"


def custom_job(job: Job) -> Iterator[Said]:
    """All faults of a job's CustomJobSpec."""
    specs = job.spec.get("workerPoolSpecs") or []
    if specs:
        yield from _pools(job, specs)
    programs = {pool.index: pool.program for pool in job.pools}
    for i, spec in enumerate(specs):
        if spec:
            yield from _pool(f"workerPoolSpecs[{i}]", spec, programs.get(i))
    yield from _scheduling(job)
    yield from place_rules.names(job.spec)


def missing(value: dict, message: str, place: str = "") -> Iterator[Said]:
    """What the API asks for and is not there, or empty."""
    for key in TABLE["required"].get(message, ()):
        where = f"{place}.{key}" if place else key
        if key in FILLED_IN or (message, key) == ("EnvVar", "value") and key in value:
            continue
        if value.get(key) in (None, "", []):
            word = "is empty" if key in value else "is missing"
            yield where, word, EXAMPLES.get(key, f"write {key}: …")
    for key, child in value.items():
        kind = MESSAGES[message][key]
        where = f"{place}.{key}" if place else key
        if kind.removesuffix("[]") not in MESSAGES:
            continue
        children = (
            [("", child)] if kind in MESSAGES else [(f"[{i}]", c) for i, c in enumerate(child)]
        )
        for index, found in children:
            if found or kind != "WorkerPoolSpec[]":  # an empty pool keeps the place of its role
                yield from missing(found, kind.removesuffix("[]"), where + index)


EXAMPLES = {
    "workerPoolSpecs": "write at least the chief's pool, as in configs/cpu.yaml",
    "trialJobSpec": "write the job of one trial, as in configs/tuning.yaml",
    "studySpec": "write metrics and parameters, as in configs/tuning.yaml",
    "metrics": "write - metricId: val_loss, and below it goal: MINIMIZE",
    "goal": "write MINIMIZE or MAXIMIZE",
    "parameters": "write what is to be tuned, as in configs/tuning.yaml",
    "displayName": "write a name for the list of jobs",
    "maxTrialCount": "write how many trials there are to be",
    "parallelTrialCount": "write how many of them may run at a time, such as 2",
    "outputUriPrefix": "write gs://BUCKET/PATH",
    "pythonModule": "write trainer.task",
    "values": "write at least one",
}


def _pools(job: Job, specs: list[dict]) -> Iterator[Said]:
    place = "workerPoolSpecs"
    if len(specs) > len(POOLS):
        what = f"there are {len(specs)} pools, and roles for four: {', '.join(POOLS)}"
        yield f"{place}[{len(POOLS)}]", what, "put machines of one role into one pool"
    pools = {pool.index: pool for pool in job.pools}
    chief, workers, servers = map(pools.get, range(3))
    if not chief:
        what = "is empty, and the first pool is the chief's"
        yield f"{place}[0]", what, "describe the chief here"
    elif chief.replicas > 1:
        what = f"is {chief.replicas}: a job has one chief, and the first pool is the chief's"
        instead = "write 1 here, and put the others into the second pool, as workers"
        yield f"{place}[0].replicaCount", what, instead
    reduction = servers and REDUCTION_SERVER in servers.program.image
    # To other programs the third pool may be anything.
    foreign = chief and chief.program.foreign
    if servers and not workers and (reduction or not foreign):
        what = "is empty: parameter servers need workers that compute"
        if reduction:
            what = "is empty: a Reduction Server is for workers with GPUs"
        yield f"{place}[1]", what, "describe the workers here"
    if reduction:
        for pool in filter(None, (chief, workers)):
            if not pool.accelerators:
                what = "has no GPU, and the Reduction Server in the third pool is for GPUs only"
                instead = "name GPUs here, or remove the third pool"
                yield f"{place}[{pool.index}].machineSpec", what, instead
        if servers.accelerators:
            what = "a Reduction Server computes without GPUs"
            where = f"{place}[2].machineSpec.acceleratorType"
            yield where, what, "take n1-highcpu-16 without one"
    tpus = [pool for pool in job.pools if is_tpu(pool.machine)]
    if tpus and len(job.pools) > 1:
        what = "a TPU job has one pool with one replica"
        instead = "remove the other pools; tpuTopology says how many chips"
        yield f"{place}[{tpus[0].index}]", what, instead


def _pool(place: str, pool: dict, runs: Program | None) -> Iterator[Said]:
    count = pool.get("replicaCount")
    if count is None:
        yield f"{place}.replicaCount", "is missing", "write how many machines, such as 1"
    elif int(count) < 1:
        what = f"is {count}: a pool has machines"
        instead = "write 1 or more, or {} for the whole pool to skip it"
        yield f"{place}.replicaCount", what, instead
    machine = pool.get("machineSpec") or {}
    if is_tpu(machine.get("machineType", "")) and int(count or 1) > 1:
        what = f"is {count}, and a TPU pool has one replica"
        yield f"{place}.replicaCount", what, "write 1; tpuTopology says how many chips"
    if "machineSpec" in pool:
        yield from machine_rules.machine(f"{place}.machineSpec", pool["machineSpec"])
    else:
        what = "is missing"
        yield f"{place}.machineSpec", what, "write machineSpec: {machineType: n2-standard-4}"
    yield from machine_rules.disk(f"{place}.diskSpec", pool.get("diskSpec") or {})
    tasks = [key for key in ("containerSpec", "pythonPackageSpec") if key in pool]
    if not tasks:
        what = "has neither containerSpec nor pythonPackageSpec: nothing would run"
        yield place, what, "write containerSpec: {args: []}"
    for key in tasks if runs else ():
        yield from task_rules.task(f"{place}.{key}", pool[key], runs)


def _scheduling(job: Job) -> Iterator[Said]:
    place, scheduling = "scheduling", job.spec.get("scheduling") or {}
    timeout = _seconds(scheduling, "timeout")
    if timeout is None:
        what = "is missing: a job that hangs would run, and be paid for, for seven days"
        yield f"{place}.timeout", what, "write timeout: 3600s for an hour"
    elif timeout <= 0:
        yield f"{place}.timeout", f"is {scheduling['timeout']}", "write 3600s for an hour"
    elif timeout > WEEK:
        what = f"is {scheduling['timeout']}, and a job runs for seven days at most"
        yield (
            f"{place}.timeout",
            what,
            f"write {WEEK:.0f}s, and go on from the checkpoint in another job",
        )
    if scheduling.get("restartJobOnWorkerRestart") and scheduling.get("disableRetries"):
        what = "has no effect beside disableRetries, which overrides it"
        yield f"{place}.restartJobOnWorkerRestart", what, "keep one of them"
    strategy = scheduling.get("strategy", "STANDARD")
    old = {"ON_DEMAND": "STANDARD", "LOW_COST": "SPOT"}
    if strategy in old:
        yield f"{place}.strategy", f"{strategy} is an old name", f"write {old[strategy]}"
    if strategy in ("SPOT", "LOW_COST") and any(map(is_pod, job.pools)):
        what = f"{strategy} is not for TPU pods, several machines"
        yield f"{place}.strategy", what, "write STANDARD, or take a topology of one machine"
    if strategy == "FLEX_START":
        yield from _flex_start(job)
    wait = _seconds(scheduling, "maxWaitDuration")
    if wait is not None and wait < 0:
        what = f"is {scheduling['maxWaitDuration']}"
        yield f"{place}.maxWaitDuration", what, "write 86400s for a day, 0s to wait for ever"
    elif wait is not None and strategy != "FLEX_START":
        what = f"is for strategy FLEX_START only, and the strategy is {strategy}"
        yield f"{place}.maxWaitDuration", what, "remove it, or write strategy: FLEX_START"


def _flex_start(job: Job) -> Iterator[Said]:
    specs = [spec.get("machineSpec") for spec in job.spec.get("workerPoolSpecs") or () if spec]
    place = "scheduling.strategy"
    kinds = {pool.accelerator or "no accelerator" for pool in job.pools}
    unfit = sorted(kind for kind in kinds if not FLEXIBLE.fullmatch(kind))
    if unfit:
        what = f"FLEX_START is for L4, A100, H100, H200 and B200, not for {', '.join(unfit)}"
        yield place, what, "write STANDARD, or take a machine as in configs/flex_start.yaml"
    elif any(spec != specs[0] for spec in specs):
        what = "FLEX_START needs the same machineSpec in all pools"
        yield place, what, "write STANDARD, or the first pool's machineSpec in the others"


def _seconds(scheduling: dict, key: str) -> float | None:
    return parse_duration(scheduling[key]) if scheduling.get(key) is not None else None
