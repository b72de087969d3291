"""Repeats a recorded run: takes its flags, and names whatever else differs."""

from __future__ import annotations

import argparse
import json
import sys

from codec import files
from trainer.engine.record import git_state, versions
from trainer.engine.runtime import JobError, Runtime

NEVER = ("job_dir", "repeat")


def read(path: str) -> dict:
    """Reads a run.json.

    Raises:
        JobError: no such file, or not a run record.
    """
    try:
        record = json.loads(files.read_text(path))
        if not isinstance(record["flags"], dict):
            raise ValueError("no flags in it")
        return record
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise JobError(f"--repeat {path}: not the run.json of a run ({error})") from None


def take_over(parser: argparse.ArgumentParser, record: dict) -> None:
    """Makes the recorded flags the defaults; where results go is never repeated."""
    known = {action.dest for action in parser._actions}
    flags = {k: tuple(v) if isinstance(v, list) else v for k, v in record["flags"].items()}
    parser.set_defaults(**{k: v for k, v in flags.items() if k in known and k not in NEVER})


def differences(record: dict, manifest: dict, runtime: Runtime) -> list[str]:
    """What is not as it was, a line each: with none, the same numbers are to be expected."""
    lines = []
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
    return lines


def warn_of_differences(path: str, manifest: dict, runtime: Runtime) -> None:
    for difference in differences(read(path), manifest, runtime):
        print(f"warning: not as in {path}: {difference}", file=sys.stderr)
