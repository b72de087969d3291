"""Whether a command that we print is one that there is."""

from __future__ import annotations

import functools
import runpy
import shlex
import shutil
from pathlib import Path

from conftest import ROOT

# They cannot be looked up wherever these tests run.
ELSEWHERE = {"sudo", "newgrp", "git", "uv", ".", r".venv\Scripts\activate"}


def exists(command: str) -> bool:
    """Whether a remedy is a command that there is, gcloud's words and flags included."""
    first, *words = shlex.split(command)
    if first == "gcloud":
        return gcloud_knows(words)
    if words and words[0].startswith("scripts"):
        return (ROOT / words[0]).is_file()
    if Path(first).name.startswith("python"):
        return words[:2] in (["-m", "pip"], ["-m", "venv"], ["-m", "pytest"])
    return first in ELSEWHERE


def gcloud_knows(words: list[str]) -> bool:
    """As gcloud itself completes them; where it is not installed, it is believed."""
    program = shutil.which("gcloud")
    tree = program and Path(program).resolve().parents[1] / "data" / "cli" / "gcloud_completions.py"
    if not tree or not tree.is_file():
        return True
    group, flags = _read(tree), {}
    for word in words:
        flags |= group["flags"]
        if word in group["commands"]:
            group = group["commands"][word]
            flags |= group["flags"]
        elif word.startswith("--") and word.partition("=")[0] not in flags:
            return False
    return not group["commands"]  # a command, not a group of them


@functools.cache
def _read(tree: Path) -> dict:
    return runpy.run_path(str(tree))["STATIC_COMPLETION_CLI_TREE"]
