"""What there is to tell of a cloud job: as a row of a table, as lines, as JSON."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from launcher.cloud import watch
from launcher.cloud.remote_job import WAITS, RemoteJob
from launcher.common.times import format_span, parse_time, seconds_since
from launcher.cost import cost
from launcher.cost.parts import dollars
from launcher.cost.prices import Table

DAY = 86_400  # seconds
# The page says so below "Pricing for AutoML models"; of custom training it says nothing (2026-06).
FAILED_RULE = (
    "failed jobs are counted: https://cloud.google.com/vertex-ai/pricing exempts failed training of "
    "AutoML models only"
)
COLUMNS = ("name", "kind", "state", "sent", "time", "config", "commit", "cost")


def facts(job: RemoteJob, prices: Table) -> dict[str, Any]:
    """For a program. Times are RFC 3339; what is not there, or not known, is None or ""."""
    price = spent(job, prices)
    return {
        "name": job.name,
        "id": job.id,
        "resource": job.resource,
        "kind": "study" if job.tuning else "job",
        "state": job.state,
        "since": _since(job),
        "error": job.error,
        "created": job.message.get("createTime"),
        "started": job.message.get("startTime"),
        "ended": ended(job),
        "seconds": seconds(job),
        "config": job.labels.get("config", ""),
        "commit": job.labels.get("git_commit", ""),
        "user": job.labels.get("user", ""),
        "labels": dict(job.labels),
        "trials": len(job.trials),
        "folder": job.folder,
        "page": job.page,
        "curves": job.curves,
        "cost": {
            "usd": price.most,  # None: unknown
            "usd_per_hour": price.per_hour,
            "hours": price.hours,
            "notes": list(price.notes),
        },
    }


def row(job: RemoteJob, prices: Table) -> list[str]:
    """For people, by COLUMNS."""
    known = job.labels.get
    ran, sent = seconds(job), seconds_since(job.time("createTime"))
    return [
        job.name,
        f"{len(job.trials)} trials" if job.tuning else "job",
        job.state.lower(),
        f"{format_span(sent) if sent < 2 * DAY else f'{sent / DAY:.0f} days'} ago",
        "–" if ran is None else format_span(ran),
        known("config", "–"),
        known("git_commit", "–"),
        amount(job, spent(job, prices)),
    ]


def lines(job: RemoteJob, prices: Table, project: str, fetched: str = "") -> list[str]:
    """For people, one after the other: how it is, where it is, what can be done with it.

    Args:
        fetched: the local folder that holds what it has written; "" where there is none.
    """
    name, price, ran = shlex.quote(job.name), spent(job, prices), seconds(job)
    state = [f"{job.state.lower()} since {moment(_since(job))}"]
    state += (
        [f"it {'ran' if job.ended else 'has run'} for {format_span(ran)}"]
        if ran is not None
        else []
    )
    found = [f"{job.name}: {'study' if job.tuning else 'job'} {job.id}, {', '.join(state)}"]
    found += [f"error: {job.error}"] if job.error else []
    if job.state in WAITS and (waits := seconds_since(job.time("createTime"))) > watch.LONG:
        found.append(
            f"pending for {format_span(waits)}: no machine of this kind is free, or there is no quota for "
            "it, which the service does not tell; see "
            f"https://console.cloud.google.com/iam-admin/quotas?project={project}"
        )
    known = job.labels.get
    labels = (("config", "from configs/{}.yaml"), ("git_commit", "commit {}"), ("user", "by {}"))
    origin = [words.format(known(key)) for key, words in labels if known(key)]
    found += [f"sent: {', '.join([moment(job.message.get('createTime')), *origin])}"]
    found += [f"machines: {part}" for part in price.parts]
    found += [f"cost: {amount(job, price)}", *(f"  {note}" for note in notes(price))]
    found += [f"  {FAILED_RULE}"] if job.state == "FAILED" and price.most else []
    found += [f"page: {job.page}"]
    found += [f"folder: {job.folder}"] if job.folder else []
    verb = f"python scripts/jobs.py {{}} {name}".format
    found += [f"log: {verb('logs')}" + ("" if job.ended else " --follow")]
    found += [] if job.ended else [f"stop: {verb('cancel')}"]
    if job.folder:
        found += [f"fetched: {fetched}"] if fetched else []
        found += [f"bring {'the rest ' if fetched else ''}back: {verb('fetch')}"]
        place = shlex.quote(f"{fetched or job.folder}{'' if job.tuning else '/logs'}")
        found += [f"curves: tensorboard --logdir {place}"]
    if job.sent.tensorboard:
        found += [f"curves for all: {job.curves}"]
    return found


def spent(job: RemoteJob, prices: Table) -> cost.Estimate:
    """What a job has cost, by its own times; of a study, by those of its trials."""
    region = job.resource.split("/")[3]
    times = None
    if job.tuning:
        times = [(t.get("startTime"), t.get("endTime") or ended(job)) for t in job.trials]
    start = job.message.get("startTime")
    found = cost.spent(job.sent, region, start, ended(job), trials=times, table=prices)
    silent = [t.get("id", "?") for t in job.trials if not t.get("startTime") and _began(t)]
    if silent or (job.tuning and start and not job.trials):
        which = f"trial {', '.join(silent)}" if silent else "its trials"
        return replace(found, most=None, notes=(f"the service tells no times of {which}",))
    return found


def amount(job: RemoteJob, price: cost.Estimate) -> str:
    """ "$1.20", "$1.20 so far", "unknown" """
    if price.most is None:
        return "unknown"
    running = job.message.get("startTime") and not job.ended
    return dollars(price.most) + (" so far" if running else "")


def notes(price: cost.Estimate) -> list[str]:
    """What else there is to say of a cost, without what `amount` says."""
    return [note for note in price.notes if not note.startswith("so far")]


def seconds(job: RemoteJob) -> float | None:
    """That its machines have run, until now where they run still; None: they never did."""
    start, end = job.time("startTime"), _parse(ended(job))
    return ((end or datetime.now(timezone.utc)) - start).total_seconds() if start else None


def ended(job: RemoteJob) -> str | None:
    """When it ended."""
    return job.message.get("endTime") or (job.message.get("updateTime") if job.ended else None)


def moment(time: str | None) -> str:
    """ "2026-11-21 14:43", in the time of this machine."""
    found = _parse(time)
    return found.astimezone().strftime("%Y-%m-%d %H:%M") if found else "–"


def show_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Plain columns, so that a name can be copied whatever the width of the terminal is."""
    rows = [header, *([printable(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, widths, strict=True)
        print("  ".join(cell.ljust(width) for cell, width in cells).rstrip())


def printable(text: str) -> str:
    """Without what would steer a terminal: others may name their jobs as they like."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _began(trial) -> bool:
    return trial.get("state") not in (None, "REQUESTED")


def _since(job: RemoteJob) -> str | None:
    """When its state became what it is."""
    if job.ended:
        return ended(job)
    times = job.message
    return times.get("createTime" if job.state in WAITS else "startTime") or times.get("createTime")


def _parse(time: str | None) -> datetime | None:
    return parse_time(time) if time else None
