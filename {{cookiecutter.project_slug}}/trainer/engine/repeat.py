"""What a run depends on: it is recorded, and a run that repeats another is compared with it."""

import argparse
import json
import os
import platform
import subprocess
import sys

from codec import files
from trainer.engine.runtime import JobError, Runtime

NEVER = ("job_dir", "repeat")  # where results go is never repeated


def take_over(parser: argparse.ArgumentParser, path: str) -> None:
    """Makes the flags of a run.json the defaults; raises a JobError if it is no such file."""
    known = {action.dest for action in parser._actions}.difference(NEVER)
    flags = {k: tuple(v) if isinstance(v, list) else v for k, v in _read(path)["flags"].items()}
    parser.set_defaults(**{k: v for k, v in flags.items() if k in known})


def _read(path: str) -> dict:
    try:
        record = json.loads(files.read_text(path))
        if not isinstance(record["flags"], dict):
            raise ValueError("no flags in it")
        return record
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise JobError(f"--repeat {path}: not the run.json of a run ({error})") from None


def warn_of_differences(path: str, manifest: dict, runtime: Runtime) -> None:
    """Prints what is not as it was, a line each: without any, the same numbers are to be expected."""
    record, lines = _read(path), []
    before, now = record.get("git") or {}, git_state(runtime)
    if before.get("commit") != now["commit"]:
        lines.append(f"the code: commit {before.get('commit')} then, {now['commit']} now")
    if before.get("dirty") or now["dirty"]:
        lines.append("the code: uncommitted changes then or now")
    there, here = record.get("versions") or {}, versions()
    for name in sorted(there.keys() | here.keys()):
        if there.get(name) != here.get(name):
            lines.append(f"{name}: {there.get(name)} then, {here.get(name)} now")
    for part, table in manifest.items():
        recorded = ((record.get("data") or {}).get(part) or {}).get("files") or []
        if [f["digest"] for f in table["files"]] != [f.get("digest") for f in recorded]:
            lines.append(f"the data: other {part} files, or the same with other contents")
    for line in lines:
        print(f"warning: not as in {path}: {line}", file=sys.stderr)


def git_state(runtime: Runtime) -> dict:
    """Commit and dirtiness of the code that runs: from the image that was built, or from git."""
    if commit := runtime.contract.get("GIT_COMMIT"):
        return {"commit": commit, "dirty": runtime.contract.get("GIT_DIRTY") == "true"}

    def git(*words: str) -> str:
        command = ["git", "-C", os.path.dirname(os.path.abspath(__file__)), *words]
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        return result.stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}  # no git, or no repository


def versions() -> dict:
    """Versions of what the numbers depend on."""
    from importlib import metadata  # both take long to import, and --help needs neither

    from trainer.data import READER

    packages = {"python": platform.python_version()}
    for name in ("tensorflow", "tensorflow-cpu", "keras", "numpy", READER):
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return packages
