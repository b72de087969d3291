"""What a worker pool runs: code of this repo, or somebody else's image or package.

The project's image is `imageUri: trainer`, no imageUri, or the image that project.yaml names, with
any tag or digest. The project's package is no packageUris, or one that `train_cloud.py` uploaded.
Everything else is foreign: nobody here knows its flags.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from launcher.project import settings
from launcher.project.settings import ROOT

OWN_IMAGE = "trainer"  # as a job file names the project's image, because gcloud wants a name
MODULE = "trainer.task"  # what the project's image starts
FOLDERS = ("trainer", "codec")  # of this repo: the project's image and package hold their modules
# The service sets these in every replica. What an outer job left must not reach one started here.
CONTRACT = re.compile(r"(AIP|CLOUD_ML)_\w*|TF_CONFIG|CLUSTER_SPEC")


@dataclass(frozen=True)
class Program:
    """What a pool's replicas run."""

    foreign: str  # the image or package that is not the project's; "": it is
    image: str  # a foreign image; "": the project's
    command: tuple[str, ...]  # in the place of the image's entrypoint, if any
    args: tuple[str, ...]
    python: tuple[str, ...]  # "-m" and a module of this repo; () where it runs none
    env: Mapping[str, str] = field(hash=False)  # as it is written, not yet expanded
    needs: str = ""  # the project's "image" or "package", which the launcher fills in; "": neither
    executor: str = ""  # the image that a package is installed on
    places: tuple[str, ...] = ()  # of the args in their task: "args[0]", "command[3]"

    @property
    def module(self) -> str:
        """The module of this repo that it runs; "" for none."""
        return self.python[-1] if self.python else ""

    @property
    def is_trainer(self) -> bool:
        """Whether it is this repo's trainer, whose flags are known."""
        return self.module == MODULE and not self.foreign


def read(pool: Mapping) -> Program:
    """What the replicas of a WorkerPoolSpec run."""
    if "pythonPackageSpec" in pool:
        return _package(pool["pythonPackageSpec"])
    box = pool.get("containerSpec") or {}
    uri = box.get("imageUri") or ""
    foreign = "" if is_own_image(uri) else uri
    command, args = tuple(box.get("command") or ()), tuple(box.get("args") or ())
    places = tuple(f"args[{i}]" for i in range(len(args)))
    python: tuple[str, ...] = ()
    if not command and not foreign:
        python = ("-m", MODULE)
    elif command and (end := _module_end([*command, *args])):
        words = (*command, *args)
        places = (*(f"command[{i}]" for i in range(len(command))), *places)[end:]
        command, args, python = words[:end], words[end:], words[1:end]
    needs = "" if uri else "image"
    return Program(foreign, foreign, command, args, python, _variables(box), needs, places=places)


def _package(task: Mapping) -> Program:
    module = task.get("pythonModule") or MODULE
    uris, args = task.get("packageUris") or [], tuple(task.get("args") or ())
    own = all(map(settings.is_own_package, uris))
    return Program(
        foreign="" if own else uris[0],
        image="",
        command=() if module == MODULE else ("python", "-m", module),
        args=args,
        python=("-m", module) if is_module(module) else (),
        env=_variables(task),
        needs="" if uris else "package",
        executor=task.get("executorImageUri") or "",
        places=tuple(f"args[{i}]" for i in range(len(args))),
    )


def take_job_dir(flags: Sequence[str]) -> tuple[list[str], str | None]:
    """Take `--job-dir` out of a trainer's flags: the environment of a job says it."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--job-dir", "--job_dir")
    parsed, rest = parser.parse_known_args(flags)
    return rest, parsed.job_dir


def is_own_image(uri: str) -> bool:
    """Whether an imageUri stands for the project's image, whatever its tag or digest."""
    name = re.sub(r"(:[\w.-]+)?(@sha256:[0-9a-f]+)?$", "", uri)
    return uri in ("", OWN_IMAGE) or name == settings.own_image()


def is_module(name: str) -> bool:
    """Whether this repo has a module of that name, which Python can run."""
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", name):
        return False
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()


def _module_end(words: Sequence[str]) -> int:
    """The number of words up to a module of this repo, of `python -u -m MODULE …`; 0 for others."""
    if not re.fullmatch(r"(\S*/)?python[\d.]*", words[0]):
        return 0
    for i, word in enumerate(words[1:-1], 1):
        if word == "-m":
            return i + 2 if is_module(words[i + 1]) else 0
        if not re.fullmatch("-[bBdEIOPqsSuv]+", word):  # options of Python without a value
            return 0
    return 0


def expand(text: str, known: Mapping[str, str]) -> str:
    """Expand `$(VAR)` by the rules of Kubernetes, which the service follows.

    A variable that is not known stays as it is written; `$$` stands for `$`, so that `$$(VAR)`
    gives the text `$(VAR)`. The variables of this machine are not known to a job.
    """
    return re.sub(
        r"\$(?:\$|\(([^)]*)\))", lambda m: "$" if m[0] == "$$" else known.get(m[1], m[0]), text
    )


def _variables(task: Mapping) -> dict[str, str]:
    return {entry.get("name", ""): entry.get("value") or "" for entry in task.get("env") or []}


def expand_all(env: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    """The known variables and those of env, each of which may refer to those before it."""
    result = dict(known)
    for name, value in env.items():
        result[name] = expand(value, result)
    return result
