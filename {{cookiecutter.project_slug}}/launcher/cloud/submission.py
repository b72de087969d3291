"""A job file made complete: with the project's image or package, folder, account and labels.

Nothing here asks a network or imports Google's SDK: this is what `--dry-run` shows, and what is sent.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import cached_property

from launcher.cloud import labels, package, registry, strays
from launcher.cloud.vertex import ID
from launcher.common.document import Fault, SpecError
from launcher.jobfile import completion, program, spec, trainer_rules
from launcher.jobfile.completion import to_yaml
from launcher.jobfile.job import Job
from launcher.project import buckets, git, sources
from launcher.project.settings import ROOT, WAYS, Settings, read_settings

COMMIT = "git_commit"  # a label
NEEDED = ("project", "region", "bucket")


@dataclass(frozen=True)
class Code:
    """Where the trainer is fetched from, and what goes there before."""

    image: str = ""
    gpus: bool = False  # the image is to hold the CUDA libraries
    package: str = ""  # gs://…/trainer.tar.gz
    data: str = ""  # gs://… that stands for the repo's data/, which no package holds


@dataclass(frozen=True)
class Submission:
    """Everything about one job that is known before it is sent."""

    job: Job  # as the file says it
    settings: Settings  # `gcp` of project.yaml
    flags: tuple[str, ...]
    name: str  # in lists, and of the folder
    folder: str  # gs://…
    shared: bool  # an earlier job's folder, named by the user: this one continues there
    labels: Mapping[str, str]
    code: Code
    tree: git.Tree | None

    @cached_property
    def message(self) -> dict:
        """A CustomJob or a HyperparameterTuningJob, whole."""
        own = {"displayName": self.name, "labels": dict(self.labels)}
        if self.job.tuning:
            return {**self.job.message, **own, "trialJobSpec": self.spec}
        return {**own, "jobSpec": self.spec}

    @cached_property
    def spec(self) -> dict:
        """The CustomJobSpec."""
        env = {completion.DATA: self.code.data} if self.code.data else {}
        if self.tree:
            dirty = json.dumps(bool(self.tree.changed))
            env |= {completion.COMMIT: self.tree.commit, completion.DIRTY: dirty}
        return completion.complete(
            self.job,
            self.flags,
            output=self.folder,
            service_account=self.service_account,
            tensorboard=self.tensorboard,
            image=self.code.image,
            package=self.code.package,
            executor=self.settings.executor_image,
            env=env,
        )

    @property
    def service_account(self) -> str:
        """Under which it runs; "" for the project's default one."""
        return self.job.service_account or self.settings.service_account

    @property
    def tensorboard(self) -> str:
        return self.job.tensorboard or self.settings.tensorboard

    def for_gcloud(self) -> str:
        """The message as YAML that `gcloud ai … create --config` takes."""
        return to_yaml(self.message if self.job.tuning else self.spec)

    def command(self, file: str = "FILE") -> str:
        """The gcloud command that sends the message, from a file."""
        group = "hp-tuning-jobs" if self.job.tuning else "custom-jobs"
        pairs = ",".join(f"{key}={value}" for key, value in self.labels.items())
        where = [f"--project={self.settings.project}", f"--region={self.settings.region}"]
        words = [*where, f"--display-name={self.name}", f"--labels={pairs}", f"--config={file}"]
        return shlex.join(["gcloud", "ai", group, "create", *words])

    @property
    def record(self) -> bytes:
        """What is kept beside the run: the message, and the command that sends it with its labels.

        No two submissions have the same one, so that each knows its own folder again.
        """
        return f"# {self.command()}\n{self.for_gcloud()}".encode()

    @property
    def fingerprint(self) -> str:
        """What all submissions of the same job have in common; others have another one.

        The commit is no part of it: to commit, or to save a notebook, makes no other job.
        """
        where = self.settings.project, self.settings.region
        common = {key: value for key, value in self.labels.items() if key not in (ID, COMMIT)}
        folder = self.folder.replace(self.name, "")
        plain = replace(self, name="", labels=common, folder=folder, tree=None)
        text = json.dumps([where, plain.message], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def again(self, attempt: int) -> Submission:
        """The same job under the next name, since the folder of this one is taken."""
        return replace(
            self, name=f"{self.name}-{attempt}", folder=f"{self.folder.rstrip('/')}-{attempt}"
        )


def plan(job: Job, flags: Sequence[str] = (), folder: str | None = None) -> Submission:
    """What would be sent.

    Args:
        flags: come after the args of every pool, so that they win.
        folder: an earlier job's, in which this one continues.

    Raises:
        SpecError: project.yaml lacks something, or the job and it do not fit.
    """
    settings = _read_settings()
    name = _name(job, datetime.now(timezone.utc))
    tree, id = git.read(), uuid.uuid4().hex[:16]
    ours = {"project": settings.slug, "user": labels.user(), "config": job.path.stem}
    ours |= {COMMIT: tree.label} if tree else {}
    this = Submission(
        job=job,
        settings=settings,
        flags=tuple(flags),
        name=name,
        folder=folder or _folder_below(job.output or f"gs://{settings.bucket}", name),
        shared=folder is not None,
        labels=labels.join(ours, settings.labels, job.labels, {ID: id}),
        code=_find_code(job, settings, flags),
        tree=tree,
    )
    faults = strays.find(job, flags, settings.bucket, bool(this.code.image))
    faults += spec.check_project(job, this.spec, settings)
    if this.code.package:
        faults += _check_executor(settings)
    if faults:
        raise SpecError(*faults)
    return this


def take_folder(flags: Sequence[str]) -> tuple[list[str], str | None]:
    """Takes --job-dir out of the flags: the service passes it to the trainer.

    Raises:
        SpecError: it is no folder in a bucket, or a flag's gs:// URI is none.
    """
    if problems := [problem for _, problem in buckets.find_uri_problems(flags)]:
        raise SpecError(*problems)
    rest, job_dir = program.take_job_dir(flags)
    if job_dir is None:
        return rest, None
    problem = buckets.find_uri_problem(job_dir)
    folder = job_dir.removesuffix("/")
    if not problem and folder.count("/") < 3:
        problem = "it is a whole bucket"
    if problem:
        instead = "a cloud job writes to a bucket: gs://BUCKET/runs/NAME"
        raise SpecError(f"--job-dir {job_dir}: {problem}; {instead}")
    return rest, folder


def _read_settings() -> Settings:
    """The part `gcp` of project.yaml, with what a cloud job cannot do without."""
    settings = read_settings()
    for key in NEEDED:
        if not getattr(settings, key):
            raise SpecError(
                f"project.yaml: gcp.{key} is empty: fill it in; the line above it says how to find it"
            )
    if settings.code not in WAYS:
        raise SpecError(f"project.yaml: gcp.code is {settings.code}: write {' or '.join(WAYS)}")
    most = settings.max_cost
    if most is not None and (isinstance(most, bool) or not isinstance(most, (int, float))):
        raise SpecError(f"project.yaml: gcp.max_cost is {most}: write dollars, such as 25")
    return settings


def _name(job: Job, now: datetime) -> str:
    base = job.name or job.path.stem
    base = re.sub(r"[^a-z0-9]+", "-", labels.legal(base)).strip("-") or "job"
    return f"{base}-{now.strftime('%Y%m%d-%H%M%S')}"


def _folder_below(output: str, name: str) -> str:
    """Where a job writes: its file's output; of a whole bucket, a folder of the job's own."""
    output = output.removesuffix("/")
    return output if output.count("/") > 2 else f"{output}/runs/{name}"


def _find_code(job: Job, settings: Settings, flags: Sequence[str]) -> Code:
    """What the job's pools need of this repo, by the way that project.yaml names."""
    bare = [pool for pool in job.pools if pool.program.needs == "image"]
    packaged = [pool for pool in job.pools if pool.program.needs == "package"]
    code = Code()
    if settings.code == "package":
        packaged += bare
    elif bare:
        gpus = any(pool.accelerator.startswith("NVIDIA") for pool in job.pools)
        code = replace(code, image=registry.uri(settings, gpus), gpus=gpus)
    if packaged:
        if not settings.executor_image and not all(pool.program.executor for pool in packaged):
            raise SpecError(
                "project.yaml: gcp.executor_image is empty, and gcp.code: package needs an image to "
                "install the trainer on; write one, or code: container"
            )
        package.refuse_links()
        base = f"gs://{settings.bucket}"
        digest = sources.digest(package.SOURCES)
        code = replace(code, package=f"{base}/packages/{digest}/trainer.tar.gz")
        words = [word for pool in packaged for _, word in pool.args(flags)]
        if not trainer_rules.names_data(words) and (ROOT / "data").is_dir():
            code = replace(code, data=f"{base}/data/{sources.digest(['data'])}")
    return code


def _check_executor(settings: Settings) -> list[Fault]:
    """What is wrong with the image that project.yaml names for packages."""
    key = "gcp.executor_image"
    faults = program.find_image_problems(key, settings.executor_image)
    return [Fault(settings.path, 0, where, *words) for where, *words in faults]
