"""From a command line to a job on Vertex AI: load, complete, price, provide code, reserve, send, watch.

A job is sent once, whatever happens to the command that sends it. A note of it lies in runs/ from just
before it is sent until its fate is known; the same command, given again, reads the note first.
"""

import argparse
import contextlib
import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from launcher.cloud import submission, watch
from launcher.cloud.clients import Connection
from launcher.cloud.code import provide_code
from launcher.cloud.errors import CloudError
from launcher.cloud.remote_job import COLLECTIONS, RemoteJob
from launcher.cloud.storage import Store
from launcher.cloud.submission import ID, Submission
from launcher.cloud.vertex import Step, UnknownFate, Vertex
from launcher.common.document import SpecError
from launcher.common.terminal import confirm
from launcher.cost import cost
from launcher.jobfile import spec
from launcher.jobfile.completion import to_yaml
from launcher.local.run_dirs import RUNS
from launcher.project import git

ATTEMPTS = 100  # names that are tried for a folder of its own
FOLDER = RUNS / ".pending"
LATEST = 600.0  # seconds after which a request without effect will never have one


Then = Callable[[RemoteJob], int]  # what follows a job's success; returns the exit code


def cloud(options: argparse.Namespace, flags: Sequence[str], then: Then | None = None) -> int:
    """Send the job file `options.job`; return the exit code.

    Args:
        then: called after its success, which is waited for.

    Raises:
        SpecError: a fault in the file or the options, or a refusal of Google Cloud; no job runs.
    """
    this, estimate = prepare(options.job, flags, options.max_cost)
    if then and this.job.tuning:
        instead = "fetch it, then deploy its best trial: python scripts/deploy.py runs/STUDY/TRIAL"
        what = "a study has many runs, and --then is for one"
        raise SpecError(this.job.file.fault("studySpec", what, instead))
    if options.dry_run:
        _print_message(this, estimate)
        return 0
    vertex, job = send(this, estimate, options.max_cost)
    code = watch.watch(vertex, job) if options.wait or then else 0
    return then(job) if then and not code else code


def prepare(
    path: Path, flags: Sequence[str], max_cost: float | None
) -> tuple[Submission, cost.Estimate]:
    """Complete a job file, and price it; nothing is sent.

    Raises:
        SpecError: a fault in the file or the flags, or it may cost more than `max_cost` USD.
    """
    flags, folder = submission.take_folder(flags)
    this = submission.plan(spec.load(path, flags), flags, folder)
    estimate = cost.estimate(this.job, this.settings.region)
    # A promise, which an unknown price does not keep.
    if max_cost is not None and (excess := cost.find_excess(estimate, max_cost)):
        raise SpecError(excess)
    return this, estimate


def _print_message(this: Submission, estimate: cost.Estimate) -> None:
    """The message as a file for gcloud; whatever else there is to say is a comment in it."""
    code = this.code
    missing = [part for part in (code.image, code.package, code.data) if part]
    lines = [
        *(line for text in estimate.lines() for line in text.splitlines()),
        "Nothing was built, uploaded or sent. gcloud sends the same, with this text as FILE:",
        this.command,
        *(f"It needs {part}, which the same command without --dry-run makes." for part in missing),
        *this.notes,
    ]
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8")  # what gcloud reads, whatever Windows prefers
    print("\n".join(f"# {line}" for line in lines))
    print(to_yaml(this.job.message), end="")


def send(
    this: Submission, estimate: cost.Estimate, max_cost: float | None
) -> tuple[Vertex, RemoteJob]:
    """Send a job that `prepare` has made; without `max_cost`, ask above project.yaml's limit.

    Raises:
        SpecError: a person said no, or a refusal of Google Cloud; no job runs.
    """
    print("\n".join(estimate.lines()), flush=True)
    limit = this.settings.max_cost
    if max_cost is None and limit is not None and (excess := cost.find_excess(estimate, limit)):
        question = f"gcp.max_cost in project.yaml: {excess}. Send it?"
        confirm(question, "not sent", "set another limit there, or none")
    account = this.job.service_account
    try:
        connection = Connection(this.settings.project, this.settings.region, account)
        store, vertex = Store(connection), Vertex(connection)
        job = _find_sent(vertex, this)
        if job:
            print("the same command sent this job before, and it started; nothing is sent again")
        else:
            for note in this.notes:
                print(note, flush=True)
            _check_locations(this, store)
            provide_code(this.code, this.settings, store)
            this = _reserve_folder(this, store)
    except KeyboardInterrupt:
        raise SpecError("interrupted: nothing was sent") from None
    job = job or _send_once(vertex, this)
    print(f"sent: {job.name}, number {job.id}")
    print(f"page: {job.page}")
    print(f"folder: {job.folder}")
    print(f"watch: python scripts/jobs.py logs {job.name} --follow")
    print(f"stop: python scripts/jobs.py cancel {job.name}")
    print(f"bring back: python scripts/jobs.py fetch {job.name}")
    print(f"curves: {job.curves}", flush=True)
    return vertex, job


