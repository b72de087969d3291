"""A cloud job for people, as a row of a table or as lines, and for programs, as JSON."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from launcher.cloud import watch
from launcher.cloud.remote_job import WAITS, RemoteJob
from launcher.cloud.vertex import Vertex
from launcher.common.times import format_span, format_time
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


def to_json(job: RemoteJob, prices: Table) -> dict[str, Any]:
    """For a program. Times are RFC 3339; what is missing or unknown is None or ""."""
    price = compute_cost(job, prices)
    return {
        "name": job.name,
        "id": job.id,
        "resource": job.resource,
        "kind": "study" if job.tuning else "job",
        "state": job.state,
        "since": job.since,
        "error": job.error,
        "created": job.created,
        "started": job.started,
        "ended": job.end,
        "seconds": job.seconds,
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


def to_row(job: RemoteJob, prices: Table) -> list[str]:
    """For people, by COLUMNS."""
    age = format_span(job.age) if job.age < 2 * DAY else f"{job.age / DAY:.0f} days"
    return [
        job.name,
        f"{len(job.trials)} trials" if job.tuning else "job",
        job.state.lower(),
        f"{age} ago",
        "–" if job.seconds is None else format_span(job.seconds),
        job.labels.get("config", "–"),
        job.labels.get("git_commit", "–"),
        format_cost(job, compute_cost(job, prices)),
    ]


def to_lines(job: RemoteJob, prices: Table, jobs: Vertex, fetched: str = "") -> list[str]:
    """For people: its state, where it writes, what can be done with it.

    Args:
        fetched: the local folder that holds what it has written; "" where there is none.
    """
    price, seconds, label = compute_cost(job, prices), job.seconds, job.labels.get
    state = f"{job.state.lower()} since {format_time(job.since)}"
    if seconds is not None:
        state += f", it {'ran' if job.ended else 'has run'} for {format_span(seconds)}"
    lines = [f"{job.name}: {'study' if job.tuning else 'job'} {job.id}, {state}"]
    lines += [f"error: {job.error}"] if job.error else []
    if job.state in WAITS and job.age > watch.LONG:
        lines.append(f"pending for {watch.explain_waiting(jobs, job)}")
    words = (("config", "from configs/{}.yaml"), ("git_commit", "commit {}"), ("user", "by {}"))
    origin = [text.format(label(key)) for key, text in words if label(key)]
    lines.append(f"sent: {', '.join([format_time(job.created), *origin])}")
    lines += [f"machines: {part}" for part in price.parts]
    lines += [f"cost: {format_cost(job, price)}", *(f"  {note}" for note in other_notes(price))]
    lines += [f"  {FAILED_RULE}"] if job.state == "FAILED" and price.most else []
    lines.append(f"page: {job.page}")
    verb = f"python scripts/jobs.py {{}} {shlex.quote(job.name)}".format
    lines += [f"folder: {job.folder}"] if job.folder else []
    lines.append(f"log: {verb('logs')}" + ("" if job.ended else " --follow"))
    lines += [] if job.ended else [f"stop: {verb('cancel')}"]
    if job.folder:
        logs = f"{fetched or job.folder}{'' if job.tuning else '/logs'}"
        lines += [f"fetched: {fetched}"] if fetched else []
        lines.append(f"bring {'the rest ' if fetched else ''}back: {verb('fetch')}")
        lines.append(f"curves: tensorboard --logdir {shlex.quote(logs)}")
    lines += [f"curves for all: {job.curves}"] if job.sent.tensorboard else []
    return lines


def compute_cost(job: RemoteJob, prices: Table, trials: Sequence[Mapping] = ()) -> cost.Estimate:
    """What a job has cost, by its own times; of a study, by those of its trials, or of some."""
    region, times = job.resource.split("/")[3], [(job.started, job.end)]
    trials = trials or job.trials
    if job.tuning:
        times = [(t.get("startTime"), t.get("endTime") or job.end) for t in trials]
    price = cost.spent(job.sent, region, times, table=prices)
    begun = [trial for trial in trials if trial.get("state") not in (None, "REQUESTED")]
    silent = [trial.get("id", "?") for trial in begun if not trial.get("startTime")]
    if silent or (job.tuning and job.started and not trials):
        which = f"trial {', '.join(silent)}" if silent else "its trials"
        return replace(price, most=None, notes=(f"the service gives no times of {which}",))
    return price


def list_trial_costs(job: RemoteJob, prices: Table) -> Iterator[str]:
    """A line for each trial of a study."""
    for trial in job.trials:
        price = compute_cost(job, prices, [trial])
        span = format_span(3600 * price.hours)
        yield f"trial {trial.get('id')}: {format_cost(job, price)}, {span}"


def format_cost(job: RemoteJob, price: cost.Estimate) -> str:
    """ "$1.20", "$1.20 so far", "unknown" """
    if price.most is None:
        return "unknown"
    return dollars(price.most) + (" so far" if job.started and not job.ended else "")


def other_notes(price: cost.Estimate) -> list[str]:
    """The notes on a cost, without what `format_cost` says."""
    return [note for note in price.notes if not note.startswith("so far")]


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Plain columns, so that a name can be copied whatever the width of the terminal is."""
    rows = [header, *([printable(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, widths, strict=True)
        print("  ".join(cell.ljust(width) for cell, width in cells).rstrip())


def printable(text: str) -> str:
    """Without what would steer a terminal: others may name their jobs as they like."""
    return "".join(c if c.isprintable() else "?" for c in text)
