"""The verbs of scripts/jobs.py: list, show, end the jobs of this project, bring back their results.

Each returns the exit code.
"""

import json
import re
import shlex
import sys
from argparse import Namespace

from launcher.cloud import remote_job, watch
from launcher.cloud.errors import CloudError
from launcher.cloud.remote_job import COLLECTIONS, RemoteJob, refresh
from launcher.cloud.storage import Store
from launcher.cloud.vertex import Vertex, connect
from launcher.cloud.watch import open_job_log
from launcher.common.terminal import print_table, printable
from launcher.common.times import format_span, format_time
from launcher.cost.prices import dollars

MOST = 1000  # jobs that are looked through
NAMED = 5  # jobs in a message
RESOURCE = re.compile(r"projects/[^/]+/locations/([^/]+)/(?:customJobs|\w+TuningJobs)/(\d+)")


def list_jobs(vertex: Vertex, filter: str = "", most: int = MOST) -> list[RemoteJob]:
    """Jobs and studies, the newest first; see `Vertex.list`."""
    messages = [m for kind in COLLECTIONS for m in vertex.list(kind, "list the jobs", filter, most)]
    messages.sort(key=lambda message: message.get("createTime", ""), reverse=True)
    return [RemoteJob(message) for message in messages[:most]]


def find_job(text: str) -> tuple[Vertex, RemoteJob]:
    """The job of this name or number, or the only one of this project that begins so.

    Raises:
        CloudError: there is none, or there are several: which ones.
    """
    match = RESOURCE.fullmatch(text)  # it decides the region, too
    vertex = connect(match[1] if match else "")
    number, jobs = match[2] if match else text, []
    for collection in COLLECTIONS if number.isdecimal() else ():
        try:
            name = f"{vertex.parent}/{collection}/{number}"
            return vertex, RemoteJob(vertex.get(name, f"look for {number}"))
        except CloudError as error:
            if error.status != 404:
                raise
    if text.strip() and not re.search(r'["\\]', text):  # a name, which may be anybody's
        jobs = list_jobs(vertex, f'display_name="{text}"', NAMED + 1)
        ours = [] if jobs else list_jobs(vertex, vertex.own)
        jobs += [job for job in ours if job.name.startswith(text) or job.id.startswith(text)]
    if len(jobs) == 1:
        return vertex, refresh(vertex, jobs[0])
    what = f"no such job in {vertex.connection.project}, {vertex.connection.region}"
    if jobs:
        names = [printable(f"{job.name} ({job.id})") for job in jobs[:NAMED]]
        more = f" and {len(jobs) - NAMED} more" if len(jobs) > NAMED else ""
        what = f"which one? {', '.join(names)}{more}"
    raise CloudError(f"{text}: {what}; python scripts/jobs.py list shows all")


def cancel_job(vertex: Vertex, job: RemoteJob) -> None:
    """Ask the service to stop a job; it ends some moments later."""
    vertex.change("POST", f"{job.resource}:cancel", f"cancel {job.name}")


def list_(options: Namespace) -> int:
    vertex = connect()
    jobs = list_jobs(vertex, "" if options.all else vertex.own, options.most)
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
    vertex, job = find_job(options.id)
    if options.json:
        print(json.dumps(job.message, indent=2))
        return 0
    for line in remote_job.to_lines(job, vertex.connection.project):
        print(printable(line))
    if job.trials:
        from launcher.cloud import study  # optuna takes a second

        print()
        study.print_leaderboard(job)
    return 0


def logs(options: Namespace) -> int:
    """With --follow, the exit code is the job's: 0, or 1 where it did not succeed."""
    vertex, job = find_job(options.id)
    if options.follow:
        return watch.watch(vertex, job)
    if not open_job_log(vertex.connection, job).print_new():
        old = "; the service forgets what is older than 30 days" if job.ended else ""
        print(f"{job.name}: {job.state.lower()}, and no line in its log{old}", file=sys.stderr)
    return 0


def cancel(options: Namespace) -> int:
    vertex, job = find_job(options.id)
    if job.ended:
        print(f"{job.name} has ended already: {job.state.lower()} since {format_time(job.end)}")
    else:
        cancel_job(vertex, job)
        name = shlex.quote(job.name)
        print(f"{job.name} is being cancelled; see: python scripts/jobs.py show {name}")
    return 0


def cost(options: Namespace) -> int:
    jobs = [find_job(name)[1] for name in options.id]
    if not options.id:
        vertex = connect()
        jobs = list_jobs(vertex, vertex.own)
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

    vertex, job = find_job(options.id)
    fetch.fetch(Store(vertex.connection), job)
    return 0
