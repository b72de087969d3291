"""Whether the quota for training machines is enough for the files in configs/.

A job above its quota is accepted, and then waits for ever: it is better known before.
"""

import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from launcher.cloud.clients import quota_page
from launcher.doctor.checkup import OK, WARN, Skip, Wrong
from launcher.jobfile import spec
from launcher.jobfile.machines import MACHINES
from launcher.project.settings import ROOT, Settings

SERVICE = "v1beta1/projects/{}/services/aiplatform.googleapis.com/consumerQuotaMetrics/"
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
UNLIMITED = -1  # as Google writes it


def check(settings: Settings, ask: Callable[..., dict]) -> tuple[str, ...]:
    """`ask(api, path)` gives an API's answer."""
    needs = list_needs(sorted((ROOT / "configs").glob("*.yaml")))
    path = SERVICE.format(settings.project)

    def read_limit(metric: str) -> int | None:
        try:
            answer = ask("serviceusage", path + urllib.parse.quote(METRIC + metric, safe=""))
        except Wrong:
            return None
        return get_limit(answer, settings.region)

    with ThreadPoolExecutor() as threads:
        limits = dict(zip(needs, threads.map(read_limit, needs), strict=True))
    unread = list(limits.values()).count(None)
    if unread == len(needs):
        raise Skip("no quota may be read")
    short = [
        f"{' and '.join(files)}: {count} {metric}, quota {limits[metric]}"
        for metric, (count, files) in needs.items()
        if limits[metric] is not None and UNLIMITED < limits[metric] < count
    ]
    if short:
        text = f"in {settings.region} these jobs would wait for ever: {'; '.join(short)}"
        return WARN, f"{text}. Ask for more at {quota_page(settings.project)}"
    rest = f" ({unread} of {len(needs)} kinds could not be read)" if unread else ""
    return OK, f"enough in {settings.region} for all of configs/{rest}"


def list_needs(paths: Iterable[Path]) -> dict[str, tuple[int, list[str]]]:
    """{metric: (the most that one file needs of it, the files that need that many)}"""
    counts, needs = {path.name: _count_needs(path) for path in paths}, {}
    for metric in dict.fromkeys(metric for count in counts.values() for metric in count):
        most = max(count[metric] for count in counts.values())
        needs[metric] = most, [name for name, count in counts.items() if count[metric] == most]
    return needs


def _count_needs(path: Path) -> Counter[str]:
    """{metric: count} of a job file; nothing for what is wrong there, which check.py reports."""
    needs: Counter[str] = Counter()
    try:
        job = spec.read(path)
    except spec.SpecError:
        return needs
    # Machines that may be taken away, or waited for, count on a quota of their own.
    kind = "preemptible_" if job.scheduling.strategy in ("SPOT", "FLEX_START") else ""
    for pool in job.pools:
        if pool.machine not in MACHINES:
            continue
        replicas = pool.replicas * job.parallel
        family, size = pool.machine.partition("-")[0], pool.machine.rpartition("-")[2]
        if family in TPUS:  # its cores come with it
            needs[kind + TPUS[family]] += int(size.rstrip("t")) * replicas
            continue
        needs[f"{kind}cpus"] += MACHINES[pool.machine].cores * replicas
        if pool.accelerator in GPUS:
            needs[kind + GPUS[pool.accelerator]] += (pool.accelerators or 1) * replicas
    return needs


def get_limit(answer: dict, region: str) -> int | None:
    """The limit that holds in a region; None where the answer has none."""
    limits = {}
    for limit in answer.get("consumerQuotaLimits", ()):
        for bucket in limit.get("quotaBuckets", ()):
            where = (bucket.get("dimensions") or {}).get("region", "")
            # An int64 is a text in JSON; one that is 0 may be left out.
            limits.setdefault(where, int(bucket.get("effectiveLimit", 0)))
    return limits.get(region, limits.get(""))
