"""A job file made complete: with the project's image or package, folder, account and labels.

Nothing here asks a network or imports Google's SDK: this is what `--dry-run` shows, and what is sent.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import re
import shlex
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone

import yaml

from launcher.cloud import git, labels, package, registry, strays
from launcher.cloud.vertex import ID
from launcher.jobfile import place_rules, program, spec, trainer_rules
from launcher.jobfile.spec import Fault, Job, SpecError
from launcher.project import settings as project_file
from launcher.project.settings import ROOT

MODULE = "trainer.task"
COMMIT = "git_commit"  # a label
NEEDED = ("project", "region", "bucket")
WAYS = ("container", "package")


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
    settings: Mapping  # `gcp` of project.yaml
    flags: tuple[str, ...]
    name: str  # in lists, and of the folder
    id: str
    folder: str  # gs://…
    shared: bool  # an earlier job's folder, that was asked for: this one goes on there
    labels: Mapping[str, str]
    code: Code
    tree: git.Tree | None

    @property
    def message(self) -> dict:
        """A CustomJob or a HyperparameterTuningJob, whole."""
        if self.job.tuning:
            own = {"displayName": self.name, "labels": dict(self.labels)}
            return {**self.job.message, **own, "trialJobSpec": self.spec}
        return {"displayName": self.name, "labels": dict(self.labels), "jobSpec": self.spec}

    @property
    def spec(self) -> dict:
        """The CustomJobSpec."""
        found = copy.deepcopy(self.job.spec)
        for pool in filter(None, found["workerPoolSpecs"]):
            _complete(pool, self)
        found["baseOutputDirectory"] = {"outputUriPrefix": self.folder}
        for key, setting in (("serviceAccount", "service_account"), ("tensorboard", "tensorboard")):
            if not found.get(key) and self.settings.get(setting):
                found[key] = self.settings[setting]
        return found

    def for_gcloud(self) -> str:
        """The message as YAML that `gcloud ai … create --config` takes."""
        return to_yaml(self.message if self.job.tuning else self.spec)

    def command(self, file: str = "FILE") -> str:
        """What gcloud is to be told beside that file."""
        group = "hp-tuning-jobs" if self.job.tuning else "custom-jobs"
        pairs = ",".join(f"{key}={value}" for key, value in self.labels.items())
        place = [f"--project={self.settings['project']}", f"--region={self.settings['region']}"]
        words = [*place, f"--display-name={self.name}", f"--labels={pairs}", f"--config={file}"]
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
        place = self.settings["project"], self.settings["region"]
        common = {key: value for key, value in self.labels.items() if key not in (ID, COMMIT)}
        folder = self.folder.replace(self.name, "")
        plain = replace(self, name="", labels=common, folder=folder, tree=None)
        text = json.dumps([place, plain.message], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def again(self, attempt: int) -> Submission:
        """The same job under the next name, since the folder of this one is taken."""
        return replace(
            self, name=f"{self.name}-{attempt}", folder=f"{self.folder.rstrip('/')}-{attempt}"
        )


def plan(job: Job, flags: Sequence[str] = (), now: datetime | None = None) -> Submission:
    """What would be sent.

    Args:
        flags: come after the args of every pool, so that they win.

    Raises:
        SpecError: project.yaml lacks something, or the job and it do not fit.
    """
    settings, slug = _settings()
    if problems := [problem for _, problem in place_rules.find_uri_problems(flags)]:
        raise SpecError(*problems)
    flags, own_folder = _folder(flags)
    name = _name(job, now or datetime.now(timezone.utc))
    there = (job.spec.get("baseOutputDirectory") or {}).get("outputUriPrefix")
    tree = git.read()
    found = Submission(
        job=job,
        settings=settings,
        flags=tuple(flags),
        name=name,
        id=uuid.uuid4().hex[:16],
        folder=own_folder or _folder_below(there or f"gs://{settings['bucket']}", name),
        shared=own_folder is not None,
        labels={},
        code=_code(job, settings, flags),
        tree=tree,
    )
    ours = {"project": slug, "user": labels.user(), "config": job.path.stem}
    ours |= {COMMIT: tree.label} if tree else {}
    given = job.message.get("labels") or {} if job.tuning else {}
    every = labels.join(ours, settings.get("labels") or {}, given, {ID: found.id})
    found = replace(found, labels=every)
    faults = strays.find(job, flags, settings["bucket"], bool(found.code.image))
    faults += _check(found)
    if faults:
        raise SpecError(*faults)
    return found


def to_yaml(message: Mapping) -> str:
    """As YAML in ASCII, with every text in quotes that another reader might take for a number."""
    return yaml.dump(message, Dumper=_Dumper, sort_keys=False, width=100)


class _Dumper(yaml.SafeDumper):
    """PyYAML leaves 1e-3 without quotes, and gcloud's reader takes it for a number."""

    def ignore_aliases(self, data):
        return True


