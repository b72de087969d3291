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
from collections.abc import Iterable

from launcher.cloud import facts, labels, watch
from launcher.cloud.clients import CloudError
from launcher.cloud.logs import Log
from launcher.cloud.remote_job import RemoteJob
from launcher.cloud.vertex import Vertex
from launcher.common.times import format_span
from launcher.cost import prices
from launcher.cost.parts import dollars
from launcher.jobfile.spec import SpecError
from launcher.project import gcp

MOST = 1000  # jobs that are looked through
NAMED = 5  # candidates in a message
LEFT = 130  # exit code of Ctrl-C, as a shell counts it
RESOURCE = re.compile(r"projects/[^/]+/locations/([^/]+)/(?:customJobs|\w+TuningJobs)/\d+")


class Jobs:
    """The jobs of one project and region."""

    def __init__(self, named: str = ""):
        """Reads project.yaml; asks nothing yet.

        Args:
            named: what a job is called by; a resource name tells the region, too.

        Raises:
            SpecError: project.yaml lacks something, the SDK is missing, or nobody is logged in.
        """
        self.place, faults = gcp.load()
        if faults := faults or self.place.missing("project", "region"):
            raise SpecError(*faults)
        found = RESOURCE.fullmatch(named)
        self.region = found[1] if found else self.place.region
        self.vertex = Vertex(self.place.project, self.region, self.place.service_account)

    @property
    def label(self) -> str:
        """What tells this project's jobs, as the service filters by it."""
        found = labels.join({"project": self.place.slug}, self.place.labels)
        return f'labels.project="{found["project"]}"'

    def list(self, every: bool = False, most: int = MOST) -> list[RemoteJob]:
        """This project's jobs and studies, or all that there are; the newest first."""
        return self.vertex.list("" if every else self.label, most)

    def find(self, text: str) -> RemoteJob:
        """The job that is called so, or the only one of this project that begins so.

        Raises:
            CloudError: there is none, or there are several: which ones.
        """
        if not text.strip():
            raise CloudError(
                "an empty name; python scripts/jobs.py list shows those that there are"
            )
        whole = RESOURCE.fullmatch(text)
        number, found = text.rpartition("/")[2] if whole else text, []
        if not whole and not re.search(r'["\\]', text):
            found = self.vertex.list(f'display_name="{text}"', NAMED + 1)
        ours = [] if found else self.list()
        found = found or [job for job in ours if job.id == number]
        found = found or [j for j in ours if j.name.startswith(text) or j.id.startswith(text)]
        if len(found) == 1:
            return self.vertex.get(found[0])
        if found:
            raise CloudError(f"{text}: which one? {_some(found)}")
        try:
            return self.vertex.find(text)  # of another project, or older
        except CloudError as error:
            if "no such job" not in str(error) or not ours:
                raise
            names = {job.name: job for job in reversed(ours)}
            near = [names[name] for name in difflib.get_close_matches(text, names, NAMED)]
            word = "near it" if near else "the newest"
            raise CloudError(f"{error}; {word}: {_some(near or ours)}") from None


def _some(jobs: list[RemoteJob]) -> str:
    names = [job.name for job in jobs]
    texts = [
        job.name if names.count(job.name) == 1 else f"{job.id} ({job.name})"  # one name, two jobs
        for job in jobs[:NAMED]
    ]
    rest = f" and {len(jobs) - NAMED} more" if len(jobs) > NAMED else ""
    return ", ".join(map(facts.printable, texts)) + rest


# The verbs of scripts/jobs.py. Each returns the exit code.


def list_(asked: Namespace) -> int:
    found = Jobs().list(asked.all, asked.most)
    table = prices.load()
    if asked.json:
        _json([facts.facts(job, table) for job in found])
    elif found:
        facts.show_table(facts.COLUMNS, [facts.row(job, table) for job in found])
        if len(found) == asked.most:
            print(f"the {asked.most} newest; for more: --most {10 * asked.most}")
    else:
        print("no jobs" if asked.all else "no jobs of this project; --all shows those of others")
    return 0


