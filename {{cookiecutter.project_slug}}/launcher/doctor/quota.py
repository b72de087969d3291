"""Whether the quota for training machines is enough for the files in configs/.

A job above its quota is accepted, and then waits for ever: it is better known before.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable

from launcher.doctor.access import Refused
from launcher.doctor.checkup import OK, WARN, Skip, start

METRIC = "aiplatform.googleapis.com/custom_model_training_"
# As Google names the quotas. H200 and later are not here: their quotas' names are not public.
GPUS = {
    "NVIDIA_TESLA_T4": "nvidia_t4_gpus",
    "NVIDIA_TESLA_P4": "nvidia_p4_gpus",
    "NVIDIA_TESLA_V100": "nvidia_v100_gpus",
    "NVIDIA_TESLA_A100": "nvidia_a100_gpus",
    "NVIDIA_A100_80GB": "nvidia_a100_80gb_gpus",
    "NVIDIA_L4": "nvidia_l4_gpus",
    "NVIDIA_H100_80GB": "nvidia_h100_gpus",
}
TPUS = {"ct5lp": "tpu_v5e"}
UNLIMITED = -1


def check(settings, ask: Callable[..., dict]) -> tuple[str, ...]:
    """`ask(api, path)` gives an API's answer."""
    from launcher.project.settings import ROOT

    if not settings.region:
        raise Skip("gcp.region in project.yaml is empty")
    needs = needed(sorted((ROOT / "configs").glob("*.yaml")))
    service = f"v1beta1/projects/{settings.project}/services/aiplatform.googleapis.com"

    def limit(metric: str) -> int | None:
        name = urllib.parse.quote(METRIC + metric, safe="")
        answer = ask("serviceusage", f"{service}/consumerQuotaMetrics/{name}")
        return limit_in(answer, settings.region)

    known, why = {}, "no config asks for a known machine"
    for metric, future in {metric: start(lambda m=metric: limit(m)) for metric in needs}.items():
        try:
            known[metric] = future.result()
        except (Skip, Refused) as error:
            why = str(error) if isinstance(error, Skip) else f"may not be read: {error}"
    known = {metric: value for metric, value in known.items() if value is not None}
    if not known:
        raise Skip(why)
    short = [
        f"{' and '.join(files)}: {count} {metric}, quota {known[metric]}"
        for metric, (count, files) in needs.items()
        if metric in known and known[metric] != UNLIMITED and known[metric] < count
    ]
    if not short:
        unread = len(needs) - len(known)
        rest = f" ({unread} of {len(needs)} kinds could not be read)" if unread else ""
        return OK, f"enough in {settings.region} for all of configs/{rest}"
    page = f"https://console.cloud.google.com/iam-admin/quotas?project={settings.project}"
    text = f"in {settings.region} these jobs would wait for ever: {'; '.join(short)}"
    return WARN, f"{text}. Ask for more at {page}"


def needed(paths) -> dict[str, tuple[int, list[str]]]:
    """{metric: (the most that one file needs of it, the files that need that many)}"""
    needs: dict[str, tuple[int, list[str]]] = {}
    for path in paths:
        for metric, count in _needs_of(path).items():
            most, files = needs.get(metric, (0, []))
            if count > most:
                needs[metric] = (count, [path.name])
            elif count == most:
                files.append(path.name)
    return needs


def _needs_of(path) -> dict[str, int]:
    """{metric: count} of a job file; {} for a wrong one, which check.py reports."""
    from launcher.jobfile import spec
    from launcher.jobfile.machines import MACHINES

    try:
        job = spec.read(path)
    except spec.SpecError:
        return {}
    # Machines that may be taken away, or waited for, count on a quota of their own.
    kind = "preemptible_" if job.scheduling.strategy in ("SPOT", "FLEX_START") else ""
    needs: dict[str, int] = {}
    for pool in job.pools:
        family, size = pool.machine.partition("-")[0], pool.machine.rpartition("-")[2]
        counts = {}
        if pool.machine in MACHINES:
            counts["cpus"] = MACHINES[pool.machine].cores
        if pool.accelerator in GPUS:
            counts[GPUS[pool.accelerator]] = pool.accelerators or 1
        if family in TPUS:
            counts[TPUS[family]] = int(size.rstrip("t"))
            counts.pop("cpus", None)  # a TPU's machine comes with it
        for metric, count in counts.items():
            replicas = pool.replicas * job.parallel
            needs[kind + metric] = needs.get(kind + metric, 0) + count * replicas
    return needs


def limit_in(answer: dict, region: str) -> int | None:
    """The limit that holds in a region; None where the answer has none."""
    everywhere = None
    for limit in answer.get("consumerQuotaLimits", ()):
        for bucket in limit.get("quotaBuckets", ()):
            where = bucket.get("dimensions") or {}
            # An int64 is a text in JSON; one that is 0 may be left out.
            value = int(bucket.get("effectiveLimit", 0))
            if where.get("region") == region:
                return value
            if not where:
                everywhere = value
    return everywhere