def _text(dumper: yaml.SafeDumper, text: str):
    plain = re.fullmatch(r"[A-Za-z][\w./:@-]*", text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


_Dumper.add_representer(str, _text)


def _settings() -> tuple[dict, str]:
    """The part `gcp` of project.yaml, with what a cloud job cannot do without; and the slug."""
    found = project_file.read() or {}
    gcp = found.get("gcp") or {}
    for key in NEEDED:
        if not gcp.get(key):
            raise SpecError(
                f"project.yaml: gcp.{key} is empty: fill it in; the line above it says how to find it"
            )
    if (gcp.get("code") or WAYS[0]) not in WAYS:
        raise SpecError(f"project.yaml: gcp.code is {gcp['code']}: write {' or '.join(WAYS)}")
    most = gcp.get("max_cost")
    if most not in (None, "") and (isinstance(most, bool) or not isinstance(most, (int, float))):
        raise SpecError(f"project.yaml: gcp.max_cost is {most}: write dollars, such as 25")
    return gcp, found.get("slug") or ROOT.name


def _name(job: Job, now: datetime) -> str:
    base = (job.message.get("displayName") if job.tuning else None) or job.path.stem
    base = re.sub(r"[^a-z0-9]+", "-", labels.legal(base)).strip("-") or "job"
    return f"{base}-{now.strftime('%Y%m%d-%H%M%S')}"


def _folder(flags: Sequence[str]) -> tuple[list[str], str | None]:
    """Takes --job-dir out of the flags: the service tells the trainer where to write."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--job-dir", "--job_dir")
    found, rest = parser.parse_known_args(flags)
    folder = found.job_dir
    if folder is None:
        return rest, None
    problem = place_rules.find_uri_problem(folder)
    folder = folder.removesuffix("/")
    if not problem and folder.count("/") < 3:
        problem = "it is a whole bucket"
    if problem:
        instead = "a cloud job writes to a bucket: gs://BUCKET/runs/NAME"
        raise SpecError(f"--job-dir {found.job_dir}: {problem}; {instead}")
    return rest, folder


def _folder_below(output: str, name: str) -> str:
    """Where a job writes: its file's output; of a whole bucket, a folder of the job's own."""
    output = output.removesuffix("/")
    return output if output.count("/") > 2 else f"{output}/runs/{name}"


def _code(job: Job, settings: Mapping, flags: Sequence[str]) -> Code:
    pools = [pool for pool in job.spec["workerPoolSpecs"] if pool]
    boxes = [pool["containerSpec"] for pool in pools if "containerSpec" in pool]
    packages = [pool["pythonPackageSpec"] for pool in pools if "pythonPackageSpec" in pool]
    by_package = settings.get("code") == "package"
    bare = [box for box in boxes if not box.get("imageUri")]
    packages += bare if by_package else []
    machines = [pool.get("machineSpec") or {} for pool in pools]
    gpus = any(m.get("acceleratorType", "TPU").startswith("NVIDIA") for m in machines)
    found = Code()
    if bare and not by_package:
        found = replace(found, image=registry.uri(settings, gpus), gpus=gpus)
    if any(not task.get("packageUris") for task in packages):
        if any(not task.get("executorImageUri") for task in packages) and not (
            settings.get("executor_image")
        ):
            raise SpecError(
                "project.yaml: gcp.executor_image is empty, and gcp.code: package needs an image to "
                "install the trainer on; write one, or code: container"
            )
        package.refuse_links()
        base = f"gs://{settings['bucket']}"
        found = replace(found, package=f"{base}/packages/{package.digest()}/trainer.tar.gz")
        words = [word for task in packages for word in (*(task.get("args") or []), *flags)]
        if not trainer_rules.names_data(words) and (ROOT / "data").is_dir():
            found = replace(found, data=f"{base}/data/{package.digest(['data'])}")
    return found


def _complete(pool: dict, this: Submission) -> None:
    """Fills in what a worker pool leaves to project.yaml."""
    code, box = this.code, pool.get("containerSpec")
    chief = program.read(this.job.spec["workerPoolSpecs"][0])
    takes_flags = program.read(pool).foreign == chief.foreign
    if box is not None and not box.get("imageUri"):
        if code.image:
            box["imageUri"] = code.image
            _tell(box, this)
        else:
            runs = program.read(pool)
            del pool["containerSpec"]
            rest = {key: box[key] for key in ("env",) if key in box}
            rest |= {"args": list(runs.args)} if runs.args else {}
            pool["pythonPackageSpec"] = {"pythonModule": runs.module, **rest}
    task = pool.get("pythonPackageSpec")
    if task is not None and not task.get("packageUris"):
        task["executorImageUri"] = task.get("executorImageUri") or this.settings["executor_image"]
        task["packageUris"] = [code.package]
        task["pythonModule"] = task.get("pythonModule") or MODULE
        _tell(task, this)
    run = pool.get("containerSpec") or task
    if this.flags and takes_flags:
        run["args"] = [*(run.get("args") or []), *this.flags]


def _tell(task: dict, this: Submission) -> None:
    """Tells the trainer by its environment what it cannot see there: the commit, where data is."""
    env = {"OWN_DATA_URI": this.code.data} if this.code.data else {}
    if this.tree:
        env |= {"GIT_COMMIT": this.tree.commit, "GIT_DIRTY": json.dumps(bool(this.tree.changed))}
    given = task.get("env") or []
    known = {entry["name"] for entry in given}
    more = [{"name": key, "value": value} for key, value in env.items() if key not in known]
    if given or more:
        task["env"] = [*given, *more]


def _check(this: Submission) -> list[Fault]:
    """The rules once more, now that the message is whole."""
    message = this.message if this.job.tuning else this.spec
    whole = Job(this.job.path, message, this.job.tuning, this.job.lines)
    return spec.check(whole, {"gcp": this.settings})
