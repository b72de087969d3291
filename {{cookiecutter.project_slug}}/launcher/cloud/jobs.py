"""The verbs of scripts/jobs.py: list, show, end the jobs of this project, bring back their results.

Each returns the exit code.
"""

from __future__ import annotations

import json
import shlex
import sys
from argparse import Namespace

from launcher.cloud import clients, remote_job, watch
from launcher.cloud.storage import Store
from launcher.cloud.submission import find_label
from launcher.cloud.vertex import MOST, RESOURCE, Vertex
from launcher.cloud.watch import Log
from launcher.common.terminal import print_table, printable
from launcher.common.times import format_span, format_time
from launcher.cost.prices import dollars
from launcher.project.settings import read_settings


def connect(name: str = "") -> Vertex:
    """The jobs of this project, as `clients.connect` says.

    Args:
        name: a job's; a resource name decides the region, too.
    """
    match = RESOURCE.fullmatch(name)
    connection = clients.connect(match[1] if match else "")
    return Vertex(connection, find_label(read_settings()))


def list_(options: Namespace) -> int:
    vertex = connect()
    jobs = vertex.list("" if options.all else vertex.own, options.most)
    if options.json:
        print(json.dumps([job.message for job in jobs], indent=2))
    elif jobs:
        print_table(remote_job.COLUMNS, [remote_job.to_row(job) for job in jobs])
        if len(jobs) == options.most:
            print(f"the {options.most} newest; for more: --most {10 * options.most}")
    else:
        print("no jobs" if options.all else "no jobs of this project; --all shows those of others")
    return 0


def show(options: Namespace) -> int:
    jobs = connect(options.id)
    job = jobs.find(options.id)
    if options.json:
        print(json.dumps(job.message, indent=2))
        return 0
    for line in remote_job.to_lines(job, jobs.connection.project):
        print(printable(line))
    if job.trials:
        from launcher.cloud import study  # optuna takes a second

        print()
        study.print_leaderboard(job)
    return 0


def logs(options: Namespace) -> int:
    """With --follow, the exit code is the job's: 0, or 1 where it did not succeed."""
    jobs = connect(options.id)
    job = jobs.find(options.id)
    if options.follow:
        return watch.watch(jobs, job)
    if not Log(jobs.connection, job).print_new():
        old = "; the service forgets what is older than 30 days" if job.ended else ""
        print(f"{job.name}: {job.state.lower()}, and no line in its log{old}", file=sys.stderr)
    return 0


def cancel(options: Namespace) -> int:
    jobs = connect(options.id)
    job = jobs.find(options.id)
    if job.ended:
        print(f"{job.name} has ended already: {job.state.lower()} since {format_time(job.end)}")
    else:
        jobs.cancel(job)
        name = shlex.quote(job.name)
        print(f"{job.name} is being cancelled; see: python scripts/jobs.py show {name}")
    return 0


def cost(options: Namespace) -> int:
    vertex = connect()
    jobs = [connect(name).find(name) for name in options.id] or vertex.list(vertex.own)
    jobs = list({job.resource: job for job in jobs}.values())  # each once
    known, unknown = 0.0, 0
    for job in jobs:
        price = remote_job.compute_cost(job)
        known, unknown = known + (price.most or 0.0), unknown + (price.most is None)
        text, span = remote_job.format_cost(job, price), format_span(3600 * price.hours)
        print(printable(f"{job.name}: {text}, for {span} of running"))
        for line in (*price.parts, *price.notes) if options.id else ():
            print(f"  {line}")
    if len(jobs) > 1:
        more = f", and {unknown} of unknown cost" if unknown else ""
        print(f"together: {dollars(known)}{more}")
    if len(jobs) == MOST and not options.id:
        print(f"these are the {MOST} newest")
    print("list prices; see also the bill, by the label project" if jobs else "no jobs yet")
    return 0


def fetch(options: Namespace) -> int:
    from launcher.cloud import fetch

    jobs = connect(options.id)
    fetch.fetch(Store(jobs.connection), jobs.find(options.id))
    return 0