def show(asked: Namespace) -> int:
    jobs = Jobs(asked.id)
    job, table = jobs.find(asked.id), prices.load()
    if asked.json:
        found = facts.facts(job, table)
        if job.tuning:
            from launcher.cloud import study

            found["trials"] = study.facts(job)
        _json(found)
        return 0
    from launcher.cloud import fetch

    here = fetch.place(job)
    for line in facts.lines(job, table, jobs.place.project, str(here or "")):
        print(facts.printable(line))
    if job.trials:
        from launcher.cloud import study

        print()
        study.leaderboard(job)
    return 0


def logs(asked: Namespace) -> int:
    """With --follow, the exit code is the job's: 0, or 1 where it did not succeed."""
    jobs = Jobs(asked.id)
    job = jobs.find(asked.id)
    if asked.follow:
        return _follow(jobs, job)
    several, some = job.replicas > 1 or job.tuning, False
    for line in Log(jobs.vertex, job).new():
        some = True
        if not re.match(watch.NOISE, line.text):
            print(f"{line.replica} | {line.text}" if several else line.text)
    if not some:
        old = "; the service forgets what is older than 30 days" if job.ended else ""
        print(f"{job.name}: {job.state.lower()}, and no line in its log{old}", file=sys.stderr)
    return 0


def _follow(jobs: Jobs, job: RemoteJob) -> int:
    try:
        return watch.outcome(jobs.vertex, watch.follow(jobs.vertex, job, _say))
    except KeyboardInterrupt:
        _say(f"\n[launcher] {job.name} goes on without us")
        _say(f"come back: python scripts/jobs.py logs {shlex.quote(job.name)} --follow")
        return LEFT


def cancel(asked: Namespace) -> int:
    jobs = Jobs(asked.id)
    job = jobs.find(asked.id)
    if not job.ended and job.state != "CANCELLING":
        try:
            jobs.vertex.cancel(job)
        except CloudError:
            job = jobs.vertex.get(job)
            if not job.ended:  # else it ended while we were asking
                raise
        else:
            name = shlex.quote(job.name)
            print(f"{job.name} is being cancelled; see: python scripts/jobs.py show {name}")
            return 0
    if job.ended:
        since = facts.moment(facts.ended(job))
        print(f"{job.name} has ended already: {job.state.lower()} since {since}")
    else:
        print(f"{job.name} is being cancelled already")
    return 0


def cost(asked: Namespace) -> int:
    found = _once([Jobs(text).find(text) for text in asked.id] if asked.id else Jobs().list())
    table, known, unknown, failed = prices.load(), 0.0, 0, 0.0
    for job in found:
        price = facts.spent(job, table)
        known, unknown = known + (price.most or 0.0), unknown + (price.most is None)
        failed += (price.most or 0.0) if job.state == "FAILED" else 0.0
        ran = format_span(3600 * price.hours)
        text = f"{job.name}: {facts.amount(job, price)}, for {ran} of running"
        print(facts.printable(text))
        if asked.id:
            for line in [*map(str, price.parts), *_of_trials(job, table), *facts.notes(price)]:
                print(f"  {line}")
    if len(found) > 1:
        more = f", and {unknown} of unknown cost" if unknown else ""
        print(f"together: {dollars(known)}{more}")
    if failed:
        print(f"of this, {dollars(failed)} for jobs that failed; {facts.FAILED_RULE}")
    if len(found) == MOST and not asked.id:
        print(f"these are the {MOST} newest")
    print("list prices; see also the bill, by the label project" if found else "no jobs yet")
    return 0


def _of_trials(job: RemoteJob, table: prices.Table) -> Iterable[str]:
    for trial in job.trials:
        alone = RemoteJob({**job.message, "trials": [trial]})
        price = facts.spent(alone, table)
        ran = format_span(3600 * price.hours)
        yield f"trial {trial.get('id')}: {facts.amount(job, price)}, {ran}"


def fetch(asked: Namespace) -> int:
    from launcher.cloud import fetch as bringing

    jobs = Jobs(asked.id)
    return bringing.fetch(jobs.vertex, jobs.find(asked.id), _say)


OF_ONE = (show, logs, cancel, cost, fetch)


def _once(jobs: Iterable[RemoteJob]) -> list[RemoteJob]:
    return list({job.resource: job for job in jobs}.values())


def _json(value: object) -> None:
    print(json.dumps(value, indent=2))


def _say(text: str) -> None:
    print(text, flush=True)
