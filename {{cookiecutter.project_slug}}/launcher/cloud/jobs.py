"""The jobs of this project on Vertex AI: found by any of their names, listed, shown, ended.

jobs = Jobs()                        where project.yaml says
job = jobs.find("smoke-20260301")    a name, a number, a resource name, or how one begins
"""

from __future__ import annotations

import difflib
import json
import re
import shlex
import sys
from argparse import Namespace

from launcher.cloud import remote_job, watch
from launcher.cloud.clients import Connection
from launcher.cloud.errors import CloudError
from launcher.cloud.remote_job import RemoteJob
from launcher.cloud.storage import Store
from launcher.cloud.submission import join_labels
from launcher.cloud.vertex import Vertex
from launcher.cloud.watch import Log
from launcher.common.document import SpecError
from launcher.common.times import format_span, format_time
from launcher.cost import prices
from launcher.cost.prices import dollars
from launcher.project.settings import read_settings

MOST = 1000  # jobs that are looked through
NAMED = 5  # candidates in a message
RESOURCE = re.compile(r"projects/[^/]+/locations/([^/]+)/(?:customJobs|\w+TuningJobs)/\d+")


class Jobs:
    """The jobs of one project and region."""

    def __init__(self, name: str = ""):
        """Reads project.yaml; sends no request yet.

        Args:
            name: a job's; a resource name decides the region, too.

        Raises:
            SpecError: project.yaml lacks something, Google's libraries are missing, or nobody is logged in.
        """
        settings = read_settings()
        if faults := settings.missing("project", "region"):
            raise SpecError(*faults)
        match = RESOURCE.fullmatch(name)
        region = match[1] if match else settings.region
        self.vertex = Vertex(Connection(settings.project, region, settings.service_account))
        self.label = join_labels({"project": settings.slug}, settings.labels)["project"]

    def list(self, every: bool = False, most: int = MOST) -> list[RemoteJob]:
        """This project's jobs and studies, or those of all projects; the newest first."""
        return self.vertex.list("" if every else f'labels.project="{self.label}"', most)

    def find(self, text: str) -> RemoteJob:
        """The job of this name or number, or the only one of this project that begins so.

        Raises:
            CloudError: there is none, or there are several: which ones.
        """
        hint = "python scripts/jobs.py list shows those that there are"
        if not text.strip():
            raise CloudError(f"an empty name; {hint}")
        whole = RESOURCE.fullmatch(text)
        number, jobs = text.rpartition("/")[2] if whole else text, []
        if not whole and not re.search(r'["\\]', text):
            jobs = self.vertex.list(f'display_name="{text}"', NAMED + 1)
        ours = [] if jobs else self.list()
        jobs = jobs or [job for job in ours if job.id == number]
        jobs = jobs or [j for j in ours if j.name.startswith(text) or j.id.startswith(text)]
        if len(jobs) == 1:
            return self.vertex.get(jobs[0])
        if jobs:
            raise CloudError(f"{text}: which one? {_list_names(jobs)}")
        if number.isdecimal() and (job := self.vertex.find(number)):  # another project's, or old
            return job
        names = {job.name: job for job in reversed(ours)}
        near = [names[name] for name in difflib.get_close_matches(text, names, NAMED)]
        if ours:
            hint += f"; {'near it' if near else 'the newest'}: {_list_names(near or ours)}"
        where = f"{self.vertex.connection.project}, {self.vertex.connection.region}"
        raise CloudError(f"{text}: no such job in {where}; {hint}")


def _list_names(jobs: list[RemoteJob]) -> str:
    names = [job.name for job in jobs]
    texts = [
        job.name if names.count(job.name) == 1 else f"{job.id} ({job.name})"  # one name, two jobs
        for job in jobs[:NAMED]
    ]
    rest = f" and {len(jobs) - NAMED} more" if len(jobs) > NAMED else ""
    return ", ".join(map(remote_job.printable, texts)) + rest


# The verbs of scripts/jobs.py. Each returns the exit code.


