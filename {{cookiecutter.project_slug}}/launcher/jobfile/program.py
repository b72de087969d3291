"""What a worker pool runs, and the rules for it: image or package, arguments, environment.

The project's image is `imageUri: trainer`, no imageUri, or the image that project.yaml names, with
any tag or digest. The project's package is no packageUris, or one that `train_cloud.py` uploaded.
Everything else is foreign: nobody here knows its flags.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from launcher.jobfile.schema import Problem
from launcher.project import settings
from launcher.project.buckets import find_uri_problem, find_uri_problems
from launcher.project.settings import ROOT

OWN_IMAGE = "trainer"  # as a job file names the project's image, because gcloud wants a name
MODULE = "trainer.task"  # what the project's image starts
FOLDERS = ("trainer", "codec")  # of this repo: the project's image and package hold their modules
# The service sets these in every replica. What an outer job left must not reach one started here.
CONTRACT = re.compile(r"(AIP|CLOUD_ML)_\w*|TF_CONFIG|CLUSTER_SPEC")
ARGS = 100_000  # characters
PACKAGES = ENV = 100
# Google's images for training with TensorFlow: none up to this version is there since that day.
PREBUILT = re.compile(r"[a-z]+-docker\.pkg\.dev/vertex-ai/training/tf-\w+\.(\d+)-(\d+)\b.*")
GONE, LAST_DAY = (2, 17), "2026-07-11"


@dataclass(frozen=True)
class Program:
    """What a pool's replicas run."""

    foreign: str  # the image or package that is not the project's; "": it is
    image: str  # a foreign image; "": the project's
    command: tuple[str, ...]  # instead of the image's entrypoint, if any
    args: tuple[str, ...]
    python: tuple[str, ...]  # "-m" and a module of this repo; () where it runs none
    env: Mapping[str, str] = field(hash=False)  # as it is written, not yet expanded
    needs: str  # the project's "image" or "package", which the launcher fills in; "": neither
    executor: str = ""  # the image that a package is installed on

    @property
    def module(self) -> str:
        """The module of this repo that it runs; "" for none."""
        return self.python[-1] if self.python else ""

    @property
    def is_trainer(self) -> bool:
        """Whether it is this repo's trainer, whose flags are known."""
        return self.module == MODULE and not self.foreign


def read_program(pool: Mapping) -> Program:
    """Read what the replicas of a WorkerPoolSpec run."""
    if "pythonPackageSpec" in pool:
        return _read_package(pool["pythonPackageSpec"])
    task = pool.get("containerSpec", {})
    uri = task.get("imageUri", "")
    foreign = "" if is_own_image(uri) else uri
    command, args, python = task.get("command", []), task.get("args", []), []
    if not command and not foreign:
        python = ["-m", MODULE]
    elif command and (end := _find_module_end(words := [*command, *args])):
        command, args, python = words[:end], words[end:], words[1:end]
    return Program(
        foreign=foreign,
        image=foreign,
        command=tuple(command),
        args=tuple(args),
        python=tuple(python),
        env=_read_env(task),
        needs="" if uri else "image",
    )


def _read_package(task: Mapping) -> Program:
    module = task.get("pythonModule") or MODULE
    uris = task.get("packageUris", [])
    return Program(
        foreign="" if all(map(settings.is_own_package, uris)) else uris[0],
        image="",
        command=() if module == MODULE else ("python", "-m", module),
        args=tuple(task.get("args", ())),
        python=("-m", module) if is_module(module) else (),
        env=_read_env(task),
        needs="" if uris else "package",
        executor=task.get("executorImageUri", ""),
    )


def _read_env(task: Mapping) -> dict[str, str]:
    return {entry.get("name", ""): entry.get("value", "") for entry in task.get("env", [])}


def _find_module_end(words: Sequence[str]) -> int:
    """The number of words up to a module of this repo, of `python -u -m MODULE …`; 0 for others."""
    if not re.fullmatch(r"(\S*/)?python[\d.]*", words[0]):
        return 0
    for i, word in enumerate(words[1:-1], 1):
        if word == "-m":
            return i + 2 if is_module(words[i + 1]) else 0
        if not re.fullmatch("-[bBdEIOPqsSuv]+", word):  # options of Python without a value
            return 0
    return 0


def is_module(name: str) -> bool:
    """Whether this repo has a module of that name, which Python can run."""
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", name):
        return False
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()


def is_own_image(uri: str) -> bool:
    """Whether an imageUri stands for the project's image, whatever its tag or digest."""
    name = re.sub(r"(:[\w.-]+)?(@sha256:[0-9a-f]+)?$", "", uri)
    return uri in ("", OWN_IMAGE) or name == settings.own_image()


