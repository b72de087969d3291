"""A job file made complete: with the project's image or package, folder, account and labels.

Nothing here asks a network or imports Google's libraries: `--dry-run` shows what is sent.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import re
import shlex
import unicodedata
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from launcher.cloud.code import Code, find_code
from launcher.common.document import Fault, SpecError
from launcher.jobfile import completion, program, spec
from launcher.jobfile.completion import to_yaml
from launcher.jobfile.job import Job
from launcher.project import buckets, git, sources
from launcher.project.settings import Settings, read_settings

COMMIT = "git_commit"  # a label
ID = "submission"  # the label by which a job is found whose answer was lost
LONGEST = 63  # characters of a label


@dataclass(frozen=True)
class Submission:
    """Everything about one job that is known before it is sent."""

    job: Job  # complete
    settings: Settings  # `gcp` of project.yaml
    name: str  # in lists, and of the folder
    labels: Mapping[str, str]
    shared: bool  # its folder is an earlier job's, named by the user: this one continues there
    code: Code
    tree: git.Tree | None
    fingerprint: str  # the same for all submissions of the same job, and for no others
    notes: Sequence[str]  # what the user may not expect, although nothing is wrong with it

    @property
    def message(self) -> dict:
        """A CustomJob or a HyperparameterTuningJob, whole."""
        if self.job.tuning:
            return self.job.message
        return {"displayName": self.name, "labels": self.labels, "jobSpec": self.job.message}

    @property
    def folder(self) -> str:
        """gs://…"""
        return self.job.output

    @property
    def command(self) -> str:
        """The gcloud command that sends the message, from a file as `to_yaml` writes it."""
        group = "hp-tuning-jobs" if self.job.tuning else "custom-jobs"
        pairs = ",".join(f"{key}={value}" for key, value in self.labels.items())
        where = [f"--project={self.settings.project}", f"--region={self.settings.region}"]
        words = [*where, f"--display-name={self.name}", f"--labels={pairs}", "--config=FILE"]
        return shlex.join(["gcloud", "ai", group, "create", *words])

    @property
    def record(self) -> bytes:
        """What is kept beside the run: the message, and the command that sends it with its labels.

        No two submissions have the same one, so that each knows its own folder again.
        """
        return f"# {self.command}\n{to_yaml(self.job.message)}".encode()

    def rename(self, attempt: int) -> Submission:
        """The same job under the next name, since the folder of this one is taken."""
        name, folder = f"{self.name}-{attempt}", f"{self.folder.rstrip('/')}-{attempt}"
        spec = completion.set_output(self.job.spec, folder)
        return replace(self, name=name, job=_assemble(self.job, spec, name, self.labels))


def plan(job: Job, flags: Sequence[str] = (), folder: str | None = None) -> Submission:
    """Complete a job.

    Args:
        flags: come after the args of every pool, so that they win.
        folder: an earlier job's, in which this one continues.

    Raises:
        SpecError: project.yaml lacks something, or the job and it do not fit.
    """
    settings = read_settings()
    if faults := settings.missing("project", "region", "bucket"):
        raise SpecError(*faults)
    code, tree = find_code(job, settings, flags), git.read()
    name = _choose_name(job)
    output = folder or (job.output or f"gs://{settings.bucket}").removesuffix("/")
    if output.count("/") < 3:  # of a whole bucket, a folder of the job's own
        output = f"{output}/runs/{name}"
    env = {completion.DATA: code.data, completion.RAW: sources.hash_manifest()}
    env = {key: value for key, value in env.items() if value}
    if tree:
        env |= {completion.COMMIT: tree.commit, completion.DIRTY: json.dumps(bool(tree.changed))}
    message = completion.complete(
        job, flags, settings, output=output, image=code.image, package=code.package, env=env
    )
    faults = _find_strays(job, flags, settings.bucket, bool(code.image))
    faults += spec.check_project(job, output, settings)
    if code.package:
        problems = program.find_image_problems("gcp.executor_image", settings.executor_image)
        faults += [Fault(settings.path, 0, *problem) for problem in problems]
    if faults:
        raise SpecError(*faults)
    own = {"project": settings.slug, "user": find_user(), "config": job.file.path.stem}
    commit = {COMMIT: tree.label} if tree else {}
    # To commit, or to save a notebook, makes no other job.
    lasting = join_labels(own, settings.labels, job.labels)
    given = [settings.project, settings.region, settings.service_account, settings.tensorboard]
    parts = [*given, settings.executor_image, lasting, job.message, flags, folder, astuple(code)]
    fingerprint = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
    every = join_labels(own, commit, settings.labels, job.labels, {ID: uuid.uuid4().hex[:16]})
    return Submission(
        job=_assemble(job, message, name, every),
        settings=settings,
        name=name,
        labels=every,
        shared=folder is not None,
        code=code,
        tree=tree,
        fingerprint=fingerprint,
        notes=list(_list_notes(tree, job.output if folder is None else "", output)),
    )