def list_(options: Namespace) -> int:
    jobs, table = Jobs().list(options.all, options.most), prices.load()
    if options.json:
        print(json.dumps([remote_job.to_json(job, table) for job in jobs], indent=2))
    elif jobs:
        remote_job.print_table(remote_job.COLUMNS, [remote_job.to_row(job, table) for job in jobs])
        if len(jobs) == options.most:
            print(f"the {options.most} newest; for more: --most {10 * options.most}")
    else:
        print("no jobs" if options.all else "no jobs of this project; --all shows those of others")
    return 0


def show(options: Namespace) -> int:
    from launcher.cloud import fetch

    jobs = Jobs(options.id)
    job, table = jobs.find(options.id), prices.load()
    if job.tuning:  # optuna takes a second
        from launcher.cloud import study
    if options.json:
        trials = {"trials": study.to_json(job)} if job.tuning else {}
        print(json.dumps(remote_job.to_json(job, table) | trials, indent=2))
        return 0
    fetched = str(fetch.find_folder(job) or "")
    for line in remote_job.to_lines(job, table, jobs.vertex.connection.project, fetched):
        print(remote_job.printable(line))
    if job.trials:
        print()
        study.print_leaderboard(job)
    return 0


def logs(options: Namespace) -> int:
    """With --follow, the exit code is the job's: 0, or 1 where it did not succeed."""
    jobs = Jobs(options.id)
    job = jobs.find(options.id)
    if options.follow:
        return watch.watch(jobs.vertex, job)
    if not Log(jobs.vertex.connection, job).print_new():
        old = "; the service forgets what is older than 30 days" if job.ended else ""
        print(f"{job.name}: {job.state.lower()}, and no line in its log{old}", file=sys.stderr)
    return 0


def cancel(options: Namespace) -> int:
    jobs = Jobs(options.id)
    job = jobs.find(options.id)
    if not job.ended and job.state != "CANCELLING":
        try:
            jobs.vertex.cancel(job)
        except CloudError:
            job = jobs.vertex.get(job)
            if not job.ended:  # else it ended in the meantime
                raise
        else:
            name = shlex.quote(job.name)
            print(f"{job.name} is being cancelled; see: python scripts/jobs.py show {name}")
            return 0
    if job.ended:
        since = format_time(job.end)
        print(f"{job.name} has ended already: {job.state.lower()} since {since}")
    else:
        print(f"{job.name} is being cancelled already")
    return 0


def cost(options: Namespace) -> int:
    jobs = [Jobs(name).find(name) for name in options.id] if options.id else Jobs().list()
    jobs = list({job.resource: job for job in jobs}.values())  # each once
    table, known, unknown, failed = prices.load(), 0.0, 0, 0.0
    for job in jobs:
        price = remote_job.compute_cost(job, table)
        known, unknown = known + (price.most or 0.0), unknown + (price.most is None)
        failed += (price.most or 0.0) if job.state == "FAILED" else 0.0
        span = format_span(3600 * price.hours)
        print(
            remote_job.printable(
                f"{job.name}: {remote_job.format_cost(job, price)}, for {span} of running"
            )
        )
        if options.id:
            notes = remote_job.other_notes(price)
            for line in [*map(str, price.parts), *remote_job.list_trial_costs(job, table), *notes]:
                print(f"  {line}")
    if len(jobs) > 1:
        more = f", and {unknown} of unknown cost" if unknown else ""
        print(f"together: {dollars(known)}{more}")
    if failed:
        print(f"of this, {dollars(failed)} for jobs that failed; {remote_job.FAILED_RULE}")
    if len(jobs) == MOST and not options.id:
        print(f"these are the {MOST} newest")
    print("list prices; see also the bill, by the label project" if jobs else "no jobs yet")
    return 0


def fetch(options: Namespace) -> int:
    from launcher.cloud import fetch

    jobs = Jobs(options.id)
    return fetch.fetch(Store(jobs.vertex.connection), jobs.find(options.id))
