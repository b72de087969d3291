"""What git says of this repo: the commit, what differs from it, and the difference itself."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

from launcher.project.settings import ROOT

# New files that git does not know yet are part of the difference only here: elsewhere may lie data,
# or a key that nobody meant to upload.
FOLDERS = ("trainer", "codec", "launcher", "configs", "scripts")
SOURCES = (*FOLDERS, "Dockerfile", "setup.py", "constraints.txt")
TOO_LARGE = 20_000_000  # bytes of a difference; then its binary files are only named


@dataclass(frozen=True)
class Tree:
    """The state of the working tree."""

    commit: str
    changed: tuple[str, ...]  # paths that are not as in the commit

    @property
    def label(self) -> str:
        """Short, for a label: "1a2b3c4d5e6f-dirty"."""
        return self.commit[:12] + ("-dirty" if self.changed else "")


def read() -> Tree | None:
    """The tree of this repo; None where there is no git, or no commit yet."""
    commit = _git("rev-parse", "HEAD")
    if not commit:
        return None
    status = _git("status", "--porcelain", "-z", "--no-renames") or b""
    changed = (entry[3:].decode("utf-8", "replace") for entry in status.split(b"\0") if entry)
    return Tree(commit.decode().strip(), tuple(changed))


def diff() -> bytes:
    """What `git apply` needs to get from the commit to this tree, new source files included."""
    new = _git("ls-files", "-z", "--others", "--exclude-standard", "--", *SOURCES) or b""
    parts = [_git("diff", "HEAD", "--binary", "--no-ext-diff", "--no-color") or b""]
    for path in filter(None, new.split(b"\0")):
        words = ("diff", "--binary", "--no-ext-diff", "--no-color", "--no-index", "--", "/dev/null")
        parts.append(_git(*words, path, good=(0, 1)) or b"")
    whole = b"".join(parts)
    if len(whole) <= TOO_LARGE:
        return whole
    short = _git("diff", "HEAD", "--no-ext-diff", "--no-color") or b""
    return short[:TOO_LARGE]


def _git(*words: str | bytes, good: tuple[int, ...] = (0,)) -> bytes | None:
    try:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True)
    except OSError:
        return None
    return done.stdout if done.returncode in good else None