def take_job_dir(flags: Sequence[str]) -> tuple[list[str], str | None]:
    """Take `--job-dir` out of a trainer's flags: the environment of a job says it."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--job-dir", "--job_dir")
    parsed, rest = parser.parse_known_args(flags)
    return rest, parsed.job_dir


def drop_contract(env: Mapping[str, str]) -> dict[str, str]:
    """The variables without those of a job in which this process may run itself."""
    return {name: value for name, value in env.items() if not CONTRACT.fullmatch(name)}


def expand(text: str, known: Mapping[str, str]) -> str:
    """Expand `$(VAR)` by the rules of Kubernetes, which the service follows.

    A variable that is not known stays as it is written; `$$` stands for `$`, so that `$$(VAR)`
    gives the text `$(VAR)`. The variables of this machine are not known to a job.
    """
    return re.sub(
        r"\$(?:\$|\(([^)]*)\))", lambda m: "$" if m[0] == "$$" else known.get(m[1], m[0]), text
    )


def expand_all(env: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    """The known variables and those of env, each of which may refer to those before it."""
    result = dict(known)
    for name, value in env.items():
        result[name] = expand(value, result)
    return result


def check_task(task: dict) -> Iterator[Problem]:
    """Find problems of a ContainerSpec or a PythonPackageSpec."""
    names = [variable.get("name", "") for variable in task.get("env", [])]
    packages = task.get("packageUris", [])
    for key, size, unit, most in (
        ("args", sum(map(len, task.get("args", []))), "characters", ARGS),
        ("env", len(names), "variables", ENV),
        ("packageUris", len(packages), "packages", PACKAGES),
    ):
        if size > most:
            what = f"holds {size:,} {unit}, and the service takes {most:,}"
            yield key, what, "write fewer, or a file that lists them"
    for key in ("imageUri", "executorImageUri"):
        yield from find_image_problems(key, task.get(key) or "")
    for i, name in enumerate(names):
        where = f"env[{i}].name"
        if name and not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name):
            instead = "letters, digits and _ only, and no digit first"
            yield where, f"{name} is no name of a variable", instead
        elif CONTRACT.fullmatch(name):
            yield where, f"{name} is set by the service, with a value for each replica", "remove it"
        elif name in names[:i]:
            yield where, f"{name} stands twice in this list", "keep one of them"
    for i, uri in enumerate(packages):
        problem = find_uri_problem(uri)
        if problem or uri.endswith("/") or uri.count("/") < 3:
            instead = "; ".join(filter(None, ("write gs://BUCKET/PATH.tar.gz", problem)))
            yield f"packageUris[{i}]", f"{uri} is not in a bucket", instead
    if packages and not task.get("executorImageUri"):  # project.yaml has one for our own package
        what = "is missing: the packages have no image to be installed on"
        yield "executorImageUri", what, "write an image that has Python and pip"


def check_program(pool: dict) -> Iterator[Problem]:
    """Find problems of a WorkerPoolSpec that runs the project's own image or package."""
    key = "pythonPackageSpec" if "pythonPackageSpec" in pool else "containerSpec"
    task, program = pool.get(key, {}), read_program(pool)
    if program.foreign:
        return  # what others do is their own affair
    if program.module.partition(".")[0] not in FOLDERS:
        field = "command" if key == "containerSpec" else "pythonModule"
        what = f"runs no module of {' or '.join(FOLDERS)}, which the project's image holds"
        yield f"{key}.{field}", what, f"remove it, or let it run {MODULE}"
    args, env = task.get("args", []), task.get("env", [])
    for i, problem in find_uri_problems(args):
        yield f"{key}.args[{i}]", problem, "write gs://BUCKET/PATH"
    for i, problem in find_uri_problems(variable.get("value", "") for variable in env):
        yield f"{key}.env[{i}].value", problem, "write gs://BUCKET/PATH"


def find_image_problems(path: str, uri: str) -> Iterator[Problem]:
    """Find problems of an image that is not the project's own, in the field at `path`."""
    host = uri.partition("/")[0]
    if "://" in uri or re.search(r"\s", uri):
        instead = "write REGION-docker.pkg.dev/PROJECT/REPOSITORY/IMAGE:TAG"
        yield path, f"{uri} is not written as an image", instead
    elif host == "gcr.io" or host.endswith(".gcr.io"):
        instead = f"write {OWN_IMAGE}, for the project's own image"
        yield path, "Container Registry (gcr.io) takes no images since 2025-03-18", instead
    elif (match := PREBUILT.fullmatch(uri)) and (int(match[1]), int(match[2])) <= GONE:
        what = (
            f"Google's images with TensorFlow up to {GONE[0]}.{GONE[1]} are gone since {LAST_DAY}"
        )
        yield path, what, f"write {OWN_IMAGE}, for the project's own image"