def take_folder(flags: Sequence[str]) -> tuple[list[str], str | None]:
    """Take --job-dir out of the flags: the service passes it to the trainer.

    Raises:
        SpecError: it is no folder in a bucket, or a flag's gs:// URI is none.
    """
    if problems := [problem for _, problem in buckets.find_uri_problems(flags)]:
        raise SpecError(*problems)
    rest, job_dir = program.take_job_dir(flags)
    if job_dir is None:
        return rest, None
    folder = job_dir.removesuffix("/")
    if buckets.find_uri_problem(job_dir) or folder.count("/") < 3:
        raise SpecError(
            f"--job-dir {job_dir}: a cloud job writes to a bucket: gs://BUCKET/runs/NAME"
        )
    return rest, folder


def _assemble(job: Job, spec: dict, name: str, labels: Mapping[str, str]) -> Job:
    """The job with another CustomJobSpec; a study is a message around it, with name and labels."""
    if job.tuning:
        own = {"displayName": name, "labels": dict(labels), "trialJobSpec": spec}
        return replace(job, message={**job.message, **own})
    return replace(job, message=spec)


def _choose_name(job: Job) -> str:
    base = re.sub(r"[^a-z0-9]+", "-", legal(job.name or job.file.path.stem)).strip("-") or "job"
    return f"{base}-{datetime.now(timezone.utc):%Y%m%d-%H%M%S}"


def _list_notes(tree: git.Tree | None, wanted: str, output: str) -> Iterator[str]:
    """What the user may not expect: where the code comes from, and where a whole bucket leads."""
    if tree is None:
        yield "No git commit here: nobody will know from which code this job came."
    elif tree.changed:
        few = ", ".join(tree.changed[:3]) + (", …" if len(tree.changed) > 3 else "")
        yield f"Changes that are not committed ({few}); the job's folder gets them as git.diff."
    if wanted and wanted.removesuffix("/") != output:
        yield f"Its output is a whole bucket: it gets a folder of its own there, {output}."


def _find_strays(job: Job, flags: Sequence[str], bucket: str, image: bool) -> list[Fault]:
    """A fault for each path of this machine: where the job runs, there is no such file.

    Args:
        bucket: where a copy may lie.
        image: the trainer travels in the project's image.
    """
    faults = []
    ours = [pool for pool in job.pools if not pool.program.foreign]  # theirs name their own files
    for field, word in [*(("", flag) for flag in flags), *(w for p in ours for w in p.args())]:
        value = word.partition("=")[2] if word.startswith("-") else word
        for path in value.split(","):
            raw = path.startswith("data/raw")
            there = path.startswith("/gcs/") or (image and not raw and path.startswith("data/"))
            if there or sources.find_path(path) in (None, Path("/"), Path(".")):
                continue
            what = f"{path} is on this machine, and the job runs on another"
            copy = f"gcloud storage cp -r {shlex.quote(path)} gs://{bucket}/data/"
            copy = "python scripts/data.py push" if raw else copy
            line = job.file.line(field) if field else 0
            faults.append(Fault(job.file.path, line, field, what, f"run {copy} and name the copy"))
    return faults


def legal(text: object) -> str:
    """A text as the value of a label: [a-z0-9_-], at most 63 of them.

    Letters lose their accents, everything else becomes an underscore.
    """
    plain = unicodedata.normalize("NFKD", str(text).casefold()).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9_-]+", "_", plain)[:LONGEST].strip("_-")


def join_labels(*several: Mapping) -> dict[str, str]:
    """Labels that are legal: a name begins with a letter. Of two with one name the later one counts."""
    pairs = [pair for labels in several for pair in labels.items()]
    joined = {re.sub(r"^[^a-z]+", "", legal(key)): legal(value) for key, value in pairs}
    joined.pop("", None)
    return joined


def find_label(settings: Settings) -> str:
    """The value of the label `project` on all that belongs to this repo."""
    return join_labels({"project": settings.slug}, settings.labels)["project"]


def find_user() -> str:
    """Who is logged in on this machine."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user need not have a name
        return "unknown"
