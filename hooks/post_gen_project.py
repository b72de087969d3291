"""Lay the files of the chosen problem and audience over the repo, make it a git repo, say what comes next.

Only the first can fail the bake; cookiecutter then removes what there is of it.

{## ours ##}
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAME = "{{ cookiecutter.project_name | quoted_inside }}"
SLUG = "{{ cookiecutter.project_slug | quoted_inside }}"
PROBLEM = "{{ cookiecutter.problem | quoted_inside }}"
AUDIENCE = "{{ cookiecutter.audience | quoted_inside }}"
LICENSE = "{{ cookiecutter.license | quoted_inside }}"
CLOUD = (
    "{{ cookiecutter.gcp_project | quoted_inside }}",
    "{{ cookiecutter.gcs_bucket | quoted_inside }}",
)
# cruft compares two bakes file by file, and writes its own file into a bake later: neither wants a
# git repo in it.
CRUFT = bool("{{ cookiecutter._commit | default('') }}")
LATER = "git init && git add -A && git commit -m 'Start from the template'"


def git(*arguments):
    """Run git on this folder only: a GIT_DIR left over from a git hook would point elsewhere.

    No identity is guessed from the host's name, and nothing waits for a passphrase.
    """
    settings = ["-c", "user.useConfigOnly=true", "-c", "commit.gpgSign=false"]
    local = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR")
    return subprocess.run(
        ["git", *settings, *arguments],
        env={name: value for name, value in os.environ.items() if name not in local},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=60,
    )


def start_repository():
    """Make a repo with one commit; return the line that tells the user how it went."""
    if not shutil.which("git"):
        return f"git is not installed. Later, in the new folder: {LATER}"
    if Path(".git").exists():
        return "The git repo that was here is kept; look at the changes with git diff."
    inside = git("rev-parse", "--show-toplevel")
    if inside.returncode == 0 and git("check-ignore", "-q", ".").returncode != 0:
        return f"The folder is part of the git repo {inside.stdout.strip()}: commit it there."
    steps = (
        ("init", "-q", "--template="),
        ("symbolic-ref", "HEAD", "refs/heads/main"),
        ("add", "-A"),
        ("commit", "-q", "--no-verify", "-m", "Start from the template"),
    )
    for step in steps:
        done = git(*step)
        if done.returncode == 0:
            continue
        if step[0] == "commit":
            return (
                "git has no commit yet. Tell it who you are: git config --global user.name 'NAME'"
                " and git config --global user.email MAIL. Then, in the new folder:"
                " git commit -m 'Start from the template'"
            )
        reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        return f"git {step[0]} failed ({reason[0]}). Later, in the new folder: {LATER}"
    return "A git repo with a first commit, on branch main."


def keep_overlay(folder, name):
    """Move FOLDER/NAME/x to x, and remove the others of that folder."""
    overlay = Path(folder, name)
    for path in sorted(overlay.rglob("*")):
        if path.is_file():
            target = path.relative_to(overlay)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
    shutil.rmtree(folder)


def main():
    os.remove(__file__)  # which Cookiecutter leaves in the folder for temporary files
    keep_overlay("audiences", AUDIENCE)  # first: it brings files for each kind of data
    shutil.rmtree(Path("problems", PROBLEM, "readme"), ignore_errors=True)  # they are in README.md
    keep_overlay("problems", PROBLEM)
    shutil.rmtree("licenses")  # LICENSE has taken in the chosen one
    if LICENSE == "none":
        Path("LICENSE").unlink(missing_ok=True)
    if CRUFT:
        print(f"Rendered for cruft. If the repo is new, in its folder: {LATER}; then see README.md")
        return
    try:
        repository = start_repository()
    except (OSError, subprocess.SubprocessError) as problem:
        repository = f"git did not work ({problem}). Later, in the new folder: {LATER}"
    activate = ".venv\\Scripts\\activate" if sys.platform == "win32" else ". .venv/bin/activate"
    lines = [
        "",
        f"{NAME} is ready in {Path.cwd()}",
        repository,
        "",
        "Next, with Python 3.10 to 3.13:",
        f"  cd {SLUG}",
        "  python -m venv .venv",
        f"  {activate}",
        '  pip install -c constraints.txt -e ".[dev]"',
        "  python scripts/train_local.py",
    ]
    if not all(CLOUD):
        lines.append("For cloud jobs, later: fill in gcp in project.yaml.")
    sys.stdout.reconfigure(errors="backslashreplace")
    print("\n".join(lines))


main()
