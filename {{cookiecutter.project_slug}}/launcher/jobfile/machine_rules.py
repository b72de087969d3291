"""Which machine, accelerators and disk a worker pool may ask for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from launcher.jobfile.job import Pool
from launcher.jobfile.machines import GONE, MACHINES, OLD_TPUS, Machine, for_accelerator, nearest
from launcher.jobfile.shape import did_you_mean

DISKS = ("pd-ssd", "pd-standard", "hyperdisk-balanced")
DISK_GB = (100, 64_000)
NONE = ("", "ACCELERATOR_TYPE_UNSPECIFIED")
Said = tuple[str, str, str]  # a place in the CustomJobSpec, what is wrong there, what to write


def is_tpu(name: str) -> bool:
    return name in MACHINES and MACHINES[name].is_tpu


def is_pod(pool: Pool) -> bool:
    """Whether the TPU is one of many machines."""
    if not is_tpu(pool.machine):
        return False
    if topologies := MACHINES[pool.machine].topologies:
        return pool.topology not in ("", topologies[0])
    return pool.accelerators > 8


def machine(place: str, spec: dict) -> Iterator[Said]:
    """Faults of a machineSpec."""
    name = spec.get("machineType")
    if not name:
        yield f"{place}.machineType", "is missing", "write for instance n2-standard-4"
        return
    found = MACHINES.get(name)
    if found is None:
        yield f"{place}.machineType", f"{name} is no machine type for training", nearest(name)
    yield from _accelerators(place, spec, found)
    yield from _tpu(place, spec, found)
    affinity = spec.get("reservationAffinity") or {}
    if affinity.get("reservationAffinityType") == "SPECIFIC_RESERVATION":
        for key in ("key", "values"):
            if not affinity.get(key):
                what = "is missing, and SPECIFIC_RESERVATION needs it"
                instead = (
                    "write compute.googleapis.com/reservation-name"
                    if key == "key"
                    else "name the reservation"
                )
                yield f"{place}.reservationAffinity.{key}", what, instead


def _accelerators(place: str, spec: dict, found: Machine | None) -> Iterator[Said]:
    kind, count = spec.get("acceleratorType", ""), int(spec.get("acceleratorCount", 0))
    if count < 0:
        yield f"{place}.acceleratorCount", f"is {count}", "write how many each machine has"
        return
    if kind in NONE:
        if count:
            what = f"is {count} without an acceleratorType: no accelerator is attached"
            yield f"{place}.acceleratorCount", what, _name_it(found)
        elif found and found.comes_with:
            what = f"is missing: {found.name} comes with accelerators, which must be named"
            yield f"{place}.acceleratorType", what, _name_it(found)
        return
    if kind in GONE and date.today() > GONE[kind][0]:
        day, instead = GONE[kind]
        yield f"{place}.acceleratorType", f"{kind} is gone since {day}", instead
        return
    if kind.startswith("TPU") and kind not in OLD_TPUS:
        what = f"{kind} is not chosen here but by the machine"
        instead = "write machineType: ct5lp-hightpu-1t and tpuTopology: 1x1, without an accelerator"
        yield f"{place}.acceleratorType", what, instead
        return
    if not count:
        counts = found.accelerators.get(kind, (1,)) if found else (1,)
        what = f"there is no {kind} without an acceleratorCount"
        yield f"{place}.acceleratorType", what, f"write acceleratorCount: {counts[0]}"
        return
    if found is None:
        return
    counts = found.accelerators.get(kind)
    advice = for_accelerator(kind, count)
    if counts is None:
        has = " and ".join(found.accelerators) or "no accelerator"
        what = f"{kind} does not go with {found.name}, which takes {has}"
        yield f"{place}.acceleratorType", what, advice
    elif count not in counts:
        numbers = ", ".join(str(n) for n in counts if n <= 64)
        what = f"{count} × {kind} do not go with {found.name}"
        instead = f"possible here: {numbers}"
        elsewhere = f"; {advice}" if " go with " in advice else ""
        yield f"{place}.acceleratorCount", what, instead + elsewhere


def _name_it(found: Machine | None) -> str:
    """What stands in the file when the machine's own accelerators are named."""
    if found is None or not found.accelerators:
        return "remove it, or name an acceleratorType and a machine that has it"
    kind, counts = next(iter(found.accelerators.items()))
    return f"write acceleratorType: {kind} and acceleratorCount: {counts[0]}"


def _tpu(place: str, spec: dict, found: Machine | None) -> Iterator[Said]:
    topology = spec.get("tpuTopology")
    if found is None:
        return
    if not found.topologies:
        if topology:
            what = f"{found.name} has no topology to choose"
            yield f"{place}.tpuTopology", what, "remove it, or take ct5lp-hightpu-1t"
    elif not topology:
        what = f"is missing, and {found.name} needs it"
        yield f"{place}.tpuTopology", what, f"write tpuTopology: {found.topologies[0]}"
    elif topology not in found.topologies:
        what = f"{topology} does not go with {found.name}"
        yield f"{place}.tpuTopology", what, f"possible here: {', '.join(found.topologies)}"


def disk(place: str, spec: dict) -> Iterator[Said]:
    """Faults of a diskSpec."""
    kind, size = spec.get("bootDiskType"), spec.get("bootDiskSizeGb")
    if kind and kind not in DISKS:
        what = f"{kind} is no boot disk for training"
        yield f"{place}.bootDiskType", what, did_you_mean(kind, DISKS)
    if size is not None and not DISK_GB[0] <= int(size) <= DISK_GB[1]:
        what = f"{size} GB is no size of a boot disk"
        yield f"{place}.bootDiskSizeGb", what, "write 100 (the default) to 64000"