def _reserve_folder(this: Submission, store: Store) -> Submission:
    """Take a folder that no other job has, by writing what is sent into it.

    Raises:
        CloudError: every name is taken, or the bucket cannot be written to.
    """
    first = this
    for attempt in range(2, ATTEMPTS):
        free = this.shared or store.is_free(this.folder)
        if free and store.upload(this.record, f"{this.folder}/job.yaml", new=not this.shared):
            break
        this = first.rename(attempt)
    else:
        raise CloudError(f"{first.folder}: taken, and so are all names like it")
    if this.tree and this.tree.changed:
        store.upload(git.diff(), f"{this.folder}/git.diff")
    return this


def _check_locations(this: Submission, store: Store) -> None:
    """Warn of buckets that are not in the job's region, before anything is copied there.

    Raises:
        CloudError: the job could not write to its TensorBoard.
    """
    region, own = this.settings.region, this.folder.split("/")[2]
    buckets = re.findall(r"gs://([a-z0-9._-]+)", json.dumps(this.job.spec))
    for bucket, where in store.list_far_buckets(buckets, region):
        if bucket == own and this.job.tensorboard:
            raise CloudError(
                f"{where}, and the job and its TensorBoard are in {region}, which must be one "
                f"region: take a bucket in {region}, or leave the TensorBoard out"
            )
        print(
            f"warning: {where}, and the job runs in {region}: what it reads and writes there is "
            f"slow, and billed as traffic between regions, which no estimate and no --max-cost "
            f"includes; better take a bucket in {region}",
            file=sys.stderr,
            flush=True,
        )


def _send_once(vertex: Vertex, this: Submission) -> RemoteJob:
    """Start a job that `_find_sent` has not found; never a second one, whatever happens.

    Raises:
        UnknownFate: nobody can say yet whether the job starts; the note stays.
        SpecError: the job was refused, or another command is sending it. Or Ctrl-C came meanwhile,
            and the note stays.
    """
    note, show = write_note(this), f"python scripts/jobs.py show {this.name}"
    step = Step(
        "start the job",
        f"{vertex.parent}/{COLLECTIONS[this.job.tuning]}",
        this.message,
        look="whether the job started",
        fate=f"it is unknown whether {this.name} starts{{}}; {show} shows whether it did; the "
        "same command looks, too, and sends nothing while this is unknown",
    )
    try:
        answer = vertex.create(step, lambda: _find(vertex, this, this.labels[ID]))
    except KeyboardInterrupt:
        raise SpecError(
            f"interrupted while the job was being sent: {show} shows whether it runs"
        ) from None
    except CloudError as error:
        if not isinstance(error, UnknownFate):
            note.unlink(missing_ok=True)
        raise
    note.unlink(missing_ok=True)
    return RemoteJob(answer)


def _find_sent(vertex: Vertex, this: Submission) -> RemoteJob | None:
    """The job that an earlier command sent, if it is there; None where it may be sent now.

    Raises:
        CloudError: nobody knows yet whether it starts, so it must not be sent again.
    """
    note = find_note(this)
    try:
        facts = json.loads(note.read_text(encoding="utf-8"))
        name, label, until = facts["name"], facts["label"], float(facts["time"]) + LATEST
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, LookupError, TypeError):
        raise CloudError(
            f"{note}: cannot be read; python scripts/jobs.py list shows whether the job runs; "
            "then delete this file"
        ) from None
    job = _find(vertex, this, label)
    if not job and time.time() < until:
        clock = time.strftime("%H:%M:%S", time.localtime(until))
        raise CloudError(
            f"{name} was sent before, its answer was lost, and it may still start: nothing is sent "
            f"again before {clock}; python scripts/jobs.py show {name} shows whether it started"
        )
    note.unlink(missing_ok=True)
    return RemoteJob(job) if job else None


def _find(vertex: Vertex, this: Submission, label: str) -> dict | None:
    """The job with this label `submission`; None where there is none yet."""
    collection, filter = COLLECTIONS[this.job.tuning], f'labels.{ID}="{label}"'
    return next(iter(vertex.list(collection, "look whether the job started", filter, 1)), None)


def find_note(this: Submission) -> Path:
    """The note of a job, whatever the job's name; the file may be missing."""
    return FOLDER / f"{this.fingerprint}.json"


def write_note(this: Submission) -> Path:
    """Note that a job is about to be sent; return the note.

    Raises:
        CloudError: another command is sending it, or the note cannot be written: then nothing may
            be sent.
    """
    note = find_note(this)
    facts = {"name": this.name, "label": this.labels[ID], "time": time.time()}
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        with open(note, "x", encoding="utf-8") as file:
            file.write(json.dumps(facts))
    except OSError as error:
        if isinstance(error, FileExistsError) and note.exists():
            raise CloudError(
                "another command is sending the same job just now; give this one again when that "
                "one has ended"
            ) from None
        with contextlib.suppress(OSError):
            note.unlink()  # an empty one, where the disk is full
        raise CloudError(
            f"{note}: cannot be written ({error.strerror or error}), and nothing is sent without "
            "it: it keeps a job from starting twice"
        ) from None
    return note
