"""From a command line to a job on Vertex AI: checked, priced, uploaded, sent, watched."""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from launcher.cloud import package, submission
from launcher.cloud.clients import CloudError
from launcher.cloud.submission import Submission
from launcher.common.document import SpecError
from launcher.cost import cost
from launcher.jobfile import spec
from launcher.project import git
from launcher.project.buckets import holds_region
from launcher.project.settings import ROOT

ATTEMPTS = 100  # names that are tried for a folder of its own


def cloud(options: argparse.Namespace, flags: Sequence[str]) -> int:
    """Sends the job file `options.job`; returns the exit code.

    Raises:
        SpecError: a fault in the file or the options, or a refusal of Google Cloud; no job runs.
    """
    flags, folder = submission.take_folder(flags)
    job = spec.load(options.job, flags, completed_later=True)
    this = submission.plan(job, flags, folder)
    estimate = _estimate(this, options.max_cost)
    if options.dry_run:
        _show(this, estimate)
        return 0
    _say("\n".join(estimate.lines()))
    if options.max_cost is None:
        _ask_above(estimate, this.settings.max_cost)
    return _send(this, options.wait)


def _estimate(this: Submission, most: float | None) -> cost.Estimate:
    """What the job costs; --max-cost is a promise, and what nobody can price does not keep it."""
    estimate = cost.estimate(this.job, this.settings.region)
    if most is not None:
        cost.refuse_above(estimate, most)
    return estimate


def _show(this: Submission, estimate: cost.Estimate) -> None:
    """The message as a file for gcloud; whatever else there is to say is a comment in it."""
    code = this.code
    waits = [part for part in (code.image, code.package, code.data) if part]
    lines = [
        *(line for text in estimate.lines() for line in text.splitlines()),
        "Nothing was built, uploaded or sent. gcloud sends the same, with this text as FILE:",
        this.command(),
        *(f"It needs {part}, which the same command without --dry-run makes." for part in waits),
        *_notes(this),
    ]
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8")  # what gcloud reads, whatever Windows prefers
    print("\n".join(f"# {line}" for line in lines))
    print(this.for_gcloud(), end="")


def _ask_above(estimate: cost.Estimate, most: float | None) -> None:
    """What project.yaml says is a limit that a person may go beyond, by saying so."""
    if most is None or cost.known_max(estimate, most):
        return
    price = "an unknown sum" if estimate.most is None else f"up to {cost.dollars(estimate.most)}"
    limit = f"gcp.max_cost in project.yaml is {cost.dollars(most)}"
    if not sys.stdin.isatty():
        instead = "give a --max-cost that it keeps, or set another limit there"
        if estimate.most is None:  # no limit holds what nobody can price
            instead = "; ".join([*estimate.notes[:1], "or empty gcp.max_cost to send it anyway"])
        raise SpecError(
            f"this job may cost {price}, and {limit}; there is no terminal to ask on: {instead}"
        )
    try:
        answer = input(f"This job may cost {price}, and {limit}. Send it? [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise SpecError("not sent")


def _send(this: Submission, wait: bool) -> int:
    from launcher.cloud import pending, storage, vertex

    where = this.settings.project, this.settings.region
    try:
        store = storage.Store(*where)
        jobs = vertex.Vertex(*where, this.service_account, store.who)
        note = pending.Note.of(this)
        if job := note.resolve(jobs, this.job.tuning):
            _say("the same command sent this job before, and it started; nothing is sent again")
            return _finish(jobs, job, wait)
        for line in _notes(this):
            _say(line)
        _check_locations(this, store)
        _provide(this, store)
        this = _reserve(this, store)
    except KeyboardInterrupt:
        raise SpecError("interrupted: nothing was sent") from None
    note.write(this)
    try:
        job = jobs.create(this.message)
    except vertex.UnknownFate:
        raise
    except CloudError:
        note.clear()
        raise
    except KeyboardInterrupt:
        raise SpecError(
            f"interrupted while the job was being sent: python scripts/jobs.py show {this.name} "
            "shows whether it runs"
        ) from None
    note.clear()
    return _finish(jobs, job, wait)


def _finish(jobs, job, wait: bool) -> int:
    _tell(job)
    if not wait:
        return 0
    from launcher.cloud import watch

    return watch.run(jobs, job)


def _provide(this: Submission, store) -> None:
    """Puts image, package and data where the message says they are, each once."""
    from launcher.cloud import registry, storage

    code = this.code
    if code.image:
        registry.Registry(this.settings, store, _say).provide(code.image, code.gpus)
    if code.package and not store.exists(code.package):
        with tempfile.TemporaryDirectory() as folder:
            built = package.build(Path(folder))
            store.upload(built, code.package, new=True)  # another's of the same sources is as good
        _say(f"package: {code.package}")
    if code.data:
        storage.sync(store, ROOT / "data", code.data, say=_say)


def _reserve(this: Submission, store) -> Submission:
    """Takes a folder that no other job has, by writing what is sent into it.

    Raises:
        CloudError: every name is taken, or the bucket cannot be written to.
    """
    first = this
    for attempt in range(2, ATTEMPTS):
        if this.shared:
            store.upload(this.record, f"{this.folder}/job.yaml")
            break
        free = store.is_free(this.folder)
        if free and store.upload(this.record, f"{this.folder}/job.yaml", new=True):
            break
        this = first.again(attempt)
    else:
        raise CloudError(f"{first.folder}: taken, and so are all names like it")
    if this.tree and this.tree.changed:
        store.upload(git.diff(), f"{this.folder}/git.diff")
    return this


def _check_locations(this: Submission, store) -> None:
    """Warn of buckets that are not in the job's region, before anything is copied there.

    Raises:
        CloudError: the job could not write to its TensorBoard.
    """
    region, own = this.settings.region, this.folder.split("/")[2]
    for bucket in dict.fromkeys(re.findall(r"gs://([a-z0-9._-]+)", json.dumps(this.spec))):
        location = store.find_location(bucket)
        if not location or holds_region(region, *location):
            continue
        name, parts = location
        where = f"gs://{bucket} is in {' and '.join(parts).lower() or name.lower()}"
        if bucket == own and this.tensorboard:
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


def _notes(this: Submission) -> list[str]:
    output, notes = this.job.output, _dirty(this)
    if output and not this.shared and output.removesuffix("/").count("/") < 3:
        notes += [
            f"Its output is a whole bucket: it gets a folder of its own there, {this.folder}."
        ]
    return notes


def _dirty(this: Submission) -> list[str]:
    if this.tree is None:
        return ["No git commit here: nobody will know from which code this job came."]
    if not this.tree.changed:
        return []
    few = ", ".join(this.tree.changed[:3]) + (", …" if len(this.tree.changed) > 3 else "")
    return [f"Changes that are not committed ({few}); the job's folder gets them as git.diff."]


def _tell(job) -> None:
    _say(f"sent: {job.name}, number {job.id}")
    _say(f"page: {job.page}")
    _say(f"folder: {job.folder}")
    _say(f"watch: python scripts/jobs.py logs {job.name} --follow")
    _say(f"stop: python scripts/jobs.py cancel {job.name}")
    _say(f"bring back: python scripts/jobs.py fetch {job.name}")
    _say(f"curves: {job.curves}")


def _say(text: str) -> None:
    print(text, flush=True)
